"""Records that the client library cannot read: they reach the readers as stubs, harm nobody else, and halt nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record._crecords import default_records as quick_records

from autoscaler.adapters.kafka import unreadable
from autoscaler.errors import EventRejected, LedgerError, StreamError
from autoscaler.events.envelope import read_envelope
from autoscaler.events.samples import read_samples
from autoscaler.ports.stream import Topic
from tests.adapters.raw_kafka import GZIP, RawName, write_batch
from tests.conftest import KafkaBroker
from tests.contract.stream_kinds import KafkaStream, collect, everything, messages_of, own_all, silent

GOOD = (b"web", b"good", ())
POISON = (b"web", b"{}", ((RawName("n"), b"x"),))


@pytest.fixture
async def stream(kafka_broker: KafkaBroker) -> AsyncIterator[KafkaStream]:
    opened = KafkaStream(str(kafka_broker))
    await opened.set_up()
    yield opened
    await opened.close()


async def test_a_record_with_a_broken_header_name_comes_as_a_stub_among_its_neighbours(stream: KafkaStream) -> None:
    member = stream.member()
    first = await write_batch(stream, Topic.DEPLOYMENTS, 1, [GOOD, POISON, GOOD])
    await write_batch(stream, Topic.DEPLOYMENTS, 1, [POISON])
    await own_all(member)

    found = messages_of(await collect(member, 4), Topic.DEPLOYMENTS, 1)

    assert [message.offset for message in found] == [first, first + 1, first + 2, first + 3]
    assert [message.value for message in found] == [b"good", None, b"good", None]
    stub = found[1]
    assert stub.key == b"web"
    assert stub.timestamp == found[0].timestamp > 0
    assert [name for name, _ in stub.headers] == [unreadable.MARKER]
    assert b"UnicodeDecodeError" in stub.headers[0][1]
    for read in (read_envelope, read_samples):
        with pytest.raises(EventRejected):
            read(stub)


async def test_the_other_partitions_and_topics_lose_nothing_to_a_broken_record(stream: KafkaStream) -> None:
    member = stream.member()
    for partition in range(3):
        for topic in (Topic.METRICS, Topic.DEPLOYMENTS, Topic.CONTROL):
            await write_batch(stream, topic, partition, [GOOD, GOOD, POISON if partition == 1 else GOOD])
    await own_all(member)

    batches = await collect(member, 27)
    await write_batch(stream, Topic.CONTROL, 1, [GOOD])

    for partition in range(3):
        for topic in (Topic.METRICS, Topic.DEPLOYMENTS, Topic.CONTROL):
            assert [message.offset for message in messages_of(batches, topic, partition)] == [0, 1, 2]
    assert [message.value for message in messages_of(await collect(member, 1), Topic.CONTROL)] == [b"good"]
    assert member.lag()[Topic.CONTROL, 1] == 0


async def test_a_batch_that_cannot_be_unpacked_comes_as_a_stub_per_record(
    stream: KafkaStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(data: Any) -> bytes:
        raise EOFError("ended before the end-of-stream marker")

    monkeypatch.setattr(quick_records, "gzip_decode", fail)
    monkeypatch.setattr("aiokafka.record.default_records.gzip_decode", fail)
    member = stream.member()
    await own_all(member)
    await write_batch(stream, Topic.METRICS, 0, [(b"web", b"v" * 500, ())] * 3, compression=GZIP)
    await write_batch(stream, Topic.METRICS, 0, [GOOD])

    found = messages_of(await collect(member, 4), Topic.METRICS, 0)

    assert [message.offset for message in found] == [0, 1, 2, 3]
    assert [(message.key, message.value) for message in found] == [(None, None)] * 3 + [(b"web", b"good")]
    assert b"EOFError" in found[0].headers[0][1]


async def test_a_damaged_batch_halts_its_topic_of_the_partition_alone_and_says_so_once(
    stream: KafkaStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = stream.member()
    await own_all(member)
    damage_metrics_of(1, monkeypatch)
    await write_batch(stream, Topic.METRICS, 1, [GOOD])

    with pytest.raises(StreamError, match=r"metrics partition 1 .*offset 0") as raised:
        await silent(member, 10.0)
    await write_batch(stream, Topic.METRICS, 0, [GOOD])
    await write_batch(stream, Topic.CONTROL, 1, [GOOD])

    assert raised.value.partition is None
    batches = await collect(member, 2)
    assert {(batch.topic, batch.partition) for batch in batches} == {(Topic.METRICS, 0), (Topic.CONTROL, 1)}
    assert await silent(member, 1.0)
    monkeypatch.undo()
    await member.seek(1, {Topic.METRICS: 0})
    assert messages_of(await collect(member, 1), Topic.METRICS, 1)


def damage_metrics_of(partition: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the checksum of every batch of one partition of the metrics be wrong."""
    usual: Callable[[PartitionRecords], Any] = PartitionRecords.__next__

    def read(records: PartitionRecords) -> Any:
        if records._tp.topic.endswith("metrics") and records._tp.partition == partition:
            raise CorruptRecordException(f"Invalid CRC - {records._tp}")
        return usual(records)

    monkeypatch.setattr(PartitionRecords, "__next__", read)


async def test_a_reader_sees_a_broken_record_as_a_stub_too(stream: KafkaStream) -> None:
    client = stream.client()
    await client.open()
    await write_batch(stream, Topic.CONTROL, 1, [GOOD, POISON, GOOD])
    await write_batch(stream, Topic.CONTROL, 2, [GOOD])

    async with asyncio.timeout(20):
        found = await everything(client, Topic.CONTROL)

    assert sorted(str(message.value) for message in found) == ["None", "b'good'", "b'good'", "b'good'"]


async def test_a_broken_record_in_the_state_stops_the_take_over_of_that_partition(stream: KafkaStream) -> None:
    member = stream.member()
    await own_all(member)
    await write_batch(stream, Topic.STATE, 1, [GOOD, POISON])

    with pytest.raises(LedgerError, match="state partition 1"):
        await member.take_over(1)
    await member.take_over(0)
