"""The control of the latencies: a bare consume -> transactional produce loop of the client library, and nothing else.

The same topics, the same client settings, as many records of the same size as ours writes for an event. With
``restore`` it reads the whole state topic first, as a restart must. Settings: see `run`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from autoscaler.adapters.kafka.inputs import FETCH_BYTES, FETCH_WAIT_MS, PARTITION_FETCH_BYTES, POLL_RECORDS
from autoscaler.adapters.kafka.ledger import BATCH_BYTES, REQUEST_BYTES_MAX
from bench.child import serve

SESSION_MS = 30_000
POLL_MS = 100


async def restored(settings: Mapping[str, Any]) -> int:
    """Read the state topic to its end and parse every value."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings["brokers"], enable_auto_commit=False, isolation_level="read_committed"
    )
    places = [TopicPartition(settings["state"], partition) for partition in range(settings["partitions"])]
    consumer.assign(places)
    await consumer.start()
    latest: dict[bytes, Any] = {}
    try:
        ends = await consumer.end_offsets(places)
        for place in places:
            consumer.seek(place, 0)
        while any([await consumer.position(place) < ends[place] for place in places]):
            for messages in (await consumer.getmany(timeout_ms=20)).values():
                latest |= {message.key: json.loads(message.value) for message in messages}
    finally:
        await consumer.stop()
    return len(latest)


async def transact(producer: AIOKafkaProducer, settings: Mapping[str, Any], message: Any) -> None:
    """Write what stands for the decision about one message: its value first, so that it can be recognised."""
    value = message.value
    await producer.begin_transaction()
    sent = []
    states = settings.get("written", settings["state"])
    for topic, sizes in ((settings["audit"], settings["audit_bytes"]), (states, settings["state_bytes"])):
        sent += [
            await producer.send(topic, value.ljust(size), message.key, partition=message.partition) for size in sizes
        ]
    for future in sent:
        await future
    await producer.commit_transaction()


async def loop(consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, settings: Mapping[str, Any]) -> None:
    """One transaction a message."""
    while True:
        found = await consumer.getmany(timeout_ms=POLL_MS, max_records=POLL_RECORDS)
        for messages in found.values():
            for message in messages:
                await transact(producer, settings, message)


async def run(settings: Mapping[str, Any]) -> None:
    """``brokers``, ``group``, ``inputs``, ``partitions``; ``audit``, ``state``, ``audit_bytes``, ``state_bytes``: what
    is written for an event, ``written``: where, if not into the state that is restored; ``restore``; ``reset``: where
    to begin without a committed position."""
    if settings.get("restore"):
        await restored(settings)
    producer = AIOKafkaProducer(
        bootstrap_servers=settings["brokers"],
        transactional_id=settings["group"],
        acks="all",
        linger_ms=0,
        max_batch_size=BATCH_BYTES,
        max_request_size=REQUEST_BYTES_MAX,
    )
    await producer.start()
    consumer = AIOKafkaConsumer(
        *settings["inputs"],
        bootstrap_servers=settings["brokers"],
        group_id=settings["group"],
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=SESSION_MS // 10,
        partition_assignment_strategy=(RangePartitionAssignor,),
        enable_auto_commit=False,
        auto_offset_reset=settings.get("reset", "latest"),
        isolation_level="read_committed",
        fetch_max_wait_ms=FETCH_WAIT_MS,
        fetch_max_bytes=FETCH_BYTES,
        max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
    )
    await consumer.start()
    for place in consumer.assignment():
        await consumer.position(place)
    working = asyncio.create_task(loop(consumer, producer, settings))
    try:

        async def answer(request: Mapping[str, Any]) -> Mapping[str, Any]:
            return {"working": not working.done()}

        await serve({"ready": True}, answer)
    finally:
        working.cancel()
        await asyncio.wait({working})
        await consumer.stop()
        await producer.stop()


if __name__ == "__main__":
    asyncio.run(run(json.loads(sys.argv[1])))
