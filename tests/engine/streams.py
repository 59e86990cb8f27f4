"""A stream in memory with the port's semantics, whose calls fail when the test says so."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal

from autoscaler.errors import Fenced, StreamError
from autoscaler.ports.stream import (
    INPUTS,
    Append,
    Batch,
    Headers,
    Listener,
    Message,
    Outgoing,
    Place,
    Restored,
    StoredMessage,
    Topic,
    partition_of,
)

Fate = Literal["done", "unavailable", "lost", "unknown", "fenced"]
"""What becomes of an append: done; not written; written and the answer lost; not written and the answer lost; not
ours any more."""

READ_MESSAGES = 10_000
LOOK_S = 0.01


class MemoryLog:
    """All topics of all partitions. ``appends``: what was written, in order. ``epochs``: the present owners'."""

    def __init__(self, partitions: int = 1) -> None:
        self.partitions = partitions
        self.topics: dict[tuple[Topic, int], list[StoredMessage]] = defaultdict(list)
        self.beginnings: dict[tuple[Topic, int], int] = {}
        self.epochs: dict[int, int] = defaultdict(int)
        self.appends: list[Append] = []
        self.readers: list[asyncio.Event] = []

    def put(
        self, topic: Topic, partition: int, key: bytes | None, value: bytes | None, headers: Headers = (), at: float = 0
    ) -> int:
        """A message becomes durable at ``at`` (0: now); its offset."""
        messages = self.topics[topic, partition]
        offset = messages[-1].offset + 1 if messages else self.beginnings.get((topic, partition), 0)
        messages.append(StoredMessage(offset, int((at or time.time()) * 1000), key, value, tuple(headers)))
        for reader in self.readers:
            reader.set()
        return offset

    def send(self, outgoing: Outgoing, at: float = 0) -> int:
        """A message on its key's own partition."""
        partition = partition_of(outgoing.key, self.partitions)
        return self.put(outgoing.topic, partition, outgoing.key, outgoing.value, outgoing.headers, at)

    def end(self, topic: Topic, partition: int) -> int:
        """Next offset to be written."""
        messages = self.topics[topic, partition]
        return messages[-1].offset + 1 if messages else self.beginnings.get((topic, partition), 0)

    def restored(self, partition: int) -> Restored:
        """What a take-over finds."""
        latest = {message.key: message for message in self.topics[Topic.STATE, partition]}
        beginnings = {topic: self.beginnings.get((topic, partition), 0) for topic in INPUTS}
        ends = {topic: self.end(topic, partition) for topic in INPUTS}
        return Restored(tuple(m for m in latest.values() if m.value is not None), beginnings, ends)


class MemoryStream:
    """A `StreamMember`. ``fates`` and ``open_errors`` are used up call by call; ``away``: nothing answers;
    ``slow``: appends wait for it, ``slow_take_over``: take-overs; reading a ``stuck`` partition
    fails until it is sought."""

    def __init__(self, log: MemoryLog, owns: Sequence[int] | None = None) -> None:
        self.log = log
        self.partitions = log.partitions
        self.fates: deque[Fate] = deque()
        self.open_errors: deque[StreamError] = deque()
        self.away = False
        self.stuck: set[int] = set()
        self.slow: asyncio.Event | None = None
        self.slow_take_over: asyncio.Event | None = None
        self.taken_over: list[tuple[int, float]] = []
        self.paused: set[tuple[Topic, int]] = set()
        self.pauses: list[tuple[Topic, int]] = []
        self.listener: Listener | None = None
        self._owns = frozenset(range(log.partitions) if owns is None else owns)
        self._epochs: dict[int, int] = {}
        self._next: dict[tuple[Topic, int], int] = {}
        self._news = asyncio.Event()
        log.readers.append(self._news)

    async def open(self, listener: Listener) -> None:
        if self.open_errors:
            raise self.open_errors.popleft()
        assert self.listener is None, "open already"
        self.listener = listener
        listener.assigned(self._owns)

    async def take_over(self, partition: int) -> Restored:
        self.log.epochs[partition] += 1
        self._epochs[partition] = self.log.epochs[partition]
        self.taken_over.append((partition, time.monotonic()))
        if self.slow_take_over is not None:
            await self.slow_take_over.wait()
        return self.log.restored(partition)

    async def seek(self, partition: int, positions: Mapping[Topic, int]) -> None:
        for topic, offset in positions.items():
            self._next[topic, partition] = offset
        self.stuck.discard(partition)
        self._news.set()

    async def seek_time(self, partition: int, topic: Topic, at: float) -> int:
        messages = self.log.topics[topic, partition]
        return next((m.offset for m in messages if m.timestamp >= at * 1000), self.log.end(topic, partition))

    async def poll(self, timeout_s: float) -> list[Batch]:
        if self.away:
            raise StreamError("the stream is away")
        for partition in self.stuck:
            raise StreamError("no longer holds offset 7", "unknown", partition)
        batches = self._read()
        if not batches:
            self._news.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._news.wait()
            except TimeoutError:
                return []
            batches = self._read()
        return batches

    def _read(self) -> list[Batch]:
        batches = []
        for place in sorted(self._next, key=lambda place: (INPUTS.index(place[0]), place[1])):
            found = [m for m in self.log.topics[place][-READ_MESSAGES * 10 :] if m.offset >= self._next[place]]
            if found and place not in self.paused:
                found = found[:READ_MESSAGES]
                self._next[place] = found[-1].offset + 1
                batches.append(Batch(place[0], place[1], found))
        return batches

    def pause(self, partition: int, topics: Sequence[Topic]) -> None:
        self.paused |= {(topic, partition) for topic in topics}
        self.pauses += [(topic, partition) for topic in topics]

    def resume(self, partition: int, topics: Sequence[Topic]) -> None:
        self.paused -= {(topic, partition) for topic in topics}
        self._news.set()

    async def append(self, append: Append) -> None:
        if self.slow is not None:
            await self.slow.wait()
        fate = self.fates.popleft() if self.fates else "done"
        if fate == "fenced" or self._epochs.get(append.partition) != self.log.epochs[append.partition]:
            raise Fenced("a newer owner has taken over")
        if fate == "unavailable":
            raise StreamError("nothing was written")
        if fate != "unknown":
            for record in append.records:
                self.log.put(record.topic, append.partition, record.key, record.value, record.headers)
            self.log.appends.append(append)
        if fate in {"lost", "unknown"}:
            raise StreamError("no answer", "unknown")

    def lag(self) -> Mapping[tuple[Topic, int], int]:
        return {place: max(0, self.log.end(*place) - offset) for place, offset in self._next.items()}

    async def close(self) -> None:
        self.log.readers.remove(self._news)


class MemoryClient:
    """A `StreamClient`. ``opened``: how often."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log
        self.partitions = log.partitions
        self.opened = 0
        self.published: list[Place] = []

    async def open(self) -> None:
        self.opened += 1

    async def publish(self, topic: Topic, key: bytes, value: bytes, headers: Headers = ()) -> Place:
        offset = self.log.send(Outgoing(topic, key, value, tuple(headers)))
        self.published.append(Place(topic, partition_of(key, self.partitions), offset))
        return self.published[-1]

    async def ends(self, topic: Topic) -> Mapping[int, int]:
        return {partition: self.log.end(topic, partition) for partition in range(self.partitions)}

    async def read(
        self,
        topic: Topic,
        *,
        partition: int | None = None,
        start: Mapping[int, int] | None = None,
        follow: bool = False,
    ) -> AsyncIterator[tuple[Place, Message]]:
        numbers = range(self.partitions) if partition is None else (partition,)
        position = {number: (start or {}).get(number, 0) for number in numbers}
        while True:
            for number in numbers:
                for message in list(self.log.topics[topic, number]):
                    if message.offset >= position[number]:
                        position[number] = message.offset + 1
                        yield Place(topic, number, message.offset), message
            if not follow:
                return
            await asyncio.sleep(LOOK_S)

    async def members(self) -> int:
        return len(self.log.readers)

    async def close(self) -> None:
        """Nothing to let go of."""
