"""What a partition decides that belongs to none of its services: repeats of strangers, and what is said of hosts.

Owned by the shard. Its records stand in the partition's own chain. No clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from autoscaler.core.facts import EventRef
from autoscaler.core.host_marks import mark_host
from autoscaler.core.records import Record
from autoscaler.core.state import ServiceState
from autoscaler.core.stimuli import ControlArrived
from autoscaler.ledger.partition_record import PartitionRecord, unrouted_chain
from autoscaler.ledger.writing import Ledger
from autoscaler.ports.stream import Outgoing

STRANGERS_MAX = 1000
"""Events of no known service that are remembered, so that a repeat gets no second verdict."""


class Unrouted:
    """The partition's own decisions."""

    def __init__(self, partition: int, ledger: Ledger) -> None:
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
