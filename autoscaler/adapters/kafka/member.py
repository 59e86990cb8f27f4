"""The owner's side of Kafka: one consumer on all inputs, one transactional producer per owned partition.

Driven by the engine. The group only proposes who owns a partition; the proof is the producer's epoch, which the broker
checks at every append. Never asks the group who owns what, never cancels a fetch of the client library.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition

from autoscaler.adapters.kafka.connection import CONNECT_S, FOREIGN, TEAR_S, connection_options, within
from autoscaler.adapters.kafka.inputs import InputReader
from autoscaler.adapters.kafka.ledger import PartitionLedger
from autoscaler.adapters.kafka.restore import read_state
from autoscaler.adapters.kafka.topology import agreed_partitions, partitions_by_topic
from autoscaler.adapters.topics import refuse_oversize, topic_name
from autoscaler.configuration.settings import StreamSettings
from autoscaler.errors import Fenced, StreamError
from autoscaler.ports.stream import INPUTS, Append, Batch, Listener, Restored, Topic

LOGGER = logging.getLogger(__name__)

REQUEST_S = 10.0
PRODUCER_REQUEST_S = 5.0
"""Half of the append's deadline, so that one retry after a silent broker fits in."""

OPEN_S = 8.0
"""The longest that opening may take; letting go of what was half open comes on top."""

CLOSE_S = 4.5
LEDGER_CLOSE_S = 2.0
COMMIT_AT_END_S = 0.5
COMMIT_PAUSE_S = 0.2
COMMIT_S = 5.0


class KafkaMember:
    """A `StreamMember` on Kafka. ``cluster`` is the group and the prefix of the transactional ids."""

    def __init__(self, settings: StreamSettings, cluster: str) -> None:
        self._settings = settings
        self._cluster = cluster
        self._names = {topic: topic_name(settings.prefix, topic) for topic in Topic}
        self._partitions = 0
        self._listener: Listener | None = None
        self._reader: InputReader | None = None
        self._ledgers: dict[int, PartitionLedger] = {}
        self._positions: dict[Any, int] = {}
        self._uncommitted = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._committer: asyncio.Task[None] | None = None

    @property
    def partitions(self) -> int:
        """How many partitions every topic has."""
        return self._partitions

    async def open(self, listener: Listener) -> None:
        """Connect, compare the topics and join the group; the listener hears of partitions later."""
        if self._reader is not None:
            raise StreamError("the member is open already")
        await within(OPEN_S, self._open(listener), "connect to Kafka")

    async def _open(self, listener: Listener) -> None:
        options = connection_options(self._settings, self._cluster, REQUEST_S)
        found = await partitions_by_topic(options)
        self._partitions = agreed_partitions(found, self._names, self._settings.partitions)
        self._listener = listener
        self._reader = InputReader(
            self._settings, self._cluster, {topic: self._names[topic] for topic in INPUTS}, _Relay(self, listener)
        )
        try:
            await self._reader.open()
        except BaseException:
            self._reader = None
            raise
        self._committer = asyncio.create_task(self._commit_positions())

    async def take_over(self, partition: int) -> Restored:
        """Fence the former owner, then read the partition's state; several may run at once."""
        reader = self._opened()
        term = reader.term
        if partition not in reader.owned:
            raise Fenced(f"take over partition {partition}: the group has given it to another member")
        self._drop(self._ledgers.pop(partition, None))
        options = connection_options(self._settings, self._cluster, PRODUCER_REQUEST_S)
        ledger = await PartitionLedger.start(options, f"{self._cluster}-{partition}", partition, self._names)
        try:
            restored = await read_state(options, partition, self._names)
        except BaseException:
            self._drop(ledger)
            raise
        if reader.term != term:
            self._drop(ledger)
            raise Fenced(f"take over partition {partition}: the group has given it to another member")
        self._drop(self._ledgers.get(partition))
        self._ledgers[partition] = ledger
        return restored

    async def seek(self, partition: int, positions: Mapping[Topic, int]) -> None:
        """Read the partition on from there. Raises `Fenced` where it is no longer ours."""
        self._opened().seek(partition, positions)

    async def seek_time(self, partition: int, topic: Topic, at: float) -> int:
        """The offset of the first message at or after ``at``, or the end."""
        consumer = self._opened().consumer
        place = TopicPartition(self._names[topic], partition)
        doing = f"look up a time in {self._names[topic]}"
        found = await within(CONNECT_S, consumer.offsets_for_times({place: max(0, int(at * 1000))}), doing)
        if found[place] is not None:
            return int(found[place].offset)
        ends = await within(CONNECT_S, consumer.end_offsets([place]), doing)
        return int(ends[place])

    async def poll(self, timeout_s: float) -> list[Batch]:
        """New messages, deployments and control first."""
        return await self._opened().poll(timeout_s)

    def pause(self, partition: int, topics: Sequence[Topic]) -> None:
        """Stop reading those topics of the partition."""
        self._opened().pause(partition, topics)

    def resume(self, partition: int, topics: Sequence[Topic]) -> None:
        """Read on."""
        self._opened().resume(partition, topics)

    async def append(self, append: Append) -> None:
        """Write in one transaction.

        After *unknown* the partition has to be taken over again; *unavailable* means that it was not tried at all.
        """
        reader = self._opened()
        ledger = self._ledgers.get(append.partition)
        doing = f"append to partition {append.partition}"
        if ledger is None:
            if append.partition not in reader.owned:
                raise Fenced(f"{doing}: the group has given it to another member")
            raise StreamError(f"{doing}: take the partition over first", "unknown")
        for record in append.records:
            refuse_oversize(record.topic, record.key, record.value, record.headers, doing)
        try:
            await ledger.write(append.records)
        except BaseException:
            if self._ledgers.get(append.partition) is ledger:
                del self._ledgers[append.partition]
            self._drop(ledger)
            raise
        for topic, offset in append.positions.items():
            self._positions[TopicPartition(self._names[topic], append.partition)] = offset
        self._uncommitted.set()

    def lag(self) -> Mapping[tuple[Topic, int], int]:
        """Unread messages by topic and partition, as last heard."""
        return {} if self._reader is None else self._reader.lag()

    async def close(self) -> None:
        """Leave the group, so that others take over at once, and let go of everything."""
        loop = asyncio.get_running_loop()
        end_at = loop.time() + CLOSE_S
        reader, self._reader = self._reader, None
        if self._committer is not None:
            self._committer.cancel()
            self._committer = None
        for partition in list(self._ledgers):
            self._drop(self._ledgers.pop(partition))
        if reader is not None:
            if self._positions:
                await self._commit(reader, COMMIT_AT_END_S)
            await reader.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=max(TEAR_S, end_at - loop.time()))
            for task in self._tasks:
                task.cancel()

    async def let_go_of(self, partitions: frozenset[int], listener: Listener, seconds: float) -> None:
        """Let the engine finish with the partitions, then stop their producers; called before the group goes on."""
        try:
            # The listener may still append during this: the ledgers go afterwards.
            async with asyncio.timeout(seconds):
                await listener.revoked(partitions)
        except TimeoutError:
            LOGGER.warning("partitions %s: not let go within %.0f s", sorted(partitions), seconds)
        finally:
            for partition in partitions:
                self._drop(self._ledgers.pop(partition, None))

    def _opened(self) -> InputReader:
        if self._reader is None:
            raise StreamError("the member is not open")
        return self._reader

    def _drop(self, ledger: PartitionLedger | None) -> None:
        if ledger is not None:
            task = asyncio.create_task(ledger.close(LEDGER_CLOSE_S))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _commit_positions(self) -> None:
        """Commit the newest positions now and then: a hint for lag monitors, so an append never waits for it."""
        while True:
            await self._uncommitted.wait()
            self._uncommitted.clear()
            if self._reader is not None:
                await self._commit(self._reader, COMMIT_S)
            await asyncio.sleep(COMMIT_PAUSE_S)

    async def _commit(self, reader: InputReader, seconds: float) -> None:
        positions, self._positions = self._positions, {}
        offsets = {place: offset for place, offset in positions.items() if place.partition in reader.owned}
        if not offsets:
            return
        try:
            async with asyncio.timeout(seconds):
                await reader.consumer.commit(offsets)
        except FOREIGN as error:
            LOGGER.debug("positions not committed: %r", error)


class _Relay:
    """What the reader tells of assignments, passed on to the engine's listener."""

    def __init__(self, member: KafkaMember, listener: Listener) -> None:
        self._member = member
        self._listener = listener

    def assigned(self, partitions: frozenset[int]) -> None:
        self._listener.assigned(partitions)

    async def revoked(self, partitions: frozenset[int], seconds: float) -> None:
        await self._member.let_go_of(partitions, self._listener, seconds)
