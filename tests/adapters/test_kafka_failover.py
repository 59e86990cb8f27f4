"""Three brokers of which one dies: appends and inputs go on, nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from autoscaler.adapters.topics import topic_name
from autoscaler.errors import StreamError
from autoscaler.ports.stream import StreamMember, Topic
from tests.adapters.stream_process import number_of, numbered
from tests.contract.stream_kinds import PARTITIONS, KafkaStream, collect, everything, own_all
from tests.parts import kafka

pytestmark = [pytest.mark.kafka, pytest.mark.nightly, pytest.mark.timeout(300)]

GAP_S_MAX = 40.0
"""The longest that no append may succeed while a leader is replaced (the brokers notice within 3 s)."""


class Appending:
    """Appends numbers one after the other, taking the partition over again whenever it has to."""

    def __init__(self, member: StreamMember) -> None:
        self.done: list[int] = []
        self.gap_s = 0.0
        self._member = member

    async def go_on(self) -> None:
        """Until cancelled."""
        number, owned, last = 0, True, time.monotonic()
        while True:
            number += 1
            try:
                if not owned:
                    await self._member.take_over(0)
                    owned = True
                await self._member.append(numbered(0, number))
            except StreamError:
                owned = False
                await asyncio.sleep(0.1)
                continue
            self.done.append(number)
            self.gap_s, last = max(self.gap_s, time.monotonic() - last), time.monotonic()


async def test_a_killed_leader_loses_nothing_that_was_acknowledged(start_kafka: Callable[..., kafka.Kafka]) -> None:
    brokers = start_kafka(brokers=3)
    stream = KafkaStream(brokers.bootstrap, replication=0)
    await stream.set_up()
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    leader = await leader_of(stream, Topic.STATE)
    appending = Appending(member)
    task = asyncio.create_task(appending.go_on())
    while len(appending.done) < 20:
        await member.poll(0.1)

    brokers.kill(leader)
    killed_at, before = time.monotonic(), len(appending.done)
    while len(appending.done) < before + 20:
        assert time.monotonic() - killed_at < GAP_S_MAX, f"{len(appending.done) - before} appends since the kill"
        try:
            await member.poll(0.2)
        except StreamError:
            continue
    task.cancel()

    audit = [number_of(message.value) for message in await everything(client, Topic.AUDIT, 0)]
    assert sorted(set(audit)) == audit
    assert set(appending.done) <= set(audit)
    place = await client.publish(Topic.CONTROL, b"web", b"v")
    await member.take_over(place.partition)
    await member.seek(place.partition, {Topic.CONTROL: place.offset})
    assert await collect(member, 1, seconds=30.0)
    await stream.close()


async def leader_of(stream: KafkaStream, topic: Topic) -> int:
    """The broker that leads the topic's partition 0; checks the replication on the way."""
    admin = AIOKafkaAdminClient(bootstrap_servers=list(stream.settings.brokers))
    await admin.start()
    (found,) = await admin.describe_topics([topic_name(stream.settings.prefix, topic)])
    await admin.close()
    assert len(found["partitions"]) == PARTITIONS
    assert all(len(partition["replicas"]) == 3 for partition in found["partitions"])
    return next(int(partition["leader"]) for partition in found["partitions"] if partition["partition"] == 0)
