"""Everybody else's side of Kafka: publishes inputs and reads any topic, in no group and owning nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupIdNotFound,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
    OffsetOutOfRangeError,
    for_code,
)

from autoscaler.adapters.kafka.connection import connection_options, let_go, translated, within
from autoscaler.adapters.kafka.connection import start as start_client
from autoscaler.adapters.kafka.topology import agreed_partitions, partitions_by_topic
from autoscaler.adapters.kafka.unreadable import read_carefully, unreadable
from autoscaler.adapters.topics import refuse_oversize, topic_name
from autoscaler.configuration.settings import StreamSettings
from autoscaler.errors import StreamError
from autoscaler.ports.stream import Headers, Message, Place, Topic, partition_of

REQUEST_S = 5.0
OPEN_S = 8.0
"""The longest that opening may take; letting go of what was half open comes on top."""

PUBLISH_S = 10.0
STALL_S = 10.0
PAGE = 2_000
FOLLOW_MS = 500
FLUSH_S = 5.0
UNDECIDED_S = 1.0
"""How long a reader waits for a transaction to be decided that was open when it began."""

NO_COORDINATOR = frozenset(
    {GroupCoordinatorNotAvailableError.errno, GroupLoadInProgressError.errno, NotCoordinatorForGroupError.errno}
)
COORDINATOR_S = 5.0
COORDINATOR_AGAIN_S = 0.2
"""A broker makes the topic of all groups when it is asked for the first one, and has no answer until then."""

REQUEST_BYTES_MAX = 8 * 1024 * 1024
FETCH_BYTES = 4 * 1024 * 1024


class KafkaClient:
    """A `StreamClient` on Kafka."""

    def __init__(self, settings: StreamSettings, cluster: str) -> None:
        self._settings = settings
        self._cluster = cluster
        self._names = {topic: topic_name(settings.prefix, topic) for topic in Topic}
        self._partitions = 0
        self._options: dict[str, Any] = {}
        self._asker: Any = None
        self._producer: Any = None
        self._starting = asyncio.Lock()
        self._readers: set[Any] = set()
        self._retiring: dict[asyncio.Task[None], Any] = {}

    async def open(self) -> None:
        """Connect and look for the topics."""
        if self._asker is not None:
            raise StreamError("the client is open already")
        self._options = connection_options(self._settings, self._cluster, REQUEST_S)
        await within(OPEN_S, self._open(), "connect to Kafka")

    async def _open(self) -> None:
        found = await partitions_by_topic(self._options)
        self._partitions = agreed_partitions(found, self._names, None)
        # Ends are those of everything that was written: of a transaction that was committed a moment ago, the mark that
        # it was may still be on its way.
        self._asker = await self._started_consumer([], "read_uncommitted")

    @property
    def partitions(self) -> int:
        """How many partitions every topic has."""
        return self._partitions

    async def publish(self, topic: Topic, key: bytes, value: bytes, headers: Headers = ()) -> Place:
        """Append one event to its key's partition; durable on return.

        Raises `StreamError`: *unknown* once it was handed to the client library, *unavailable* before.
        """
        doing = f"publish to {self._names[topic]}"
        refuse_oversize(topic, key, value, headers, doing)
        producer = await self._publisher()
        sending = producer.send_and_wait(
            self._names[topic], value, key, partition_of(key, self._partitions), headers=list(headers)
        )
        try:
            written = await within(PUBLISH_S, sending, doing, "unknown")
        except StreamError:
            self._retire(producer)
            raise
        return Place(topic, int(written.partition), int(written.offset))

    async def ends(self, topic: Topic) -> Mapping[int, int]:
        """Next offset to be written, by partition."""
        if self._asker is None:
            raise StreamError("the client is not open")
        places = [TopicPartition(self._names[topic], partition) for partition in range(self._partitions)]
        found = await within(STALL_S, self._asker.end_offsets(places), f"ask for the ends of {self._names[topic]}")
        return {place.partition: int(end) for place, end in found.items()}

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
        places = [TopicPartition(self._names[topic], number) for number in wanted]
        doing = f"read {self._names[topic]}"
        consumer = await self._started_consumer(places)
        self._readers.add(consumer)
        try:
            begins = await within(STALL_S, consumer.beginning_offsets(places), doing)
            written = await self.ends(topic)
            ends = {place: written[place.partition] for place in places}
            floor = {place: (start or {}).get(place.partition, 0) for place in places}
            for place in places:
                consumer.seek(place, min(max(floor[place], begins[place]), ends[place]))
            async for place, message in _pages(consumer, ends, doing, follow=follow):
                if message.offset >= floor[place] and (follow or message.offset < ends[place]):
                    yield Place(topic, place.partition, message.offset), message
        finally:
            self._readers.discard(consumer)
            await let_go(consumer, 2.0)

    async def members(self) -> int:
        """The members of the consumer group."""
        doing = f"ask for the members of {self._cluster}"
        admin = AIOKafkaAdminClient(**self._options)
        give_up_at = asyncio.get_running_loop().time() + COORDINATOR_S
        try:
            await start_client(admin, self._options, "connect to Kafka")
            while True:
                error, count = await self._described(admin, doing)
                if error in (0, GroupIdNotFound.errno):
                    return count
                if error not in NO_COORDINATOR or asyncio.get_running_loop().time() > give_up_at:
                    raise StreamError(f"{doing}: {for_code(error).__name__}")
                await asyncio.sleep(COORDINATOR_AGAIN_S)
        finally:
            await let_go(admin, 2.0)

    async def _described(self, admin: Any, doing: str) -> tuple[int, int]:
        """The broker's error code and how many members the group has."""
        try:
            (answer,) = await within(STALL_S, admin.describe_consumer_groups([self._cluster]), doing)
        except StreamError as error:
            code: int = getattr(error.__cause__, "errno", -1)
            if code not in NO_COORDINATOR:
                raise
            return code, 0
        ((code, _, _, _, _, members, *_),) = answer.groups
        return int(code), len(members)

    async def close(self) -> None:
        """Let go of everything within a few seconds."""
        retiring, self._retiring = self._retiring, {}
        clients = [self._asker, self._producer, *self._readers, *retiring.values()]
        self._asker = self._producer = None
        self._readers.clear()
        for task in retiring:
            task.cancel()
        await asyncio.gather(*(let_go(client, 2.0) for client in clients if client is not None))

    async def _publisher(self) -> Any:
        if self._asker is None:
            raise StreamError("the client is not open")
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    enable_idempotence=True, acks="all", max_request_size=REQUEST_BYTES_MAX, **self._options
                )
                await start_client(producer, self._options, "connect to Kafka")
                self._producer = producer
            return self._producer

    def _retire(self, producer: Any) -> None:
        """Use another one from now on: a refused record leaves a gap in its numbers, past which all are refused."""
        if self._producer is producer:
            self._producer = None
            task = asyncio.create_task(_flushed(producer))
            self._retiring[task] = producer
            task.add_done_callback(lambda done: self._retiring.pop(done, None))

    async def _started_consumer(self, places: list[Any], isolation: str = "read_committed") -> Any:
        consumer = AIOKafkaConsumer(
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level=isolation,
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=FETCH_BYTES,
            **self._options,
        )
        if places:
            consumer.assign(places)
        await start_client(consumer, self._options, "connect to Kafka")
        return consumer


async def _all_read(consumer: Any, ends: Mapping[Any, int]) -> bool:
    for place, end in ends.items():
        if await consumer.position(place) < end:
            return False
    return True


async def _past(consumer: Any, positions: Mapping[Any, int], doing: str) -> Mapping[Any, list[Any]]:
    """What stands at the positions, with a stub for each record that the library cannot read."""
    read = await read_carefully(consumer, positions, PAGE, doing)
    for place, part in read.items():
        if part.trouble and not part.messages and part.position == positions[place]:
            where = f"{place.topic} partition {place.partition} offset {part.position}"
            raise StreamError(f"{doing}: what stands at {where} cannot be read ({part.trouble})")
        consumer.seek(place, part.position)
    return {place: part.messages for place, part in read.items()}


async def _flushed(producer: Any) -> None:
    # What others have in flight may still succeed.
    flushing = asyncio.ensure_future(producer.flush())
    try:
        await asyncio.wait({flushing}, timeout=FLUSH_S)
    finally:
        flushing.cancel()
    await let_go(producer, 2.0)


async def _pages(
    consumer: Any, ends: Mapping[Any, int], doing: str, *, follow: bool
) -> AsyncIterator[tuple[Any, Message]]:
    """Messages until every partition's position has reached its end; with ``follow`` for ever."""
    loop = asyncio.get_running_loop()
    moved_at, told = loop.time(), None
    passed_at = loop.time()
    while follow or not await _all_read(consumer, ends):
        if not follow and loop.time() - passed_at > UNDECIDED_S:
            # Held up by somebody's open transaction: the present end is where that begins.
            decided = await within(STALL_S, consumer.end_offsets(list(ends)), doing)
            ends = {place: min(end, decided[place]) for place, end in ends.items()}
        # Where it fails, what it had found of other partitions is gone, and their positions are behind that.
        positions = {place: await consumer.position(place) for place in ends}
        try:
            found = await consumer.getmany(timeout_ms=FOLLOW_MS if follow else 20, max_records=PAGE)
        except OffsetOutOfRangeError as error:
            raise StreamError(f"{doing}: retention has overtaken the reader. Start again", "unavailable") from error
        except Exception as error:
            if not unreadable(error):
                raise translated(error, doing) from error
            found = await _past(consumer, positions, doing)
        latest = {place: consumer.last_poll_timestamp(place) for place in ends}
        if found or latest != told:
            moved_at, told = loop.time(), latest
        elif loop.time() - moved_at > STALL_S:
            raise StreamError(f"{doing}: no broker has answered for {STALL_S:.0f} s")
        for place, messages in found.items():
            for message in messages:
                yield place, message
            passed_at = loop.time()
