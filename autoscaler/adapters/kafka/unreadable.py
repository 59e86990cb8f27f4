"""Reads what the client library cannot: a record with a broken header name, a batch that does not unpack.

The library raises in the middle of such a batch and stays there for ever. Here the same range is fetched once more and
taken apart record by record; each one that cannot be read becomes a stub without value, under its own offset and time,
which every reader of events rejects, so that it ends as a dead letter with its coordinates.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException, KafkaError, RecordTooLargeError, UnsupportedCodecError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.util import decode_varint

from autoscaler.adapters.kafka.connection import within

MARKER = "autoscaler-unreadable"
"""The only header of a stub; it holds why the record could not be read."""

FETCH_S = 5.0
WAIT_MS = 50
FETCH_BYTES = 16 * 1024 * 1024
REASON_CHARS = 200
PREFERRED_REPLICA_VERSION = 11
"""From this version of the request on, an answer names a replica behind the aborted transactions."""

_BATCH_HEADER_BYTES = 61
_LENGTH_AT, _LENGTH_ENDS = 8, 12
_CONTENT = (CorruptRecordException, UnsupportedCodecError, RecordTooLargeError)


class Record(NamedTuple):
    """A stub, with the fields of the library's own record."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    checksum: None = None


@dataclass(slots=True)
class Found:
    """What one topic and partition holds from a position on: ``position`` is where to read on; ``trouble`` is why what
    stands there cannot even be located."""

    position: int
    messages: list[Any] = field(default_factory=list)
    trouble: str = ""


def unreadable(error: BaseException) -> bool:
    """Whether the library failed at the content of a record, and not at reaching the brokers."""
    if isinstance(error, _CONTENT):
        return True
    # Decompressors raise what they like, one of them an OSError.
    return isinstance(error, Exception) and not isinstance(
        error, (KafkaError, TimeoutError, ConnectionError, AssertionError, AttributeError)
    )


class Batch:
    """A batch of the library that goes on behind a record it cannot read; used by the library's own reader."""

    def __init__(self, data: bytes) -> None:
        self._batch: Any = _DefaultRecordBatchPy(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def validate_crc(self) -> bool:
        """Whether the batch is what its producer sent."""
        return bool(self._batch.validate_crc())

    def __iter__(self) -> Iterator[Any]:
        batch = self._batch
        last = batch.base_offset - 1
        try:
            iter(batch)
        except Exception as error:  # noqa: BLE001 - decompressors raise what they like; told in the stubs
            yield from self._stubs(last, error)
            return
        for _ in range(batch._num_records):  # noqa: SLF001 - here and below: nothing public goes on behind a failure
            start = batch._pos  # noqa: SLF001
            try:
                record = next(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told in the stub
                stub = self._passed(start, error)
                if stub is None:
                    yield from self._stubs(last, error)
                    return
                record = stub
            last = record.offset
            yield record

    def _passed(self, start: int, error: Exception) -> Record | None:
        """A stub for the record that begins there, the batch set behind it; None where its end cannot be told."""
        batch = self._batch
        buffer = batch._buffer  # noqa: SLF001
        try:
            length, pos = decode_varint(buffer, start)
            end = pos + length
            since, pos = decode_varint(buffer, pos + 1)
            delta, pos = decode_varint(buffer, pos)
            size, pos = decode_varint(buffer, pos)
        except (ValueError, IndexError):
            return None
        if not pos <= end <= len(buffer) or not 0 <= delta <= batch.last_offset_delta or size > end - pos:
            return None
        batch._pos = end  # noqa: SLF001
        batch._next_record_index += 1  # noqa: SLF001
        at = batch.max_timestamp if batch.timestamp_type == batch.LOG_APPEND_TIME else batch.first_timestamp + since
        key = bytes(buffer[pos : pos + size]) if size >= 0 else None
        return self._stub(batch.base_offset + delta, at, key, error)

    def _stubs(self, last: int, error: Exception) -> Iterator[Record]:
        """A stub for each record behind offset ``last``, as far as they can be counted."""
        batch = self._batch
        left = max(0, min(batch.next_offset - 1 - last, batch._num_records))  # noqa: SLF001
        for offset in range(batch.next_offset - left, batch.next_offset):
            yield self._stub(offset, batch.max_timestamp, None, error)

    def _stub(self, offset: int, at: int, key: bytes | None, error: Exception) -> Record:
        return Record(offset, at, self._batch.timestamp_type, key, None, ((MARKER, _reason(error)),))


class _Batches:
    """The batches of a fetched stretch, for the library's own reader."""

    def __init__(self, data: bytes) -> None:
        self._data = bytes(data)
        self._pos = 0

    def has_next(self) -> bool:
        return self._end() is not None

    def next_batch(self) -> Batch | None:
        end = self._end()
        if end is None:
            return None
        start, self._pos = self._pos, end
        return Batch(self._data[start:end])

    def _end(self) -> int | None:
        if len(self._data) - self._pos < _LENGTH_ENDS:
            return None
        (length,) = struct.unpack_from(">i", self._data, self._pos + _LENGTH_AT)
        end = self._pos + _LENGTH_ENDS + int(length)
        return end if length >= _BATCH_HEADER_BYTES - _LENGTH_ENDS and end <= len(self._data) else None


async def read_carefully(consumer: Any, positions: Mapping[Any, int], records_max: int, doing: str) -> dict[Any, Found]:
    """Committed messages and stubs of each place from its position on. Raises `StreamError` (unavailable)."""
    by_leader: dict[int, dict[Any, int]] = {}
    for place, offset in positions.items():
        leader = consumer._client.cluster.leader_for_partition(place)  # noqa: SLF001 - nothing public fetches raw bytes
        if leader is not None and leader >= 0:
            by_leader.setdefault(leader, {})[place] = offset
    found: dict[Any, Found] = {}
    for leader, wanted in by_leader.items():
        response = await within(FETCH_S, consumer._client.send(leader, _request(wanted)), doing)  # noqa: SLF001
        for topic, partitions in response.topics:
            for number, code, _, *rest in partitions:
                place = TopicPartition(topic, number)
                # A broker's refusal is met by the library as well, which tells it or seeks the new leader.
                if code == 0:
                    aborted = rest[2] if response.API_VERSION >= PREFERRED_REPLICA_VERSION else rest[-2]
                    found[place] = _taken_apart(place, rest[-1], aborted, wanted[place], records_max)
                    await asyncio.sleep(0)
    return found


def _request(wanted: Mapping[Any, int]) -> Any:
    by_topic: dict[str, list[tuple[int, int, int]]] = {}
    for place, offset in wanted.items():
        by_topic.setdefault(place.topic, []).append((place.partition, offset, FETCH_BYTES // len(wanted)))
    return FetchRequest(WAIT_MS, 1, FETCH_BYTES, READ_COMMITTED, list(by_topic.items()))


def _taken_apart(place: Any, data: bytes, aborted: Any, offset: int, records_max: int) -> Found:
    batches = _Batches(data or b"")
    found = Found(offset)
    if data and not batches.has_next():
        found.trouble = f"a batch of more than {len(data)} bytes"
        return found
    records = PartitionRecords(place, batches, aborted, offset, None, None, True, READ_COMMITTED)  # noqa: FBT003
    try:
        for message in records:
            found.messages.append(message)
            if len(found.messages) >= records_max:
                break
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told to the owner
        found.trouble = _reason(error).decode()
    found.position = records.next_fetch_offset
    return found


def _reason(error: Exception) -> bytes:
    cause = error.__cause__ or error
    # Of a decoding error the name alone: its text repeats the content.
    text = f"{type(error).__name__}: {error}" if cause is error and isinstance(error, KafkaError) else ""
    return (text or type(cause).__name__).encode(errors="replace")[:REASON_CHARS]
