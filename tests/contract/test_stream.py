"""The contract of the stream port, for every kind of stream (see `stream_kinds`)."""

from __future__ import annotations

import asyncio
import time

import pytest

from autoscaler.errors import Fenced, StreamError, TooLarge
from autoscaler.ports.stream import INPUTS, Append, Outgoing, Topic, partition_of
from tests.contract.stream_kinds import (
    PARTITIONS,
    Recorder,
    StreamKind,
    collect,
    everything,
    messages_of,
    own_all,
    silent,
)


def an_append(partition: int = 0, *, state: bytes | None = b"s", key: bytes = b"web", **positions: int) -> Append:
    """A state record and its audit record."""
    records = (Outgoing(Topic.STATE, key, state), Outgoing(Topic.AUDIT, key, b"why " + (state or b"gone")))
    return Append(partition, records, {Topic(name): offset for name, offset in positions.items()})


# --- inputs


async def test_a_published_event_reaches_the_owner_whole(stream: StreamKind) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    before_ms = time.time() * 1000

    place = await client.publish(Topic.METRICS, b"checkout", b'{"x": 1}', [("ce_id", b"m-1"), ("raw", b"\x00\xff")])

    (batch,) = await collect(member, 1)
    (message,) = batch.messages
    assert (batch.topic, batch.partition, message.offset) == (Topic.METRICS, place.partition, place.offset)
    assert (message.key, message.value) == (b"checkout", b'{"x": 1}')
    assert list(message.headers) == [("ce_id", b"m-1"), ("raw", b"\x00\xff")]
    assert before_ms - 2000 <= message.timestamp <= time.time() * 1000 + 2000


async def test_an_idle_owner_hears_of_an_event_at_once(stream: StreamKind) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    await client.publish(Topic.CONTROL, b"warm", b"up")
    await collect(member, 1)
    waiting = asyncio.create_task(member.poll(10.0))
    await asyncio.sleep(0.3)
    began = time.monotonic()

    await client.publish(Topic.CONTROL, b"web", b"pause")

    assert await waiting or await collect(member, 1, seconds=1.0)
    assert time.monotonic() - began < 0.4


async def test_deployments_and_control_come_before_metrics(stream: StreamKind) -> None:
    member, client = stream.member(), stream.client()
    await client.open()
    for topic in (Topic.METRICS, Topic.CONTROL, Topic.METRICS, Topic.DEPLOYMENTS):
        await client.publish(topic, b"web", b"v")
    await own_all(member)

    batches = await collect(member, 4)

    topics = [batch.topic for batch in batches]
    assert Topic.METRICS not in topics[: topics.index(Topic.METRICS)]
    assert topics == sorted(topics, key=lambda topic: topic is Topic.METRICS)


async def test_a_burst_arrives_whole_and_in_order(stream: StreamKind) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()

    places = await asyncio.gather(*(client.publish(Topic.METRICS, b"web", b"%d" % n) for n in range(3000)))
    batches = await collect(member, 3000)

    assert {place.partition for place in places} == {partition_of(b"web", PARTITIONS)}
    found = messages_of(batches, Topic.METRICS)
    assert sorted(message.offset for message in found) == [message.offset for message in found]
    assert {message.value for message in found} == {b"%d" % n for n in range(3000)}


async def test_keys_and_values_may_be_binary_or_missing(stream: StreamKind) -> None:
    member = stream.member()
    await own_all(member)

    await stream.write_foreign(Topic.METRICS, 1, b"\x00\xff", b"\xfe\x00", [("h", b"")])
    await stream.write_foreign(Topic.METRICS, 1, None, b"no key")
    await stream.write_foreign(Topic.METRICS, 1, b"no value", None)

    found = messages_of(await collect(member, 3), Topic.METRICS, 1)
    assert [(message.key, message.value) for message in found] == [
        (b"\x00\xff", b"\xfe\x00"),
        (None, b"no key"),
        (b"no value", None),
    ]
    assert list(found[0].headers) == [("h", b"")]


async def test_a_message_of_a_megabyte_passes_and_a_larger_one_is_refused(stream: StreamKind) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    large = b"x" * 1_000_000

    await client.publish(Topic.DEPLOYMENTS, b"web", large)
    with pytest.raises(TooLarge):
        await client.publish(Topic.DEPLOYMENTS, b"web", large * 2)
    await client.publish(Topic.DEPLOYMENTS, b"web", b"small")

    values = [message.value for message in messages_of(await collect(member, 2), Topic.DEPLOYMENTS)]
    assert values == [large, b"small"]


async def test_poll_without_news_is_empty_and_ends_in_time(stream: StreamKind) -> None:
    member = stream.member()
    await own_all(member)
    await silent(member)
    began = time.monotonic()

    assert await member.poll(0.3) == []

    assert 0.2 <= time.monotonic() - began < 1.5


# --- positions


async def test_nothing_is_read_before_seek(stream: StreamKind) -> None:
    member, client, recorder = stream.member(), stream.client(), Recorder()
    await client.open()
    await client.publish(Topic.METRICS, b"web", b"v")
    await member.open(recorder)
    for partition in await recorder.owns(PARTITIONS):
        await member.take_over(partition)

    assert await silent(member)


async def test_seek_goes_back_and_forth(stream: StreamKind) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    places = [await client.publish(Topic.METRICS, b"web", b"%d" % number) for number in range(5)]
    partition = places[0].partition
    await collect(member, 5)

    await member.seek(partition, {Topic.METRICS: 1})
    again = [message.value for message in messages_of(await collect(member, 4), Topic.METRICS)]
    await member.seek(partition, {Topic.METRICS: 4})
    last = [message.value for message in messages_of(await collect(member, 1), Topic.METRICS)]

    assert (again, last) == ([b"1", b"2", b"3", b"4"], [b"4"])
    assert await silent(member)


async def test_after_a_seek_back_nothing_comes_from_beyond_before_what_lies_there(stream: StreamKind) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    places = [await client.publish(Topic.CONTROL, b"web", b"%d" % number) for number in range(5)]
    partition = places[0].partition
    await collect(member, 5)

    for turn in range(10):
        # Messages arrive, and a poll may be under way, at any moment of the take-over.
        polling = asyncio.create_task(member.poll(0.2))
        await client.publish(Topic.CONTROL, b"web", b"late")
        await asyncio.sleep(0.02 * (turn % 4))
        await member.take_over(partition)
        before = polling.done()
        await member.seek(partition, {Topic.CONTROL: 1})
        polled = await polling
        found = [] if before else messages_of(polled, Topic.CONTROL)
        want = 5 + turn - len(found)
        found += messages_of(await collect(member, want), Topic.CONTROL) if want else []
        assert [message.offset for message in found] == list(range(1, 6 + turn))


async def test_a_time_is_found_by_its_first_message_or_the_end(stream: StreamKind) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    first = await client.publish(Topic.METRICS, b"web", b"old")
    await asyncio.sleep(0.1)
    between = time.time()
    await asyncio.sleep(0.1)
    second = await client.publish(Topic.METRICS, b"web", b"new")

    async def look(at: float) -> int:
        return await member.seek_time(first.partition, Topic.METRICS, at)

    assert await look(between) == second.offset
    assert await look(0.0) == first.offset
    assert await look(time.time() + 3600) == second.offset + 1


async def test_a_paused_topic_waits_while_the_others_are_read(stream: StreamKind) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    partition = partition_of(b"web", PARTITIONS)

    member.pause(partition, [Topic.METRICS])
    await client.publish(Topic.METRICS, b"web", b"1")
    await client.publish(Topic.CONTROL, b"web", b"pause")
    await client.publish(Topic.METRICS, b"web", b"2")
    while_paused = await collect(member, 1)
    assert await silent(member)
    member.resume(partition, [Topic.METRICS])
    afterwards = await collect(member, 2)

    assert [batch.topic for batch in while_paused] == [Topic.CONTROL]
    assert [message.value for message in messages_of(afterwards, Topic.METRICS)] == [b"1", b"2"]


async def test_pausing_in_the_middle_of_a_stream_loses_nothing(stream: StreamKind) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    partition = partition_of(b"web", PARTITIONS)
    values: list[bytes | None] = []

    for turn in range(20):
        for number in range(10):
            await client.publish(Topic.METRICS, b"web", b"%d.%d" % (turn, number))
        if turn % 2:
            member.pause(partition, [Topic.METRICS])
        values += [message.value for message in messages_of(await member.poll(0.02), Topic.METRICS)]
        member.resume(partition, [Topic.METRICS])
    values += [message.value for message in messages_of(await collect(member, 200 - len(values)), Topic.METRICS)]

    assert values == [b"%d.%d" % (turn, n) for turn in range(20) for n in range(10)]


async def test_lag_is_what_was_not_read(stream: StreamKind) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    place = await client.publish(Topic.METRICS, b"web", b"1")
    await collect(member, 1)

    assert member.lag()[Topic.METRICS, place.partition] == 0
    assert set(member.lag()) == {(topic, number) for topic in INPUTS for number in range(PARTITIONS)}

    await member.seek(place.partition, {Topic.METRICS: 0})
    assert member.lag()[Topic.METRICS, place.partition] == 1


# --- the ledger


async def test_an_append_is_read_in_its_order_by_everybody(stream: StreamKind) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()

    for number in range(5):
        await member.append(an_append(state=b"%d" % number, metrics=number))

    assert [message.value for message in await everything(client, Topic.AUDIT, 0)] == [b"why %d" % n for n in range(5)]
    assert [message.value for message in await everything(client, Topic.STATE, 0)] == [b"%d" % n for n in range(5)]


async def test_many_partitions_append_at_once(stream: StreamKind) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()

    await asyncio.gather(
        *(member.append(an_append(partition, state=b"%d" % n)) for n in range(5) for partition in range(PARTITIONS))
    )

    assert len(await everything(client, Topic.AUDIT)) == 5 * PARTITIONS


async def test_a_refused_record_leaves_nothing_of_its_append(stream: StreamKind) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    await member.append(an_append(state=b"good"))
    too_large = Outgoing(Topic.AUDIT, b"web", b"x" * 3_000_000)

    with pytest.raises(TooLarge) as raised:
        await member.append(Append(0, (Outgoing(Topic.STATE, b"web", b"bad"), too_large), {}))

    assert (raised.value.topic, raised.value.key, raised.value.size) == (Topic.AUDIT, b"web", 3_000_003)
    assert raised.value.outcome == "unavailable"
    with pytest.raises(TooLarge, match="more than state takes"):
        await member.append(an_append(state=b"x" * (8 * 1024 * 1024)))
    await member.append(an_append(state=b"good"))
    assert [message.value for message in (await member.take_over(0)).messages] == [b"good"]
    await member.append(an_append(state=b"better"))
    assert [message.value for message in await everything(client, Topic.STATE, 0)] == [b"good", b"good", b"better"]
    audit = [message.value for message in await everything(client, Topic.AUDIT, 0)]
    assert audit == [b"why good", b"why good", b"why better"]


async def test_a_take_over_restores_the_latest_of_each_key(stream: StreamKind) -> None:
    member = stream.member()
    _, restored = await own_all(member)
    assert all(not found.messages for found in restored.values())
    for key, state in [(b"a", b"1"), (b"b", b"1"), (b"gone", b"1"), (b"a", b"2"), (b"gone", None), (b"\x00p", b"\xff")]:
        await member.append(an_append(key=key, state=state))
    await member.append(an_append(1, key=b"c", state=b"elsewhere"))

    found = await member.take_over(0)

    assert {message.key: message.value for message in found.messages} == {b"a": b"2", b"b": b"1", b"\x00p": b"\xff"}
    offsets = [message.offset for message in found.messages]
    assert offsets == sorted(offsets)


async def test_a_restart_restores_what_was_appended(stream: StreamKind) -> None:
    first, second = stream.member(), stream.member()
    await own_all(first)
    await first.append(an_append(2, state=b"kept"))
    await first.close()

    _, restored = await own_all(second)

    assert [message.value for message in restored[2].messages] == [b"kept"]


async def test_a_take_over_tells_the_range_of_each_input(stream: StreamKind) -> None:
    member, client = stream.member(), stream.client()
    await client.open()
    places = [await client.publish(Topic.DEPLOYMENTS, b"web", b"v") for _ in range(3)]

    _, restored = await own_all(member)

    found = restored[places[0].partition]
    assert found.beginnings == dict.fromkeys(INPUTS, 0)
    assert found.ends == {Topic.DEPLOYMENTS: 3, Topic.CONTROL: 0, Topic.METRICS: 0}


async def test_a_large_state_is_restored(stream: StreamKind) -> None:
    member = stream.member()
    await own_all(member)
    for number in range(6):
        records = tuple(Outgoing(Topic.STATE, b"k%d" % n, b"%d" % number * 20_000) for n in range(50))
        await member.append(Append(0, records, {}))
    await member.append(Append(0, (Outgoing(Topic.STATE, b"huge", b"x" * 1_000_000),), {}))

    found = {message.key: message.value for message in (await member.take_over(0)).messages}

    assert len(found) == 51
    assert found[b"k7"] == b"5" * 20_000


async def test_a_former_owner_is_fenced_and_leaves_nothing(stream: StreamKind) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    await member.append(an_append(state=b"mine"))

    await stream.usurp(0)
    with pytest.raises(Fenced):
        await member.append(an_append(state=b"late"))

    assert [message.value for message in await everything(client, Topic.STATE, 0)] == [b"mine"]
    assert [message.value for message in await everything(client, Topic.AUDIT, 0)] == [b"why mine"]


# --- ends


async def test_whoever_is_closed_refuses_politely_and_may_open_again(stream: StreamKind) -> None:
    member, client = stream.member(), stream.client()
    await member.close()
    await client.close()
    await own_all(member)
    await client.open()
    began = time.monotonic()
    await member.close()
    await client.close()
    assert time.monotonic() - began < 4.0

    with pytest.raises(StreamError):
        await member.poll(0.1)
    with pytest.raises(StreamError):
        await member.append(an_append())
    with pytest.raises(StreamError):
        await client.publish(Topic.METRICS, b"k", b"v")

    await own_all(member)
    await client.open()
    await client.publish(Topic.METRICS, b"k", b"v")
    assert await collect(member, 1)
