"""Brokers that stop, hang and come back: every call ends in time, says so, and works again afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from autoscaler.errors import StreamError
from autoscaler.ports.stream import Place, StreamMember, Topic
from tests.adapters.stream_process import number_of, numbered
from tests.conftest import lacking
from tests.contract.stream_kinds import KafkaStream, Recorder, everything, messages_of, own_all
from tests.parts import PartMissing, kafka

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

APPEND_S = 10.0
OPEN_S = 10.0
CLOSE_S = 5.0


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kafka.Kafka]:
    """A broker that may be stopped, for the tests of this module alone."""
    try:
        started = kafka.start(tmp_path_factory.mktemp("mortal-kafka"))
    except PartMissing as error:
        raise lacking("kafka", error) from error
    with started:
        yield started


@pytest.fixture
async def stream(broker: kafka.Kafka) -> AsyncIterator[KafkaStream]:
    opened = await set_up_stream(broker.bootstrap)
    yield opened
    await opened.close()


async def set_up_stream(bootstrap: str, seconds: float = 60.0) -> KafkaStream:
    """A stream on the broker once that serves again: a test before may have stopped it."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + seconds
    while True:
        opened = KafkaStream(bootstrap)
        try:
            await opened.set_up()
        except StreamError:
            await opened.close()
            if loop.time() > give_up_at:
                raise
            await asyncio.sleep(0.5)
        else:
            return opened


async def until_away(member: StreamMember, seconds: float = 20.0) -> StreamError:
    """The error of the first poll that notices."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + seconds
    while loop.time() < give_up_at:
        try:
            await member.poll(0.2)
        except StreamError as error:
            return error
    pytest.fail(f"poll noticed nothing for {seconds:.0f} s")


async def until_back(member: StreamMember, seconds: float = 60.0) -> None:
    """Poll until it raises no more."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + seconds
    while True:
        try:
            await member.poll(0.2)
        except StreamError:
            assert loop.time() < give_up_at, f"still away after {seconds:.0f} s"
        else:
            return


async def taken_over(member: StreamMember, partition: int, seconds: float = 60.0) -> list[int]:
    """The numbers in the restored state, as soon as a take-over works."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + seconds
    while True:
        try:
            restored = await member.take_over(partition)
        except StreamError:
            assert loop.time() < give_up_at, f"no take-over within {seconds:.0f} s"
            await member.poll(0.1)
        else:
            await member.seek(partition, restored.beginnings)
            return [number_of(message.value) for message in restored.messages]


async def read_again(member: StreamMember, place: Place, seconds: float = 60.0) -> None:
    """Read a message as an owner does whose partitions may be taken and given back until the group has settled."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + seconds
    while loop.time() < give_up_at:
        await taken_over(member, place.partition)
        settled_at = loop.time() + 5.0
        while loop.time() < settled_at:
            try:
                batches = await member.poll(0.2)
            except StreamError:
                break
            if place.offset in [message.offset for message in messages_of(batches, place.topic, place.partition)]:
                return
    pytest.fail(f"{place} not read within {seconds:.0f} s")


async def test_a_hanging_broker_ends_every_call_in_time_and_all_works_when_it_goes_on(
    broker: kafka.Kafka, stream: KafkaStream
) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    await client.publish(Topic.METRICS, b"web", b"v")
    await member.append(numbered(0, 1))
    broker.pause()
    try:
        began = time.monotonic()
        appending = asyncio.create_task(member.append(numbered(0, 2)))
        publishing = asyncio.create_task(client.publish(Topic.METRICS, b"web", b"v"))
        asking = asyncio.create_task(client.ends(Topic.METRICS))
        away = await until_away(member)
        outcomes = await asyncio.gather(appending, publishing, asking, return_exceptions=True)
        assert time.monotonic() - began < APPEND_S + 3
    finally:
        broker.resume()

    assert "no broker has answered" in str(away)
    assert all(isinstance(outcome, StreamError) for outcome in outcomes), outcomes
    assert [outcome.outcome for outcome in outcomes[:2] if isinstance(outcome, StreamError)] == ["unknown", "unknown"]
    await until_back(member)
    # Whole or not at all, and the next take-over knows which.
    state = await taken_over(member, 0)
    assert state in ([1, 1], [2, 2])
    await member.append(numbered(0, 3))
    audit = [number_of(message.value) for message in await everything(client, Topic.AUDIT, 0)]
    assert audit == [*range(1, state[0] + 1), 3]
    place = await client.publish(Topic.CONTROL, b"web", b"v")
    await read_again(member, place)


async def test_a_killed_broker_is_noticed_and_its_return_too(broker: kafka.Kafka, stream: KafkaStream) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    await member.append(numbered(0, 1))
    broker.kill()
    try:
        began = time.monotonic()
        with pytest.raises(StreamError):
            await member.append(numbered(0, 2))
        assert time.monotonic() - began < APPEND_S + 2
        assert "no broker has answered" in str(await until_away(member))
    finally:
        await asyncio.to_thread(broker.restart)

    await until_back(member)
    assert await taken_over(member, 0) == [1, 1]
    await member.append(numbered(0, 3))
    place = await client.publish(Topic.METRICS, b"web", b"v")
    await read_again(member, place)


async def test_everything_closes_in_time_while_the_broker_hangs(broker: kafka.Kafka, stream: KafkaStream) -> None:
    others = asyncio.all_tasks()
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    await client.publish(Topic.METRICS, b"web", b"v")
    following = client.read(Topic.METRICS, follow=True)
    await anext(following)
    broker.pause()
    try:
        appending = asyncio.create_task(member.append(numbered(0, 2)))
        await asyncio.sleep(0.3)
        began = time.monotonic()
        await asyncio.gather(member.close(), client.close(), following.aclose())  # type: ignore[attr-defined]
        took_s = time.monotonic() - began
        (outcome,) = await asyncio.gather(appending, return_exceptions=True)
        left = await library_tasks(others)
    finally:
        broker.resume()

    assert took_s < CLOSE_S
    assert isinstance(outcome, StreamError)
    assert left == set()


@pytest.mark.parametrize("after_s", [2.0, 11.0])
async def test_a_member_with_all_in_flight_closes_in_time_and_leaves_no_task(
    broker: kafka.Kafka, stream: KafkaStream, after_s: float
) -> None:
    others = asyncio.all_tasks()
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    await member.append(replace(numbered(0, 1), positions={Topic.METRICS: 1}))
    broker.pause()
    try:
        under_way = [
            asyncio.create_task(call)
            for call in (
                member.append(numbered(0, 2)),
                member.take_over(1),
                client.publish(Topic.METRICS, b"web", b"v"),
                until_away(member),
            )
        ]
        await asyncio.sleep(after_s)
        took_s = []
        for closing in (member.close(), client.close()):
            began = time.monotonic()
            await closing
            took_s.append(time.monotonic() - began)
        await asyncio.wait(under_way, timeout=15.0)
        await asyncio.gather(*(task for task in under_way if task.done()), return_exceptions=True)
        left = await library_tasks(others)
    finally:
        broker.resume()

    assert max(took_s) < CLOSE_S, took_s
    assert all(task.done() for task in under_way)
    assert left == set()


async def test_opening_ends_in_time_while_the_broker_hangs_and_a_cancelled_one_at_once(
    broker: kafka.Kafka, stream: KafkaStream
) -> None:
    others = asyncio.all_tasks()
    member, client, cancelled = stream.member(), stream.client(), stream.member("m2")
    broker.pause()
    try:
        opening = asyncio.create_task(cancelled.open(Recorder()))
        began = time.monotonic()
        outcomes = await asyncio.gather(member.open(Recorder()), client.open(), return_exceptions=True)
        took_s = time.monotonic() - began
        await asyncio.wait({opening})
        opening = asyncio.create_task(cancelled.open(Recorder()))
        await asyncio.sleep(1.0)
        opening.cancel()
        began = time.monotonic()
        await asyncio.wait({opening})
        cancelled_s = time.monotonic() - began
        await asyncio.gather(member.close(), client.close(), cancelled.close())
        left = await library_tasks(others)
    finally:
        broker.resume()

    assert took_s < OPEN_S
    assert cancelled_s < 3.0
    assert all(isinstance(outcome, StreamError) and outcome.outcome == "unavailable" for outcome in outcomes)
    assert left == set()
    await own_all(member)
    await client.open()


async def library_tasks(others: set[asyncio.Task[Any]]) -> set[str]:
    """What the client library still runs in the background a while later, but for other clients' tasks."""
    left: set[str] = set()
    for _ in range(60):
        names = {getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks() - others}
        left = {name for name in names if name.startswith(("AIOKafka", "Sender", "Fetcher", "GroupCoordinator"))}
        if not left:
            break
        await asyncio.sleep(0.1)
    return left


async def test_an_absent_broker_is_an_error_that_may_be_tried_again(broker: kafka.Kafka, stream: KafkaStream) -> None:
    member, client = stream.member(), stream.client()
    broker.kill()
    try:
        for opening in (member.open(Recorder()), client.open(), stream.admin().create_topics()):
            began = time.monotonic()
            with pytest.raises(StreamError, match=r"no broker could be reached .*Check brokers and security"):
                await opening
            assert time.monotonic() - began < 3
    finally:
        await asyncio.to_thread(broker.restart)

    await own_all(member)
    await client.open()


async def test_closing_a_member_whose_broker_is_dead_is_quick(broker: kafka.Kafka, stream: KafkaStream) -> None:
    member = stream.member()
    await own_all(member)
    await member.append(numbered(0, 1))
    broker.kill()
    try:
        await asyncio.sleep(0.2)
        began = time.monotonic()
        await member.close()
        assert time.monotonic() - began < CLOSE_S
    finally:
        await asyncio.to_thread(broker.restart)
