"""From what a take-over found on the stream to a shard that goes on where the former owner stopped. No I/O, no clock.

Order, held by the runner: fence (the stream's `take_over`), read the state, append the partition record with a higher
token, seek, look at the hosts, only then consume and act.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.engine.intake import home_partition
from autoscaler.engine.shard import Shard, ShardSetup
from autoscaler.engine.volatile import Volatile
from autoscaler.ledger.partition_record import PartitionRecord, decode_partition, is_reserved, partition_key
from autoscaler.ledger.state_codec import decode_state
from autoscaler.ports.stream import Append, Restored, Topic

LEASE_S = 10.0
"""How long after its last append an owner may begin a call; its successor waits so long before it stops anything."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A shard that may begin once ``append`` is durable and the inputs are sought to ``positions`` (metrics by time).

    ``held_until`` (seconds since the epoch): before that a former owner that did not let go may still have a call under
    way, so nothing is stopped or removed; a member of the same id is known to have ended. ``skipped``: input topic ->
    events that the stream no longer had (retention passed our offset).
    """

    shard: Shard
    append: Append
    positions: Mapping[Topic, int]
    held_until: float
    skipped: Mapping[Topic, int]


def rebuild(partition: int, setup: ShardSetup, restored: Restored, now: float) -> TakenOver:
    """The shard as the stream has it. Raises `LedgerError` where a record cannot be read: the partition stays alone
    then."""
    states: dict[str, ServiceState] = {}
    volatile: dict[str, Volatile] = {}
    former: PartitionRecord | None = None
    for message in restored.messages:
        if message.value is None or message.key is None:
            continue
        if is_reserved(message.key):
            if message.key == partition_key(partition):
                former = decode_partition(message.value)
            continue
        kept = decode_state(message.value)
        service = kept.state.service
        if home_partition(service, setup.partitions) != partition:
            continue
        states[service] = kept.state
        settings = setup.services.get(service)
        if kept.checkpoint and settings is not None:
            volatile[service] = _volatile(settings, kept.checkpoint)
    token = (former.token if former is not None else 0) + 1
    positions, skipped = _positions(former, restored)
    record = PartitionRecord(
        partition=partition,
        token=token,
        positions=positions,
        at=now,
        configuration=setup.digest,
        member=setup.member,
    )
    if former is not None:
        # Whoever owned the partition before has been fenced by now, so no lease of theirs goes beyond this.
        ended = former.released or former.member == setup.member
        held_until = min(former.held_until, now + LEASE_S) if ended else now + LEASE_S
        record = replace(record, unrouted=former.unrouted, held_until=held_until, marks=former.marks)
    shard = Shard(partition, setup, record, states)
    shard.evaluator.volatile.update(volatile)
    return TakenOver(shard, shard.heartbeat(now), positions, record.held_until, skipped)


def _volatile(settings: ServiceSettings, checkpoint: Mapping[str, object]) -> Volatile:
    try:
        return Volatile.restored(settings, checkpoint)
    except (LookupError, TypeError, ValueError):
        # A checkpoint of another program version: the windows fill anew, which is the safe side.
        return Volatile(settings)


def _positions(former: PartitionRecord | None, restored: Restored) -> tuple[dict[Topic, int], dict[Topic, int]]:
    positions: dict[Topic, int] = {}
    skipped: dict[Topic, int] = {}
    for topic in (Topic.DEPLOYMENTS, Topic.CONTROL, Topic.METRICS):
        oldest = restored.beginnings.get(topic, 0)
        recorded = former.positions.get(topic) if former is not None else None
        position = oldest if recorded is None else max(recorded, oldest)
        if position > restored.ends.get(topic, position):
            position = oldest  # the topic was made anew; what it repeats is recognised by its identity
        if recorded is not None and recorded < oldest and topic is not Topic.METRICS:
            skipped[topic] = oldest - recorded
        positions[topic] = position
    return positions, skipped
