"""Everybody else's side of the embedded stream: appends inputs and reads, in any number of processes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from autoscaler.adapters.embedded import log
from autoscaler.adapters.embedded.bell import Bell, ring_all
from autoscaler.adapters.embedded.database import Database, database_path, transaction
from autoscaler.adapters.embedded.owner import OwnerLock
from autoscaler.adapters.topics import refuse_oversize, topic_name
from autoscaler.configuration.settings import StreamSettings
from autoscaler.errors import StreamError
from autoscaler.ports.stream import Headers, Message, Place, Topic, partition_of

T = TypeVar("T")

LOOK_S = 0.5
CLOSE_S = 2.0
PUBLISHED_TOGETHER = 1_000


class EmbeddedClient:
    """A `StreamClient` on SQLite; events that are published at the same time share a transaction."""

    def __init__(self, settings: StreamSettings, cluster: str) -> None:
        self._settings = settings
        self._cluster = cluster
        self._names = {topic: topic_name(settings.prefix, topic) for topic in Topic}
        self._streams: log.Streams = {}
        self._partitions = 0
        self._path: Path | None = None
        self._reader: Database | None = None
        self._writer: Database | None = None
        self._waiting: list[tuple[log.Entry, asyncio.Future[int]]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the file, making it where it is missing."""
        if self._reader is not None:
            raise StreamError("the client is open already")
        self._path = database_path(self._settings)
        self._reader = Database(self._path, f"{self._cluster}-reads")
        self._writer = Database(self._path, f"{self._cluster}-publishes")
        try:
            prepare = partial(log.prepare, names=self._names, partitions=self._settings.partitions, exact=False)
            self._streams, self._partitions, _ = await self._writer.run(prepare, f"open {self._path}")
        except BaseException:
            await self.close()
            raise

    @property
    def partitions(self) -> int:
        """How many partitions every topic has."""
        return self._partitions

    async def publish(self, topic: Topic, key: bytes, value: bytes, headers: Headers = ()) -> Place:
        """Append one event to its key's partition; durable on return."""
        self._opened(self._writer)
        partition = partition_of(key, self._partitions)
        refuse_oversize(topic, key, value, headers, f"publish to {self._names[topic]}")
        entry = log.Entry(topic, partition, key, value, tuple(headers))
        written: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, written))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        return Place(topic, partition, await written)

    async def ends(self, topic: Topic) -> Mapping[int, int]:
        """Next offset to be written, by partition."""
        found = await self._opened(self._reader).run(log.ends, f"ask for the ends of {self._names[topic]}")
        return {number: found[self._streams[topic, number]] for number in range(self._partitions)}

    async def read(
        self,
        topic: Topic,
        *,
        partition: int | None = None,
        start: Mapping[int, int] | None = None,
        follow: bool = False,
    ) -> AsyncIterator[tuple[Place, Message]]:
        """Committed messages in order per partition, to the present end or for ever."""
        wanted = range(self._partitions) if partition is None else (partition,)
        position = {number: (start or {}).get(number, 0) for number in wanted}
        bell = Bell(self._opened(self._path))
        if follow:
            bell.hang()
        try:
            ends = await self.ends(topic)
            while True:
                for number in wanted:
                    async for message in self._up_to(topic, number, position, ends[number]):
                        yield Place(topic, number, message.offset), message
                if not follow:
                    return
                await bell.wait(LOOK_S)
                ends = await self.ends(topic)
        finally:
            bell.unhang()

    async def members(self) -> int:
        """One while there is an owner, else none."""
        return int(OwnerLock(self._opened(self._path), self._settings.prefix).holder() is not None)

    async def close(self) -> None:
        """Let go of everything within a few seconds."""
        if self._flushing is not None and not self._flushing.done():
            await asyncio.wait({self._flushing}, timeout=CLOSE_S)
            self._flushing.cancel()
        databases = [database for database in (self._writer, self._reader) if database is not None]
        self._writer = self._reader = None
        if databases:
            await asyncio.gather(*(database.close(CLOSE_S) for database in databases))

    async def _up_to(self, topic: Topic, number: int, position: dict[int, int], end: int) -> AsyncIterator[Message]:
        while position[number] < end:
            read = partial(log.page, stream=self._streams[topic, number], start=position[number], end=end)
            found = await self._opened(self._reader).run(read, f"read {self._names[topic]}")
            for message in found:
                yield message
                position[number] = message.offset + 1
            if not found:
                # Retention or compaction has taken the rest.
                position[number] = end

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:PUBLISHED_TOGETHER], self._waiting[PUBLISHED_TOGETHER:]
            try:
                offsets = await self._opened(self._writer).run(
                    partial(self._write, entries=[entry for entry, _ in batch]), "publish"
                )
            except StreamError as error:
                for _, written in batch:
                    if not written.done():
                        written.set_exception(StreamError(str(error), error.outcome))
                continue
            for (_, written), offset in zip(batch, offsets, strict=True):
                if not written.done():
                    written.set_result(offset)

    def _write(self, connection: sqlite3.Connection, entries: list[log.Entry]) -> list[int]:
        with transaction(connection):
            offsets = log.put(connection, self._streams, entries)
        ring_all(self._opened(self._path))
        return offsets

    def _opened(self, part: T | None) -> T:
        if part is None:
            raise StreamError("the client is not open")
        return part
