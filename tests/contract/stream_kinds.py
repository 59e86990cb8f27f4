"""What the stream suite needs of each kind of stream: fresh ones, a foreign writer, and somebody who takes them away.

Another implementation of the port joins the suite by a class with these methods and a line in `KINDS`.
"""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from aiokafka import AIOKafkaProducer

from autoscaler.adapters.embedded import log
from autoscaler.adapters.embedded.bell import ring_all
from autoscaler.adapters.embedded.database import Database, transaction
from autoscaler.adapters.embedded.member import EmbeddedMember
from autoscaler.adapters.streams import admin_for, client_for, member_for
from autoscaler.adapters.topics import topic_name
from autoscaler.configuration.settings import StreamSettings
from autoscaler.ports.stream import Batch, Headers, Message, Restored, StreamClient, StreamMember, Topic, TopicAdmin

PARTITIONS = 3
SESSION_S = 6.0

T = TypeVar("T")


class Recorder:
    """A `Listener` that remembers whose partitions are ours."""

    def __init__(self) -> None:
        self.mine: frozenset[int] = frozenset()
        self.lost: list[frozenset[int]] = []
        self._changed = asyncio.Event()

    def assigned(self, partitions: frozenset[int]) -> None:
        self.mine = partitions
        self._changed.set()

    async def revoked(self, partitions: frozenset[int]) -> None:
        self.mine -= partitions
        self.lost.append(partitions)
        self._changed.set()

    async def owns(self, count: int, seconds: float = 30.0) -> frozenset[int]:
        """The partitions, once there are so many of them."""
        try:
            async with asyncio.timeout(seconds):
                while len(self.mine) != count:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pytest.fail(f"owns {sorted(self.mine)} after {seconds:.0f} s, not {count}; lost {self.lost}")
        return self.mine


class StreamKind(Protocol):
    """One fresh stream, whose topics exist, for one test."""

    settings: StreamSettings
    cluster: str

    async def set_up(self) -> None:
        """Make the topics."""

    def member(self, name: str = "m1") -> StreamMember: ...

    def client(self) -> StreamClient: ...

    def admin(self, **changes: Any) -> TopicAdmin:
        """An admin whose settings differ in ``changes``."""

    async def write_foreign(
        self, topic: Topic, partition: int, key: bytes | None, value: bytes | None, headers: Headers = ()
    ) -> None:
        """Write as a program does that knows nothing of us."""

    async def usurp(self, partition: int) -> None:
        """Take the partition away, as another process that the present owner does not know of."""

    async def close(self) -> None:
        """Close whatever was handed out."""


class _Handed:
    """Members, clients and admins that were handed out, closed after the test."""

    def __init__(self, settings: StreamSettings) -> None:
        self.settings = settings
        self.cluster = f"c{uuid.uuid4().hex[:8]}"
        self._open: list[Any] = []

    async def set_up(self) -> None:
        await self.admin().create_topics()

    def member(self, name: str = "m1") -> StreamMember:
        return self.keep(member_for(replace(self.settings, member=name), self.cluster))

    def client(self) -> StreamClient:
        return self.keep(client_for(self.settings, self.cluster))

    def admin(self, **changes: Any) -> TopicAdmin:
        return self.keep(admin_for(replace(self.settings, **changes), self.cluster))

    async def close(self) -> None:
        for opened in reversed(self._open):
            await opened.close()

    def keep(self, opened: T) -> T:
        self._open.append(opened)
        return opened


class EmbeddedStream(_Handed):
    """The SQLite stream in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "stream.db"
        super().__init__(StreamSettings(kind="embedded", path=self.path, partitions=PARTITIONS))

    async def write_foreign(
        self, topic: Topic, partition: int, key: bytes | None, value: bytes | None, headers: Headers = ()
    ) -> None:
        names = {role: topic_name(self.settings.prefix, role) for role in Topic}

        def write(connection: sqlite3.Connection) -> None:
            streams, _, _ = log.prepare(connection, names, PARTITIONS, exact=True)
            with transaction(connection):
                log.put(connection, streams, [log.Entry(topic, partition, key, value, headers)])
            ring_all(self.path)

        database = Database(self.path, "foreign")
        await database.run(write, "write as a foreigner")
        await database.close(2.0)

    async def usurp(self, partition: int) -> None:
        # A careless person who removes the lock is the only way to a second owner.
        self.path.with_name(f"{self.path.name}.{self.settings.prefix}.lock").unlink()
        await self.keep(EmbeddedMember(self.settings, self.cluster)).open(Recorder())


class KafkaStream(_Handed):
    """Topics and a group of its own on a real broker."""

    def __init__(self, bootstrap: str, **changes: Any) -> None:
        settings = StreamSettings(
            kind="kafka",
            brokers=tuple(bootstrap.split(",")),
            prefix=f"t{uuid.uuid4().hex[:8]}",
            partitions=PARTITIONS,
            replication=1,
            session_timeout_s=SESSION_S,
        )
        super().__init__(replace(settings, **changes))

    async def write_foreign(
        self, topic: Topic, partition: int, key: bytes | None, value: bytes | None, headers: Headers = ()
    ) -> None:
        name = topic_name(self.settings.prefix, topic)
        async with AIOKafkaProducer(bootstrap_servers=list(self.settings.brokers), acks="all") as producer:
            await producer.send_and_wait(name, value, key, partition, headers=list(headers))

    async def usurp(self, partition: int) -> None:
        usurper = AIOKafkaProducer(
            bootstrap_servers=list(self.settings.brokers), transactional_id=f"{self.cluster}-{partition}"
        )
        await usurper.start()
        await usurper.stop()


def embedded(request: pytest.FixtureRequest) -> StreamKind:
    """A stream in the test's own directory."""
    return EmbeddedStream(request.getfixturevalue("tmp_path"))


def kafka(request: pytest.FixtureRequest) -> StreamKind:
    """A stream on the broker of this run."""
    return KafkaStream(str(request.getfixturevalue("kafka_broker")))


KINDS: Sequence[Callable[[pytest.FixtureRequest], StreamKind]] = (embedded, kafka)


async def own_all(member: StreamMember) -> tuple[Recorder, dict[int, Restored]]:
    """Open, take everything over, and read from the oldest message on."""
    recorder = Recorder()
    await member.open(recorder)
    partitions = sorted(await recorder.owns(member.partitions))
    restored = dict(zip(partitions, await asyncio.gather(*map(member.take_over, partitions)), strict=True))
    for partition, found in restored.items():
        await member.seek(partition, found.beginnings)
    return recorder, restored


async def collect(member: StreamMember, count: int, seconds: float = 20.0) -> list[Batch]:
    """Batches until so many messages have come."""
    batches: list[Batch] = []
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + seconds
    while (found := sum(len(batch.messages) for batch in batches)) < count:
        if loop.time() > give_up_at:
            pytest.fail(f"{found} of {count} messages within {seconds:.0f} s")
        batches += await member.poll(0.2)
    return batches


async def silent(member: StreamMember, seconds: float = 0.6) -> bool:
    """Whether nothing comes for so long."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until:
        if await member.poll(0.1):
            return False
    return True


def messages_of(batches: Sequence[Batch], topic: Topic, partition: int | None = None) -> list[Message]:
    """The messages of a topic, in the order of their coming."""
    return [
        message
        for batch in batches
        if batch.topic is topic and partition in (None, batch.partition)
        for message in batch.messages
    ]


async def everything(client: StreamClient, topic: Topic, partition: int | None = None) -> list[Message]:
    """What a reader sees of a topic now."""
    return [message async for _, message in client.read(topic, partition=partition)]
