"""What the reader of the inputs promises when fetches fail, logs are trimmed and topics are made anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAuthorizationFailedError

from autoscaler.adapters.kafka.member import KafkaMember
from autoscaler.adapters.topics import topic_name
from autoscaler.errors import StreamError
from autoscaler.ports.stream import StreamMember, Topic
from tests.conftest import KafkaBroker
from tests.contract.replicas import eventually
from tests.contract.stream_kinds import PARTITIONS, KafkaStream, collect, messages_of, own_all, silent


@pytest.fixture
async def stream(kafka_broker: KafkaBroker) -> AsyncIterator[KafkaStream]:
    opened = KafkaStream(str(kafka_broker))
    await opened.set_up()
    yield opened
    await opened.close()


@pytest.fixture
async def admin(kafka_broker: KafkaBroker) -> AsyncIterator[AIOKafkaAdminClient]:
    opened = AIOKafkaAdminClient(bootstrap_servers=str(kafka_broker))
    await opened.start()
    yield opened
    await opened.close()


def consumer_of(member: StreamMember) -> Any:
    assert isinstance(member, KafkaMember)
    return member._opened().consumer


async def told(member: StreamMember, seconds: float = 20.0) -> StreamError:
    """The first error of a poll."""
    with pytest.raises(StreamError) as raised:
        await silent(member, seconds)
    return raised.value


async def test_deployments_that_were_found_are_delivered_though_the_rest_of_the_fetch_fails(
    stream: KafkaStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = stream.member()
    await own_all(member)
    await silent(member)
    consumer = consumer_of(member)
    usual = consumer.getmany
    failures = [TopicAuthorizationFailedError("metrics"), TopicAuthorizationFailedError("metrics")]

    async def failing(*places: Any, **limits: Any) -> Any:
        if not places:
            # What lies in the library's buffer when the second call fails.
            await asyncio.sleep(0.3)
            if found.is_set() and failures:
                raise failures.pop()
            return await usual(*places, **limits)
        messages = await usual(*places, **limits)
        if messages:
            found.set()
        return messages

    found = asyncio.Event()
    monkeypatch.setattr(consumer, "getmany", failing)
    for number in range(3):
        await stream.write_foreign(Topic.DEPLOYMENTS, 1, b"web", b"%d" % number)
    batches = []
    errors = []
    while failures:
        try:
            batches += await member.poll(0.5)
        except StreamError as error:
            errors.append(error)
    errors.append(await told(member)) if len(errors) < 2 else None
    while sum(len(batch.messages) for batch in batches) < 3:
        batches += await member.poll(0.5)

    assert [message.value for message in messages_of(batches, Topic.DEPLOYMENTS)] == [b"0", b"1", b"2"]
    assert all("not authorised" in str(error) for error in errors)


async def test_a_trimmed_log_is_told_with_its_partition_and_read_on_after_a_take_over(
    stream: KafkaStream, admin: AIOKafkaAdminClient
) -> None:
    member = stream.member()
    for number in range(5):
        await stream.write_foreign(Topic.DEPLOYMENTS, 1, b"web", b"%d" % number)
    await own_all(member)
    await collect(member, 5)
    place = TopicPartition(topic_name(stream.settings.prefix, Topic.DEPLOYMENTS), 1)
    await admin.delete_records({place: RecordsToDelete(before_offset=3)})

    await member.seek(1, {Topic.DEPLOYMENTS: 1})
    error = await told(member)
    assert await silent(member)
    restored = await member.take_over(1)
    await member.seek(1, {Topic.DEPLOYMENTS: restored.beginnings[Topic.DEPLOYMENTS]})

    assert (error.partition, error.outcome) == (1, "unknown")
    assert "deployments partition 1 no longer holds offset 1" in str(error)
    assert restored.beginnings[Topic.DEPLOYMENTS] == 3
    assert restored.ends[Topic.DEPLOYMENTS] == 5
    found = messages_of(await collect(member, 2), Topic.DEPLOYMENTS, 1)
    assert [message.value for message in found] == [b"3", b"4"]


async def test_every_partition_whose_log_was_trimmed_is_told(stream: KafkaStream) -> None:
    member = stream.member()
    await own_all(member)
    for partition in range(PARTITIONS):
        await member.seek(partition, {Topic.METRICS: 5_000})

    assert {(await told(member)).partition for _ in range(PARTITIONS)} == {0, 1, 2}
    assert await silent(member)


async def test_an_error_of_a_position_that_was_left_is_not_told(stream: KafkaStream) -> None:
    member = stream.member()
    await own_all(member)
    await member.seek(1, {Topic.METRICS: 5_000})
    await asyncio.sleep(1.0)
    await member.seek(1, {Topic.METRICS: 0})
    await stream.write_foreign(Topic.METRICS, 1, b"web", b"v")

    assert messages_of(await collect(member, 1), Topic.METRICS, 1)
    assert await silent(member)


async def test_a_topic_made_anew_is_read_from_its_beginning_after_a_take_over(
    stream: KafkaStream, admin: AIOKafkaAdminClient
) -> None:
    member = stream.member()
    recorder, _ = await own_all(member)
    for _ in range(5):
        await stream.write_foreign(Topic.DEPLOYMENTS, 1, b"web", b"old")
    await collect(member, 5)
    name = topic_name(stream.settings.prefix, Topic.DEPLOYMENTS)
    await admin.delete_topics([name])
    await asyncio.sleep(1.0)
    await admin.create_topics([NewTopic(name, PARTITIONS, 1)])

    # The group may or may not notice; an owner takes over whatever is assigned and whatever poll tells of.
    deadline = asyncio.get_running_loop().time() + 60.0
    restored = None
    while restored is None:
        assert asyncio.get_running_loop().time() < deadline
        try:
            await member.poll(0.2)
        except StreamError as error:
            if error.partition == 1:
                restored = await member.take_over(1)
        if recorder.lost and len(recorder.mine) == PARTITIONS:
            restored = await member.take_over(1)

    assert (restored.beginnings[Topic.DEPLOYMENTS], restored.ends[Topic.DEPLOYMENTS]) == (0, 0)
    await member.seek(1, restored.beginnings)
    await stream.write_foreign(Topic.DEPLOYMENTS, 1, b"web", b"new")
    found = messages_of(await collect(member, 1, seconds=45.0), Topic.DEPLOYMENTS, 1)
    assert [message.value for message in found] == [b"new"]


async def test_what_an_unfinished_poll_still_finds_is_not_delivered_after_a_seek_back(
    stream: KafkaStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = stream.member()
    await own_all(member)
    for number in range(4):
        await stream.write_foreign(Topic.CONTROL, 1, b"web", b"%d" % number)
    await collect(member, 4)
    consumer = consumer_of(member)
    usual, drained, go_on = consumer.getmany, asyncio.Event(), asyncio.Event()

    async def slow(*places: Any, **limits: Any) -> Any:
        found = await usual(*places, **limits)
        if found:
            drained.set()
            await go_on.wait()
        return found

    monkeypatch.setattr(consumer, "getmany", slow)
    polling = asyncio.create_task(member.poll(5.0))
    await stream.write_foreign(Topic.CONTROL, 1, b"web", b"4")
    await drained.wait()

    await member.seek(1, {Topic.CONTROL: 2})
    go_on.set()
    batches = await polling
    batches += await collect(member, 3 - len(messages_of(batches, Topic.CONTROL)))

    assert [message.offset for message in messages_of(batches, Topic.CONTROL, 1)] == [2, 3, 4]


async def test_an_input_topic_with_its_producers_times_is_accepted_with_a_remark(
    stream: KafkaStream, admin: AIOKafkaAdminClient
) -> None:
    name = topic_name(stream.settings.prefix, Topic.METRICS)
    times = {"message.timestamp.type": "CreateTime"}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, times)])

    async def remarked() -> list[str]:
        lines = await stream.admin().create_topics()
        return [line.split(":")[0] for line in lines if "message.timestamp.type=LogAppendTime" in line]

    # A broker answers an alteration before it shows it.
    assert await eventually(remarked, bool) == [name]
    await own_all(stream.member())
