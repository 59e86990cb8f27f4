"""What one conclusion has come to so far: states in the making and their records, until the stream has them. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from autoscaler.core.evolve import fold
from autoscaler.core.records import Record
from autoscaler.core.state import ServiceState
from autoscaler.engine.volatile import Volatile
from autoscaler.ledger.writing import Ledger
from autoscaler.ports.stream import Outgoing

STATE_BYTES_MAX = 1_000_000
"""A state record beyond this is written without its checkpoint."""


@dataclass(slots=True)
class _Working:
    """A service's durable state, and what the records so far make of it."""

    before: ServiceState
    now: ServiceState
    records: list[Record] = field(default_factory=list)


class Conclusion:
    """Changes of one turn over ``states``; nothing of it is in ``states`` before `settle`. ``noted`` is told what a
    service has come to so far."""

    def __init__(self, states: dict[str, ServiceState], noted: Callable[[ServiceState], None]) -> None:
        self._states = states
        self._noted = noted
        self._working: dict[str, _Working] = {}

    def present(self, service: str) -> ServiceState:
        """The service's state with everything kept so far."""
        working = self._working.get(service)
        return working.now if working is not None else self._states.get(service) or ServiceState(service)

    def keep(self, service: str, records: tuple[Record, ...]) -> None:
        """Add records to the service's."""
        if not records:
            return
        working = self._working.get(service)
        if working is None:
            state = self.present(service)
            working = self._working[service] = _Working(state, state)
        working.now = fold(working.now, records)
        working.records += records
        self._noted(working.now)

    def written(
        self, ledger: Ledger, token: int, volatile: Mapping[str, Volatile], unsaved: Iterable[str]
    ) -> list[Outgoing]:
        """What to append for it: audit events, and each state with its checkpoint; of ``unsaved`` services without
        records the state and checkpoint alone."""
        outgoing: list[Outgoing] = []
        for service, working in self._working.items():
            kept = volatile.get(service)
            checkpoint = kept.checkpoint() if kept is not None else None
            working.now, written = ledger.write(working.before, working.records, token, checkpoint)
            if kept is not None and len(written[-1].value or b"") > STATE_BYTES_MAX:
                written = (*written[:-1], ledger.state_record(working.now, kept.checkpoint(shadows=False)))
            if len(written[-1].value or b"") > STATE_BYTES_MAX:
                # The checkpoint can be lost without harm; a state that cannot be written would stop the partition.
                written = (*written[:-1], ledger.state_record(working.now))
            outgoing += written
        for service in sorted(set(unsaved) & self._states.keys() - self._working.keys()):
            record = ledger.state_record(self._states[service], volatile[service].checkpoint())
            if len(record.value or b"") <= STATE_BYTES_MAX:
                outgoing.append(record)
        return outgoing

    def settle(self) -> Iterator[tuple[str, list[Record]]]:
        """Make it true: the states become the states; yields each service with its records. Empty afterwards."""
        working, self._working = self._working, {}
        for service, changed in working.items():
            self._states[service] = changed.now
            yield service, changed.records
