"""The contract of the stream's clients, for every kind of stream (see `stream_kinds`)."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.errors import ConfigurationError
from autoscaler.ports.stream import Topic, partition_of
from tests.contract.stream_kinds import (
    PARTITIONS,
    Recorder,
    StreamKind,
    everything,
    own_all,
)


@given(key=st.binary(max_size=40), partitions=st.integers(1, 200))
def test_the_partitioner_is_kafkas(key: bytes, partitions: int) -> None:
    numbers = list(range(partitions))
    assert partition_of(key, partitions) == DefaultPartitioner()(key, numbers, numbers)


async def test_an_event_goes_to_the_partition_of_its_key(stream: StreamKind) -> None:
    client = stream.client()
    await client.open()

    for key in (b"checkout", b"web", b"a", b"\xff\x00"):
        place = await client.publish(Topic.CONTROL, key, b"v")
        assert place.partition == partition_of(key, client.partitions)
    assert client.partitions == PARTITIONS


async def test_a_reader_starts_where_it_is_told_and_ends_at_the_present(stream: StreamKind) -> None:
    client = stream.client()
    await client.open()
    places = [await client.publish(Topic.CONTROL, b"web", b"%d" % number) for number in range(5)]
    partition = places[0].partition

    found = [pair async for pair in client.read(Topic.CONTROL, partition=partition, start={partition: 3})]
    beyond = [pair async for pair in client.read(Topic.CONTROL, partition=partition, start={partition: 5})]

    assert [(place, message.value) for place, message in found] == [(places[3], b"3"), (places[4], b"4")]
    assert beyond == []


async def test_a_reader_of_an_empty_topic_ends(stream: StreamKind) -> None:
    client = stream.client()
    await client.open()

    assert await everything(client, Topic.DLQ) == []
    assert await client.ends(Topic.DLQ) == dict.fromkeys(range(PARTITIONS), 0)


async def test_ends_count_what_was_written(stream: StreamKind) -> None:
    client = stream.client()
    await client.open()
    place = await client.publish(Topic.CONTROL, b"web", b"v")
    await client.publish(Topic.CONTROL, b"web", b"v")

    assert (await client.ends(Topic.CONTROL))[place.partition] == 2


async def test_members_at_work_are_counted_by_whoever_asks(stream: StreamKind) -> None:
    member, client = stream.member(), stream.client()
    await client.open()
    assert await client.members() == 0
    await own_all(member)
    assert await client.members() == 1
    await member.close()
    assert await client.members() == 0


async def test_a_follower_sees_what_comes_later(stream: StreamKind) -> None:
    client, other = stream.client(), stream.client()
    await client.open()
    await other.open()
    await client.publish(Topic.CONTROL, b"web", b"before")
    followed = client.read(Topic.CONTROL, follow=True)

    async with asyncio.timeout(15):
        first = await anext(followed)
        await other.publish(Topic.CONTROL, b"web", b"after")
        second = await anext(followed)
    await followed.aclose()  # type: ignore[attr-defined]

    assert [message.value for _, message in (first, second)] == [b"before", b"after"]


async def test_topics_are_made_once_and_compared_afterwards(stream: StreamKind) -> None:
    lines = await stream.admin().create_topics()

    assert len(lines) == len(Topic)
    assert all("exists" in line for line in lines)
    with pytest.raises(ConfigurationError, match=f"{PARTITIONS} partitions"):
        await stream.admin(partitions=PARTITIONS + 1).create_topics()


async def test_a_member_refuses_topics_that_differ_from_its_configuration(stream: StreamKind) -> None:
    stream.settings = type(stream.settings)(
        **{name: getattr(stream.settings, name) for name in stream.settings.__slots__} | {"partitions": PARTITIONS + 2}
    )
    with pytest.raises(ConfigurationError, match="partitions"):
        await stream.member().open(Recorder())
