"""What a partition decides that belongs to none of its services: messages that nobody can read, events of strangers and
what is said of hosts.

Owned by the shard. Its records stand in the partition's own chain. No clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from autoscaler.core.facts import EventRef
from autoscaler.core.host_marks import mark_host
from autoscaler.core.records import Record
from autoscaler.core.rejections import reject, turn_away
from autoscaler.core.state import SeenEvent, ServiceState
from autoscaler.core.stimuli import ControlArrived, DeploymentArrived
from autoscaler.engine.conclusion import Conclusion
from autoscaler.engine.intake import Letter
from autoscaler.ledger.partition_record import PartitionRecord, unrouted_chain
from autoscaler.ledger.writing import Ledger
from autoscaler.ports.stream import Outgoing

STRANGERS_MAX = 1000
"""Events of no known service that are remembered, so that a repeat gets no second verdict."""


class Unrouted:
    """The partition's own decisions."""

    def __init__(self, partition: int, prefix: str, ledger: Ledger) -> None:
        self._partition = partition
        self._prefix = prefix
        self._chain = unrouted_chain(partition)
        self._ledger = ledger
        self._strangers: deque[EventRef] = deque(maxlen=STRANGERS_MAX)

    def repeats(self, event: EventRef) -> bool:
        """Whether an event of no known service has had its verdict; it has it from now on."""
        known = event in self._strangers
        if not known:
            self._strangers.append(event)
        return known

    def mark_hosts(
        self, commands: Sequence[ControlArrived], record: PartitionRecord
    ) -> tuple[PartitionRecord, list[Outgoing]]:
        """The partition record with these commands carried out, and their records to append."""
        if not commands:
            return record, []
        marks, records = record.marks, list[Record]()
        for command in commands:
            marked = mark_host(ServiceState(self._chain), marks, command, repeated=self.repeats(command.event))
            marks = marked.marks
            records += marked.records
        head, written = self._ledger.write_unrouted(record.unrouted, records, record.token)
        return replace(record, unrouted=head, marks=marks), list(written)

    def reject_all(
        self,
        letters: Sequence[Letter],
        strangers: Sequence[DeploymentArrived | ControlArrived],
        conclusion: Conclusion,
        record: PartitionRecord,
        now: float,
    ) -> tuple[PartitionRecord, list[Outgoing]]:
        """Dead letters of what could not be read, and its records: in its service's trail where that is known."""
        outgoing: list[Outgoing] = []
        records: list[Record] = []
        nobody = ServiceState(self._chain)
        for letter in letters:
            outgoing.append(letter.dead_letter(self._prefix, self._partition))
            if letter.service:
                state = conclusion.present(letter.service)
                conclusion.keep(letter.service, reject(state, letter.verdict_for, letter.reason, now))
            else:
                ref = letter.verdict_for
                seen = (SeenEvent(ref, "rejected"),) if ref is not None and self.repeats(ref) else ()
                records += reject(replace(nobody, seen=seen), ref, letter.reason, now)
        for stranger in strangers:
            records += turn_away(nobody, stranger.event, now, repeated=self.repeats(stranger.event))
        head, written = self._ledger.write_unrouted(record.unrouted, records, record.token)
        return replace(record, unrouted=head), [*outgoing, *written]
