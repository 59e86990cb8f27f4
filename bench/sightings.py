"""Publishing events and seeing what comes of them, with the times of both: one stopwatch for ours and the controls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from autoscaler.adapters.kafka.inputs import FETCH_WAIT_MS
from autoscaler.events.writing import metric_event
from autoscaler.ports.stream import partition_of
from bench.cluster import HEADERS, METRIC, PARTITIONS

SEEN_S = 30.0


class Watch:
    """Sees every committed record of some topics the moment it can be read; (when, topic, value) in ``seen``."""

    def __init__(self, brokers: str, *topics: str) -> None:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=brokers,
            enable_auto_commit=False,
            isolation_level="read_committed",
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        self._places = [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)]
        self._task: asyncio.Task[None] | None = None
        self.seen: list[tuple[float, str, bytes]] = []

    async def __aenter__(self) -> Watch:
        self._consumer.assign(self._places)
        await self._consumer.start()
        await self._consumer.seek_to_end()
        for place in self._places:
            await self._consumer.position(place)
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._consumer.stop()

    async def until(self, done: Callable[[bytes], bool], since: int = 0, seconds: float = SEEN_S) -> float:
        """When the first record from number ``since`` on for which ``done`` holds was seen."""
        async with asyncio.timeout(seconds):
            while True:
                for at, _, value in self.seen[since:]:
                    if done(value):
                        return at
                since = len(self.seen)
                await asyncio.sleep(0.002)

    async def _read(self) -> None:
        while True:
            found = await self._consumer.getmany(timeout_ms=100)
            at = time.perf_counter()
            self.seen += [(at, place.topic, message.value) for place, some in found.items() for message in some]


class Publisher:
    """Publishes metric events one by one and keeps when."""

    def __init__(self, brokers: str) -> None:
        self._producer = AIOKafkaProducer(bootstrap_servers=brokers, acks="all", linger_ms=0)
        self.sent_at: dict[str, float] = {}

    async def __aenter__(self) -> Publisher:
        await self._producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._producer.stop()

    async def event(self, topic: str, service: str, event: bytes) -> None:
        """Any event of a service; returns when the broker has it."""
        key = service.encode()
        home = partition_of(key, PARTITIONS)
        await self._producer.send_and_wait(topic, event, key=key, partition=home, headers=HEADERS)

    async def sample(self, topic: str, service: str, value: float, name: str) -> Any:
        """One event of that id; returns when the broker has it."""
        event = metric_event(service, {METRIC: value}, "/bench", id=name)
        self.sent_at[name] = time.perf_counter()
        key = service.encode()
        home = partition_of(key, PARTITIONS)
        return await self._producer.send_and_wait(topic, event, key, partition=home, headers=HEADERS)
