"""What commands read from the stream by themselves: the states of services, the audit trail forwards and backwards.

Nothing here needs a running instance. State and trail of one service are all in one partition, so only that is read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from autoscaler.core.state import ServiceState
from autoscaler.errors import LedgerError
from autoscaler.ledger.audit import read_audit
from autoscaler.ledger.newest import newest_values
from autoscaler.ledger.partition_record import PartitionRecord, decode_partition, is_reserved, partition_key
from autoscaler.ledger.state_codec import decode_state
from autoscaler.ports.stream import Message, Place, StreamClient, Topic, partition_of

FIRST_LOOK = 256
"""Messages that the first look back from the end of a partition covers; each further one covers four times as many."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The latest states by service and the partition records by number, as far as they were asked for."""

    states: Mapping[str, ServiceState]
    partitions: Mapping[int, PartitionRecord]
    checkpoints: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


async def snapshot(client: StreamClient, service: str | None = None, beside: Collection[str] = frozenset()) -> Snapshot:
    """The state topic's present content: one service of its partition alone, or all; ``beside`` names services that
    are wanted with the one."""
    partition = None if service is None or beside else partition_of(service.encode(), client.partitions)
    wanted = None if service is None else {service.encode(), *(name.encode() for name in beside)}
    states: dict[str, ServiceState] = {}
    checkpoints: dict[str, Mapping[str, Any]] = {}
    partitions: dict[int, PartitionRecord] = {}
    for key, value in (await newest_values(client, partition)).items():
        if wanted is not None and key not in wanted and not is_reserved(key):
            continue
        if not is_reserved(key):
            kept = decode_state(value)
            states[kept.state.service] = kept.state
            checkpoints[kept.state.service] = kept.checkpoint or {}
        elif key.startswith(partition_key(0)[:-1]):
            record = decode_partition(value)
            partitions[record.partition] = record
    return Snapshot(states, partitions, checkpoints)


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of the audit topic: ``event`` is empty and ``problem`` says why where it is none of ours."""

    place: Place
    at: float
    value: bytes
    event: Mapping[str, Any]
    problem: str = ""

    @property
    def data(self) -> Mapping[str, Any]:
        """The event's ``data``."""
        data: Mapping[str, Any] = self.event["data"]
        return data

    @property
    def chain(self) -> str:
        """The service, or the reserved name of what belongs to no service."""
        return str(self.event["subject"])


def entry_of(place: Place, message: Message) -> Entry:
    """The message as an entry of the trail, readable or not."""
    value, at = message.value or b"", message.timestamp / 1000
    try:
        return Entry(place, at, value, read_audit(value))
    except LedgerError as error:
        return Entry(place, at, value, {}, f"audit partition {place.partition} offset {place.offset}: {error}")


async def entries(
    client: StreamClient,
    service: str | None = None,
    *,
    start: Mapping[int, int] | None = None,
    follow: bool = False,
    since: float = 0.0,
) -> AsyncIterator[Entry]:
    """The trail of one service, or of everything, oldest first per partition; ``since`` by the broker's time."""
    partition = None if service is None else partition_of(service.encode(), client.partitions)
    wanted = None if service is None else service.encode()
    async for place, message in client.read(Topic.AUDIT, partition=partition, start=start, follow=follow):
        if (wanted is None or message.key == wanted) and message.timestamp / 1000 >= since:
            yield entry_of(place, message)


async def entries_backwards(client: StreamClient, partition: int, service: str | None = None) -> AsyncIterator[Entry]:
    """The trail of a partition, newest first, in growing steps from its end: what is near the end is found at once."""
    end = (await client.ends(Topic.AUDIT)).get(partition, 0)
    wanted = None if service is None else service.encode()
    step = FIRST_LOOK
    while end > 0:
        start = max(0, end - step)
        found = []
        reading = client.read(Topic.AUDIT, partition=partition, start={partition: start})
        async for place, message in reading:
            if place.offset >= end:
                break
            if wanted is None or message.key == wanted:
                found.append((place, message))
        for place, message in reversed(found):
            entry = entry_of(place, message)
            if not entry.problem:
                yield entry
        end, step = start, step * 4


async def newest_decision(client: StreamClient, service: str) -> Entry | None:
    """The last record of the service that decided something."""
    async for entry in entries_backwards(client, partition_of(service.encode(), client.partitions), service):
        if is_decision(entry.event):
            return entry
    return None


def is_decision(event: Mapping[str, Any]) -> bool:
    """Whether an audit event says what was decided or refused, rather than what was done or seen."""
    return str(event["type"]) in {"io.eventscaler.decided.v1", "io.eventscaler.refused.v1"}
