"""The inputs hand out what the parser made; with another client library, what that makes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from autoscaler.adapters.kafka.parsed_records import hand_out_parsed

PLACE = TopicPartition("autoscaler.metrics", 3)


def fetched(compression: int) -> PartitionRecords:
    builder = DefaultRecordBatchBuilder(2, compression, 0, -1, -1, 0, 1 << 20)
    builder.append(0, timestamp=1_000, key=b"web", value=b"{}", headers=[("content-type", b"application/json")])
    builder.append(1, timestamp=1_001, key=None, value=None, headers=[])
    batch = MemoryRecords(bytes(builder.build()))
    return PartitionRecords(PLACE, batch, None, 0, None, None, check_crcs=True, isolation_level=1)


class Fetcher:
    """What is used of the library's own."""

    def __init__(self, records: PartitionRecords) -> None:
        self._records: dict[Any, Any] = {}
        self._coming = records

    async def _proc_fetch_request(self, *_: object) -> bool:
        self._records[PLACE] = SimpleNamespace(_partition_records=self._coming)
        self._records["other"] = SimpleNamespace(_error=ValueError())
        return True


@pytest.mark.parametrize("compression", [0, 1], ids=["plain", "gzip"])
async def test_parsed_messages_say_what_the_librarys_own_records_say(compression: int) -> None:
    own = list(fetched(compression))
    fetcher = Fetcher(fetched(compression))
    hand_out_parsed(SimpleNamespace(_fetcher=fetcher))
    assert await fetcher._proc_fetch_request(None, 1, None)
    parsed = list(fetcher._records[PLACE]._partition_records)
    assert not any(isinstance(message, ConsumerRecord) for message in parsed)
    for one, other in zip(parsed, own, strict=True):
        for name in ("offset", "timestamp", "key", "value"):
            assert getattr(one, name) == getattr(other, name)
        assert tuple(one.headers) == tuple(other.headers)


def test_a_library_that_has_changed_is_left_alone() -> None:
    changed = SimpleNamespace(_fetcher=SimpleNamespace())
    hand_out_parsed(changed)
    hand_out_parsed(SimpleNamespace())
    assert vars(changed._fetcher) == {}
