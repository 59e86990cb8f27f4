"""Workers of a real consumer group come and go with its lag: from zero to as many as share it, and back to zero."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.conftest import KafkaBroker
from tests.system.installation import Installation
from tests.system.trail import judge, trail

WORKER = """
import asyncio, os, signal, sys
from aiokafka import AIOKafkaConsumer

async def work(broker, topic, hold):
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=broker, group_id=topic + "-workers", enable_auto_commit=False,
                                auto_offset_reset="earliest", session_timeout_ms=6000)
    async with consumer:
        while not ending.is_set():
            if os.path.exists(hold) or not await consumer.getmany(timeout_ms=200):
                await asyncio.sleep(0.1)
            else:
                await consumer.commit()

asyncio.run(work(*sys.argv[1:]))
"""
"""Reads and commits; does nothing while the file that it is told of exists."""


@pytest.mark.timeout(180)
async def test_workers_follow_the_lag_of_their_group_from_zero_and_back(
    local: Callable[..., Installation], kafka_broker: KafkaBroker
) -> None:
    installation = local()
    topic = f"jobs-{uuid.uuid4().hex[:8]}"
    hold = installation.directory / "hold"
    hold.touch()
    (installation.directory / "worker.py").write_text(WORKER)
    command = [sys.executable, str(installation.directory / "worker.py"), str(kafka_broker), topic, str(hold)]
    installation.services = {
        "worker": installation.service(
            replicas=0,
            policies=[{"use": "kafka_lag", "with": {"metric": "lag", "per_replica": 10, "cooldown": "1s"}}],
            scaling={"down_window": "1s", "idle": "1s"},
            revision={"command": command, "stop": {"grace": "5s"}},
        )
    }
    group = {"group": f"{topic}-workers", "topics": [topic], "service": "worker", "every": "500ms"}
    installation.extra = {"metrics": {"kafka": [group | {"brokers": [str(kafka_broker)], "offset_reset": "earliest"}]}}
    admin = AIOKafkaAdminClient(bootstrap_servers=str(kafka_broker))
    await admin.start()
    await admin.create_topics([NewTopic(topic, 4, 1)])
    try:
        await installation.open()
        installation.start()
        await installation.wanted("worker", 0, revision=1)
        async with AIOKafkaProducer(bootstrap_servers=str(kafka_broker)) as producer:
            for number in range(90):
                await producer.send(topic, b"job", partition=number % 4)
        await installation.wanted("worker", 4, revision=1)  # nine would share the lag, four the partitions
        hold.unlink()
        await installation.wanted("worker", 0, revision=1, within_s=60.0)
        places = [TopicPartition(topic, number) for number in range(4)]
        committed = await admin.list_consumer_group_offsets(f"{topic}-workers", partitions=places)
        assert sum(each.offset for each in committed.values()) == 90
        await judge(installation)
        scaled = [
            r.data["after"]["demand"] for r in await trail(installation.client, "worker") if r.data["kind"] == "scale"
        ]
        assert (max(scaled), scaled[-1]) == (4, 0)
    finally:
        await admin.delete_topics([topic])
        await admin.close()
