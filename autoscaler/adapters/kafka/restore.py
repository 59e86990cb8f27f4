"""Reading a partition's state to its end, after its former owner was fenced."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from autoscaler.adapters.kafka.connection import let_go, start, within
from autoscaler.errors import LedgerError, StreamError
from autoscaler.ports.stream import INPUTS, Message, Restored, Topic

STALL_S = 10.0
"""The longest that a restore may stand still."""

PAGE = 5_000
FETCH_BYTES = 8 * 1024 * 1024


async def read_state(options: Mapping[str, Any], partition: int, names: Mapping[Topic, str]) -> Restored:
    """The latest message of each key and the range of each input topic.

    Raises `StreamError` (unavailable), or `LedgerError` where a record of the state cannot be read.
    """
    doing = f"restore partition {partition}"
    consumer = AIOKafkaConsumer(
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=FETCH_BYTES,
        **options,
    )
    place = TopicPartition(names[Topic.STATE], partition)
    inputs = {topic: TopicPartition(names[topic], partition) for topic in INPUTS}
    consumer.assign([place])
    await start(consumer, options, doing)
    try:
        places = [place, *inputs.values()]
        begins = await within(STALL_S, consumer.beginning_offsets(places), doing)
        ends = await within(STALL_S, consumer.end_offsets(places), doing)
        consumer.seek(place, begins[place])
        latest = await _read_to(consumer, place, ends[place], doing)
    finally:
        await let_go(consumer, 2.0)
    return Restored(
        messages=tuple(message for message in latest.values() if message.value is not None),
        beginnings={topic: begins[tp] for topic, tp in inputs.items()},
        ends={topic: ends[tp] for topic, tp in inputs.items()},
    )


async def _read_to(consumer: Any, place: Any, end: int, doing: str) -> dict[bytes | None, Message]:
    latest: dict[bytes | None, Message] = {}
    loop = asyncio.get_running_loop()
    reached, moved_at = -1, loop.time()
    # The tail may be a transaction's marker, which is no message: only the position tells the end.
    while (position := await within(STALL_S, consumer.position(place), doing)) < end:
        if position != reached:
            reached, moved_at = position, loop.time()
        elif loop.time() - moved_at > STALL_S:
            raise StreamError(f"{doing}: no progress for {STALL_S:.0f} s at offset {position} of {end}")
        # Short, because a marker moves the position without ending the wait for messages.
        try:
            found = await within(STALL_S, consumer.getmany(timeout_ms=20, max_records=PAGE), doing)
        except StreamError:
            raise
        except Exception as error:
            # Not one of ours, as we write none such; passing it over could revive what it replaced.
            where = f"{place.topic.rpartition('.')[2]} partition {place.partition} from offset {position}"
            raise LedgerError(f"{doing}: a record in {where} cannot be read ({type(error).__name__})") from error
        for message in found.get(place, ()):
            latest.pop(message.key, None)
            latest[message.key] = message
    return latest
