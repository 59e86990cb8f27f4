"""A `Draft` collects the records of one `decide` call and keeps the state folded as it goes. Pure.

Every change of state in the core goes through `Draft.add`, so that no change is without a record and a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autoscaler.core.evolve import evolve
from autoscaler.core.facts import Clamp, EventRef, Number, ProposalNote, Reason, SignalReading
from autoscaler.core.records import Record, RecordType, Standpoint, Verdict
from autoscaler.core.state import SeenEvent, ServiceState

SEEN_MAX = 64
"""Deployment and control events remembered per service, newest kept; undecided ones always."""


class Draft:
    """The records of one decision in the making: ``state`` is the state after all of them, ``at`` the decision's
    time."""

    def __init__(self, state: ServiceState, at: float) -> None:
        self.state = state
        self.at = at
        self.records: list[Record] = []
        self.causes: tuple[EventRef, ...] = ()

    @property
    def standpoint(self) -> Standpoint:
        """Where the service stands now."""
        return Standpoint(self.state.revision, self.state.demand)

    def moved(self, to: int) -> dict[str, Any]:
        """What changes with a demand of ``to``, whatever budgets allow of it: nothing where it is that already."""
        asking = self.state.asking
        if to == asking:
            return {} if self.state.asked is None else {"demand": to}
        return {"demand": to, "last_up_at" if to > asking else "last_down_at": self.at}

    def add(  # noqa: PLR0913 - a record has that many parts, each named at the call
        self,
        type_: RecordType,
        kind: str,
        reason: Reason,
        *,
        verdict: Verdict | None = None,
        terminal: bool = False,
        event: EventRef | None = None,
        before: Standpoint | None = None,
        inputs: tuple[SignalReading, ...] = (),
        proposals: tuple[ProposalNote, ...] = (),
        clamps: tuple[Clamp, ...] = (),
        **changes: Any,
    ) -> None:
        """Append a record and fold it. ``event`` with ``terminal`` also settles the event in the ring of seen ones."""
        standpoint = self.standpoint
        if "demand" in changes:
            changes = {"asked": None, **changes}
        after = Standpoint(changes.get("revision", standpoint.revision), changes.get("demand", standpoint.demand))
        if event is not None and verdict is not None and verdict != "duplicate":
            changes["seen"] = _remember(self.state.seen, event, verdict if terminal else "")
        causes = self.causes if event is None or event in self.causes else (event, *self.causes)
        record = Record(
            type=type_,
            service=self.state.service,
            at=self.at,
            kind=kind,
            reason=reason,
            before=before or standpoint,
            after=after,
            verdict=verdict,
            terminal=terminal,
            event=event,
            causes=causes,
            inputs=inputs,
            proposals=proposals,
            clamps=clamps,
            changes=changes,
            raises_generation=type_ == "decided" and after != standpoint,
        )
        self.records.append(record)
        self.state = evolve(self.state, record)

    def settle(self, event: EventRef | None, verdict: Verdict, kind: str, reason: Reason, **changes: Any) -> None:
        """Give ``event`` its terminal verdict; without an event the record is written all the same. What was refused
        because its time had passed is ``expired``."""
        type_: RecordType = "refused" if verdict == "refused" else "decided"
        if verdict == "refused" and reason.code == "expired":
            verdict = "expired"
        self.add(
            type_, kind, reason, verdict=verdict if event else None, terminal=event is not None, event=event, **changes
        )


def because(code: str, text: str, **numbers: Number) -> Reason:
    """A reason with its numbers."""
    kept: Mapping[str, Number] = numbers
    return Reason(code, text, kept)


def _remember(seen: tuple[SeenEvent, ...], event: EventRef, verdict: str) -> tuple[SeenEvent, ...]:
    for index, known in enumerate(seen):
        if known.event == event:
            return (*seen[:index], replace(known, verdict=verdict or known.verdict), *seen[index + 1 :])
    ring = (*seen, SeenEvent(event, verdict))
    excess = len(ring) - SEEN_MAX
    if excess <= 0:
        return ring
    settled = [known for known in ring if known.verdict][:excess]
    return tuple(known for known in ring if known not in settled)


def known_event(state: ServiceState, event: EventRef) -> SeenEvent | None:
    """The event's place in the ring of seen ones, or None for a new one."""
    return next((known for known in state.seen if known.event == event), None)
