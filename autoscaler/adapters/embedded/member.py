"""The owner's side of the embedded stream: all partitions, one process.

Reads in one thread and writes in another, so that a long read delays no append.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TypeVar

from autoscaler.adapters.embedded import log
from autoscaler.adapters.embedded.bell import Bell, ring_all
from autoscaler.adapters.embedded.database import Database, database_path, transaction
from autoscaler.adapters.embedded.owner import OwnerLock
from autoscaler.adapters.topics import refuse_oversize, topic_name
from autoscaler.configuration.settings import StreamSettings
from autoscaler.errors import StreamError
from autoscaler.ports.stream import INPUTS, Append, Batch, Listener, Message, Restored, StoredMessage, Topic

LOGGER = logging.getLogger(__name__)

LOOK_S = 0.5
"""How often the owner looks for news by itself, should nobody have rung."""

POLL_ROWS = 10_000
POLL_BYTES = 16_000_000
HOUSEKEEPING_S = 60.0
CLOSE_S = 2.0

T = TypeVar("T")

Place = tuple[Topic, int]


class EmbeddedMember:
    """A `StreamMember` on SQLite. ``cluster`` names the reader whose positions are noted for monitors."""

    def __init__(self, settings: StreamSettings, cluster: str) -> None:
        self._settings = settings
        self._cluster = cluster
        self._names = {topic: topic_name(settings.prefix, topic) for topic in Topic}
        self._streams: log.Streams = {}
        self._partitions = 0
        self._token = 0
        self._lock: OwnerLock | None = None
        self._reader: Database | None = None
        self._writer: Database | None = None
        self._bell: Bell | None = None
        self._housekeeper: asyncio.Task[None] | None = None
        self._next: dict[Place, int] = {}
        self._paused: set[Place] = set()
        self._ends: dict[int, int] = {}
        self._version = -1

    @property
    def partitions(self) -> int:
        """How many partitions every topic has."""
        return self._partitions

    async def open(self, listener: Listener) -> None:
        """Become the owner, make the file where it is missing, and hear of all partitions at once."""
        if self._lock is not None:
            raise StreamError("the member is open already")
        path = database_path(self._settings)
        self._lock = OwnerLock(path, self._settings.prefix)
        try:
            self._lock.acquire()
            self._writer = Database(path, f"{self._cluster}-owner-writes")
            self._reader = Database(path, f"{self._cluster}-owner-reads")
            doing = f"open {path}"
            prepare = partial(log.prepare, names=self._names, partitions=self._settings.partitions, exact=True)
            self._streams, self._partitions, _ = await self._writer.run(prepare, doing)
            self._token = await self._writer.run(partial(log.claim, prefix=self._settings.prefix), doing)
            self._bell = Bell(path)
            self._bell.hang()
        except BaseException:
            await self.close()
            raise
        self._housekeeper = asyncio.create_task(self._keep_house())
        listener.assigned(frozenset(range(self._partitions)))

    async def take_over(self, partition: int) -> Restored:
        """Read the partition's state; the former owner was fenced by `open`."""
        reader = self._opened(self._reader)
        streams = self._streams

        def restore(connection: sqlite3.Connection) -> Restored:
            log.require_owner(connection, self._settings.prefix, self._token)
            ends = log.ends(connection)
            state = streams[Topic.STATE, partition]
            latest: dict[bytes | None, Message] = {}
            for found in log.pages(connection, state, ends[state]):
                for message in found:
                    latest.pop(message.key, None)
                    latest[message.key] = message
            inputs = {topic: streams[topic, partition] for topic in INPUTS}
            return Restored(
                messages=tuple(message for message in latest.values() if message.value is not None),
                beginnings={topic: log.beginning(connection, stream) for topic, stream in inputs.items()},
                ends={topic: ends[stream] for topic, stream in inputs.items()},
            )

        return await reader.run(restore, f"restore partition {partition}")

    async def seek(self, partition: int, positions: Mapping[Topic, int]) -> None:
        """Read the partition on from there."""
        bell = self._opened(self._bell)
        for topic, offset in positions.items():
            self._next[topic, partition] = offset
        bell.ring()

    async def seek_time(self, partition: int, topic: Topic, at: float) -> int:
        """The offset of the first message at or after ``at``, or the end."""
        look = partial(log.offset_at, stream=self._streams[topic, partition], at_ms=int(at * 1000))
        return await self._opened(self._reader).run(look, f"look up a time in {self._names[topic]}")

    async def poll(self, timeout_s: float) -> list[Batch]:
        """New messages, deployments and control first."""
        bell = self._opened(self._bell)
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + timeout_s
        while True:
            if await bell.wait(max(0.0, min(LOOK_S, give_up_at - loop.time()))) or await self._changed():
                batches = await self._read()
                if batches:
                    return batches
            if loop.time() >= give_up_at:
                return []

    def pause(self, partition: int, topics: Sequence[Topic]) -> None:
        """Stop reading those topics of the partition."""
        self._paused.update((topic, partition) for topic in topics)

    def resume(self, partition: int, topics: Sequence[Topic]) -> None:
        """Read on."""
        self._paused.difference_update((topic, partition) for topic in topics)
        if self._bell is not None:
            self._bell.ring()

    async def append(self, append: Append) -> None:
        """Write in one transaction. After *unavailable* the same append may simply be tried again."""
        writer = self._opened(self._writer)
        path = database_path(self._settings)
        doing = f"append to partition {append.partition}"
        for record in append.records:
            refuse_oversize(record.topic, record.key, record.value, record.headers, doing)
        entries = [
            log.Entry(record.topic, append.partition, record.key, record.value, record.headers)
            for record in append.records
        ]
        positions = {self._streams[topic, append.partition]: offset for topic, offset in append.positions.items()}

        def write(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                log.require_owner(connection, self._settings.prefix, self._token)
                log.put(connection, self._streams, entries)
                log.commit_positions(connection, self._cluster, positions)
            ring_all(path)

        await writer.run(write, doing)

    def lag(self) -> Mapping[tuple[Topic, int], int]:
        """Unread messages by topic and partition, as last heard."""
        return {
            place: max(0, self._ends.get(self._streams[place], position) - position)
            for place, position in self._next.items()
        }

    async def close(self) -> None:
        """Let go of everything; another process may own the stream from then on."""
        if self._housekeeper is not None:
            self._housekeeper.cancel()
            self._housekeeper = None
        bell, self._bell = self._bell, None
        if bell is not None:
            bell.unhang()
        databases = [database for database in (self._writer, self._reader) if database is not None]
        self._writer = self._reader = None
        if databases:
            await asyncio.gather(*(database.close(CLOSE_S) for database in databases))
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()
        self._next.clear()
        self._paused.clear()

    async def _changed(self) -> bool:
        """Whether another connection has committed since the last look."""
        look = "look for news"
        version = await self._opened(self._reader).run(
            lambda c: int(c.execute("PRAGMA data_version").fetchone()[0]), look
        )
        changed, self._version = version != self._version, version
        return changed

    async def _read(self) -> list[Batch]:
        wanted = {place: offset for place, offset in self._next.items() if place not in self._paused}
        found, ends = await self._opened(self._reader).run(partial(self._collect, wanted=wanted), "read the inputs")
        self._ends = ends
        batches = []
        for place, messages in found.items():
            # Sought or paused meanwhile: what was read is not wanted any more.
            if self._next.get(place) == wanted[place] and place not in self._paused:
                self._next[place] = messages[-1].offset + 1
                batches.append(Batch(place[0], place[1], messages))
        if self._bell is not None and any(ends[self._streams[place]] > self._next.get(place, 0) for place in wanted):
            self._bell.ring()
        return batches

    def _collect(
        self, connection: sqlite3.Connection, wanted: Mapping[Place, int]
    ) -> tuple[dict[Place, list[StoredMessage]], dict[int, int]]:
        ends = log.ends(connection)
        found: dict[Place, list[StoredMessage]] = {}
        rows, size = POLL_ROWS, POLL_BYTES
        for place in sorted(wanted, key=lambda place: (INPUTS.index(place[0]), place[1])):
            stream = self._streams[place]
            if rows > 0 and size > 0 and ends[stream] > wanted[place]:
                messages = log.page(connection, stream, wanted[place], ends[stream], rows, size)
                if messages:
                    found[place] = messages
                    rows -= len(messages)
                    size -= sum(len(message.value or b"") for message in messages)
        return found, ends

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            try:
                await self._opened(self._writer).run(partial(log.keep_house, streams=self._streams), "keep house")
            except StreamError as error:
                LOGGER.warning("%s", error)

    def _opened(self, part: T | None) -> T:
        if part is None:
            raise StreamError("the member is not open")
        return part
