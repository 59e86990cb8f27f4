"""What only the Kafka stream promises: members share partitions, hand them over, and are fenced when they come back."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.producer.transaction_manager import PidAndEpoch

from autoscaler.adapters.kafka.member import KafkaMember
from autoscaler.adapters.topics import topic_name
from autoscaler.errors import ConfigurationError, Fenced, StreamError
from autoscaler.ports.stream import Append, Outgoing, StreamMember, Topic
from tests.adapters.stream_process import Owner, number_of, numbered
from tests.adapters.streams_in_processes import member_process
from tests.conftest import KafkaBroker
from tests.contract.stream_kinds import (
    PARTITIONS,
    SESSION_S,
    KafkaStream,
    Recorder,
    collect,
    everything,
    messages_of,
    own_all,
    silent,
)


@pytest.fixture
async def stream(kafka_broker: KafkaBroker) -> AsyncIterator[KafkaStream]:
    opened = KafkaStream(str(kafka_broker))
    await opened.set_up()
    yield opened
    await opened.close()


def arguments(stream: KafkaStream, member: str, *more: str) -> tuple[str, ...]:
    return ("kafka", stream.settings.brokers[0], stream.settings.prefix, stream.cluster, member, *more)


async def polled(member: StreamMember) -> None:
    """Keep a member alive in its group."""
    while True:
        await member.poll(0.2)


async def until(condition: object, seconds: float = 20.0) -> None:
    """Wait for a condition that nothing tells of."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + seconds
    while not condition():  # type: ignore[operator]
        assert loop.time() < give_up_at, f"not so within {seconds:.0f} s"
        await asyncio.sleep(0.05)


# --- sharing


async def test_two_members_share_the_partitions_and_one_that_closes_hands_over_at_once(stream: KafkaStream) -> None:
    first, second = stream.member("m1"), stream.member("m2")
    of_first, of_second = Recorder(), Recorder()
    await first.open(of_first)
    assert await of_first.owns(PARTITIONS) == {0, 1, 2}
    polls = [asyncio.create_task(polled(first))]
    await second.open(of_second)
    polls.append(asyncio.create_task(polled(second)))
    await of_second.owns(1)
    await of_first.owns(PARTITIONS - 1)
    assert of_first.mine | of_second.mine == {0, 1, 2}
    began = time.monotonic()

    polls[0].cancel()
    await first.close()
    await of_second.owns(PARTITIONS)

    assert time.monotonic() - began < SESSION_S / 2
    polls[1].cancel()


async def test_a_member_may_append_while_it_gives_a_partition_away(stream: KafkaStream) -> None:
    class Releasing(Recorder):
        async def revoked(self, partitions: frozenset[int]) -> None:
            for partition in partitions:
                await first.append(numbered(partition, 7))
            await super().revoked(partitions)

    first, second, releasing = stream.member("m1"), stream.member("m2"), Releasing()
    await first.open(releasing)
    for partition in await releasing.owns(PARTITIONS):
        await first.take_over(partition)
    recorder = Recorder()
    await second.open(recorder)
    (partition,) = await recorder.owns(1)

    restored = await second.take_over(partition)

    assert [number_of(message.value) for message in restored.messages] == [7, 7]
    assert releasing.lost == [frozenset({0, 1, 2})]
    with pytest.raises(Fenced, match="given it to another member"):
        await first.append(numbered(partition, 8))
    with pytest.raises(Fenced):
        await first.take_over(partition)
    with pytest.raises(Fenced):
        await first.seek(partition, {Topic.METRICS: 0})


async def test_a_killed_members_partitions_and_appends_pass_to_the_other(stream: KafkaStream) -> None:
    client = stream.client()
    await client.open()
    member = stream.member("m2")
    async with member_process(*arguments(stream, "m1", "0")) as process:
        await process.says("appended 5")
        await process.kill()
    said = [int(line.split()[1]) for line in process.lines if line.startswith("appended")]

    _, restored = await own_all(member)

    audit = [number_of(message.value) for message in await everything(client, Topic.AUDIT, 0)]
    assert audit[: len(said)] == said
    assert len(audit) <= len(said) + 1
    assert {number_of(message.value) for message in restored[0].messages} == {audit[-1]}


async def test_a_killed_member_that_returns_in_time_gets_its_partitions_back_at_once(stream: KafkaStream) -> None:
    async with member_process(*arguments(stream, "m1")) as process:
        await process.says("owns")
        await process.kill()
    recorder = Recorder()
    began = time.monotonic()

    await stream.member("m1").open(recorder)
    await recorder.owns(PARTITIONS)

    assert time.monotonic() - began < SESSION_S / 2


async def test_a_member_that_slept_too_long_is_fenced_when_it_wakes(stream: KafkaStream) -> None:
    client, member = stream.client(), stream.member("m2")
    await client.open()
    async with member_process(*arguments(stream, "m1", "0")) as sleeper:
        await sleeper.says("appended 3")
        sleeper.send(signal.SIGSTOP)
        owner = Owner(member)
        await member.open(owner)
        polls = asyncio.create_task(polled(member))
        await until(lambda: len(owner.owned) == PARTITIONS, 3 * SESSION_S)
        await member.append(numbered(0, 1_000_000))
        sleeper.send(signal.SIGCONT)
        await sleeper.says("refused")
        polls.cancel()
        await sleeper.kill()
    written = [number_of(message.value) for message in await everything(client, Topic.AUDIT, 0)]

    assert written.index(1_000_000) == len(written) - 1 or written[-1] < 1_000_000
    # Whatever it appended after waking, it had taken the partition over anew.
    after = written[written.index(1_000_000) + 1 :]
    assert not after or any(line == "owns 0" for line in sleeper.lines[sleeper.lines.index("appended 3") :])


# --- the ledger


async def test_a_record_that_the_broker_refuses_takes_its_whole_append_with_it(stream: KafkaStream) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=stream.settings.brokers[0])
    await admin.start()
    limit = {"max.message.bytes": "2000"}
    name = topic_name(stream.settings.prefix, Topic.AUDIT)
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, limit)])
    await admin.close()
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    await member.append(numbered(0, 1))

    with pytest.raises(StreamError, match="MessageSizeTooLarge") as raised:
        await member.append(numbered(0, 2, size=5000))
    with pytest.raises(StreamError, match="take the partition over first"):
        await member.append(numbered(0, 3))
    await member.take_over(0)
    await member.append(numbered(0, 4))

    assert raised.value.outcome == "unknown"
    assert [number_of(message.value) for message in await everything(client, Topic.STATE, 0)] == [1, 1, 4, 4]


async def test_an_expired_producer_id_asks_for_a_new_take_over(stream: KafkaStream) -> None:
    member = stream.member()
    await own_all(member)
    await member.append(numbered(0, 1))
    manager = member._ledgers[0]._producer._txn_manager  # type: ignore[attr-defined]
    # What a broker makes of an id that it has forgotten after seven idle days.
    manager._pid_and_epoch = PidAndEpoch(987_654, 0)

    with pytest.raises(StreamError, match="InvalidProducerIdMapping") as raised:
        await member.append(numbered(0, 2))
    restored = await member.take_over(0)
    await member.append(numbered(0, 3))

    assert not isinstance(raised.value, Fenced)
    assert raised.value.outcome == "unknown"
    assert {number_of(message.value) for message in restored.messages} == {1}


async def test_an_open_transaction_of_a_former_owner_ends_with_the_take_over(stream: KafkaStream) -> None:
    former = AIOKafkaProducer(bootstrap_servers=list(stream.settings.brokers), transactional_id=f"{stream.cluster}-0")
    await former.start()
    await former.begin_transaction()
    await former.send_and_wait(topic_name(stream.settings.prefix, Topic.STATE), b"half", b"web", 0)
    member = stream.member()

    _, restored = await own_all(member)

    assert restored[0].messages == ()
    await member.append(numbered(0, 1))
    former._message_accumulator.fail_all(RuntimeError())
    await former.stop()


async def test_positions_are_committed_for_monitors_after_the_append(stream: KafkaStream) -> None:
    member = stream.member()
    await own_all(member)
    await member.append(replace(numbered(0, 1), positions={Topic.METRICS: 41}))
    await member.append(replace(numbered(0, 2), positions={Topic.METRICS: 42}))
    admin = AIOKafkaAdminClient(bootstrap_servers=stream.settings.brokers[0])
    await admin.start()
    place = TopicPartition(topic_name(stream.settings.prefix, Topic.METRICS), 0)
    committed = -1
    for _ in range(50):
        found = await admin.list_consumer_group_offsets(stream.cluster)
        committed = found[place].offset if place in found else -1
        if committed == 42:
            break
        await asyncio.sleep(0.1)
    await admin.close()

    assert committed == 42


# --- inputs


async def test_a_position_outside_the_log_stops_that_topic_alone_and_says_so(stream: KafkaStream) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    place = await client.publish(Topic.METRICS, b"web", b"v")
    await collect(member, 1)

    await member.seek(place.partition, {Topic.METRICS: 5_000})
    with pytest.raises(StreamError, match=rf"metrics partition {place.partition} no longer holds offset 5000"):
        await silent(member, 3.0)
    await client.publish(Topic.CONTROL, b"web", b"v")

    assert messages_of(await collect(member, 1), Topic.CONTROL)
    await member.seek(place.partition, {Topic.METRICS: 0})
    assert messages_of(await collect(member, 1), Topic.METRICS)


async def test_aborted_inputs_are_never_seen(stream: KafkaStream) -> None:
    member = stream.member()
    await own_all(member)
    name = topic_name(stream.settings.prefix, Topic.METRICS)
    async with AIOKafkaProducer(
        bootstrap_servers=list(stream.settings.brokers), transactional_id=f"foreign-{stream.cluster}"
    ) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(name, b"aborted", b"web", 0)
        await producer.abort_transaction()
        await producer.begin_transaction()
        await producer.send_and_wait(name, b"committed", b"web", 0)
        await producer.commit_transaction()

    assert [message.value for message in messages_of(await collect(member, 1), Topic.METRICS)] == [b"committed"]


async def test_a_reader_sees_what_was_appended_a_moment_ago(stream: KafkaStream) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()
    for number in range(30):
        await member.append(numbered(0, number))
        assert len(await everything(client, Topic.AUDIT, 0)) == number + 1


async def test_a_reader_does_not_wait_for_somebodys_open_transaction(stream: KafkaStream) -> None:
    client = stream.client()
    await client.open()
    await client.publish(Topic.METRICS, b"web", b"before")
    place = await client.publish(Topic.METRICS, b"web", b"before")
    name = topic_name(stream.settings.prefix, Topic.METRICS)
    async with AIOKafkaProducer(
        bootstrap_servers=list(stream.settings.brokers), transactional_id=f"foreign-{stream.cluster}"
    ) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(name, b"open", b"web", place.partition)
        async with asyncio.timeout(8):
            found = await everything(client, Topic.METRICS)
        await producer.abort_transaction()

    assert [message.value for message in found] == [b"before", b"before"]


async def test_an_observer_reads_the_live_inputs_and_writes_a_ledger_of_its_own(stream: KafkaStream) -> None:
    live, client = stream.member(), stream.client()
    await own_all(live)
    await client.open()
    watching = KafkaStream(stream.settings.brokers[0], prefix=f"{stream.settings.prefix}.observe")
    watching.cluster = f"{stream.cluster}-observe"
    await watching.set_up()
    observer = watching.member()
    await own_all(observer)

    await client.publish(Topic.METRICS, b"web", b"v")
    await observer.append(Append(0, (Outgoing(Topic.AUDIT, b"web", b"would"),), {}))

    assert await collect(live, 1)
    assert await collect(observer, 1)
    assert await everything(client, Topic.AUDIT) == []
    await watching.close()


async def test_missing_topics_are_an_error_with_the_remedy(kafka_broker: KafkaBroker) -> None:
    stream = KafkaStream(str(kafka_broker))
    with pytest.raises(ConfigurationError, match="autoscaler topics create") as raised:
        await stream.member().open(Recorder())
    assert len(raised.value.problems) == len(Topic)
    with pytest.raises(ConfigurationError, match="autoscaler topics create"):
        await stream.client().open()


async def test_a_topic_that_should_be_compacted_is_refused_and_nothing_is_made(kafka_broker: KafkaBroker) -> None:
    stream = KafkaStream(str(kafka_broker))
    admin = AIOKafkaAdminClient(bootstrap_servers=stream.settings.brokers[0])
    await admin.start()
    from aiokafka.admin import NewTopic

    await admin.create_topics([NewTopic(topic_name(stream.settings.prefix, Topic.STATE), PARTITIONS, 1)])

    with pytest.raises(ConfigurationError, match=r"cleanup\.policy delete, it must be compact"):
        await stream.admin().create_topics()

    made = [name for name in await admin.list_topics() if name.startswith(stream.settings.prefix)]
    assert made == [topic_name(stream.settings.prefix, Topic.STATE)]
    await admin.close()
    await stream.close()


async def test_a_broken_consumer_is_replaced(stream: KafkaStream) -> None:
    member, client = stream.member(), stream.client()
    assert isinstance(member, KafkaMember)
    recorder, _ = await own_all(member)
    await client.open()
    reader = member._opened()
    reader.consumer._coordinator._coordination_task.cancel()
    await asyncio.sleep(0.1)
    reader._broken = True

    await member.poll(0.1)
    await recorder.owns(PARTITIONS)
    for partition in range(PARTITIONS):
        restored = await member.take_over(partition)
        await member.seek(partition, restored.ends)
    await client.publish(Topic.METRICS, b"web", b"v")

    assert await collect(member, 1)
    assert recorder.lost == [frozenset({0, 1, 2})]
