"""Writes records that no well-behaved producer writes, as they come from foreign or hostile programs."""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from autoscaler.adapters.topics import topic_name
from autoscaler.ports.stream import Topic
from tests.contract.stream_kinds import KafkaStream

GZIP = 1


class RawName(str):
    """The name of a header whose bytes are not UTF-8."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfe" + super().encode(encoding, errors)


async def write_batch(
    stream: KafkaStream,
    topic: Topic,
    partition: int,
    records: Sequence[tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]]],
    compression: int = 0,
) -> int:
    """Write key, value and headers of each record as one batch; the offset of the first."""
    async with AIOKafkaProducer(bootstrap_servers=list(stream.settings.brokers), acks="all") as producer:
        batch = producer.create_batch()
        batch._builder = _DefaultRecordBatchBuilderPy(2, compression, 0, -1, -1, 0, 1 << 20)
        for key, value, headers in records:
            batch.append(timestamp=None, key=key, value=value, headers=list(headers))
        written = await producer.send_batch(batch, topic_name(stream.settings.prefix, topic), partition=partition)
        return int((await written).offset)
