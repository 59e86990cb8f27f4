"""The control of the rates: a bare consumer of the client library that runs `json.loads` on every value.

Settings: ``brokers``, ``topic``, ``partitions``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from autoscaler.adapters.kafka.inputs import FETCH_BYTES, FETCH_WAIT_MS, PARTITION_FETCH_BYTES, POLL_RECORDS
from bench.child import serve
from bench.profiling import profiled
from bench.usage import Reading


async def drain(consumer: AIOKafkaConsumer, places: list[TopicPartition], wanted: int) -> dict[str, Any]:
    """Read and parse so many messages."""
    loads, left = json.loads, wanted
    begun = Reading.now()
    consumer.resume(*places)
    while left > 0:
        found = await consumer.getmany(timeout_ms=100, max_records=POLL_RECORDS)
        for messages in found.values():
            for message in messages:
                loads(message.value)
            left -= len(messages)
    used = Reading.now().since(begun)
    consumer.pause(*places)
    return {"samples": wanted - left, "wall_s": used.wall_s, "cpu_s": used.cpu_s}


async def run(settings: Mapping[str, Any]) -> None:
    """Read when asked, until the other side closes."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings["brokers"],
        enable_auto_commit=False,
        isolation_level="read_committed",
        fetch_max_wait_ms=FETCH_WAIT_MS,
        fetch_max_bytes=FETCH_BYTES,
        max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
    )
    places = [TopicPartition(settings["topic"], partition) for partition in range(settings["partitions"])]
    consumer.assign(places)
    await consumer.start()
    try:
        for place in places:
            consumer.seek(place, 0)
        consumer.pause(*places)

        async def answer(request: Mapping[str, Any]) -> Mapping[str, Any]:
            with profiled(settings.get("profile")):
                return await drain(consumer, places, request["samples"])

        await serve({"ready": True}, answer)
    finally:
        await consumer.stop()


if __name__ == "__main__":
    asyncio.run(run(json.loads(sys.argv[1])))
