"""The consumer on all inputs: assignment, positions, pausing, fetching, and noticing that the brokers are gone.

Used by the member alone. The client library's own fetch is never cancelled (that would switch off its guard against a
stuck member), so `poll` waits beside it and takes its result the next time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.client import ConnectionGroup
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.protocol.group import LeaveGroupRequest

from autoscaler.adapters.kafka.connection import (
    CONNECT_S,
    FOREIGN,
    TEAR_S,
    connection_options,
    let_go,
    start,
    translated,
)
from autoscaler.adapters.kafka.parsed_records import hand_out_parsed
from autoscaler.adapters.kafka.unreadable import Found, read_carefully, unreadable
from autoscaler.configuration.settings import StreamSettings
from autoscaler.errors import Fenced, StreamError
from autoscaler.ports.stream import Batch, Topic

LOGGER = logging.getLogger(__name__)

REQUEST_S = 10.0
FETCH_WAIT_MS = 50
"""One fetch is in flight per broker: a partition with news waits at most so long for one without."""

PARTITION_FETCH_BYTES = 2 * 1024 * 1024
FETCH_BYTES = 16 * 1024 * 1024
POLL_RECORDS = 10_000
"""Bounds how long one poll keeps the event loop (about 3 us a record)."""

POLL_S_MAX = 1.0
REVOKE_S_MAX = 10.0
SILENCE_S = 3.0
"""Without a sign of life for so long the brokers are asked; without an answer for twice as long they count as away."""

STALL_S = 60.0
"""A broker answers, yet no fetch succeeds: past this the consumer is made anew."""

LEAVE_S = 1.0
RENEW_S = 4.0
"""The longest that connecting anew may take within a poll, which is tried again."""

LOCATE_MAX = 3
"""How often a batch is fetched that cannot be located, as it may have been damaged on its way, before it halts."""


class _Fetched(NamedTuple):
    """What a fetch found, and what ended it early. ``careful``: the places that were read past the library."""

    messages: dict[Any, list[Any]]
    error: Exception | None = None
    careful: Mapping[Any, Found] = {}


class Assignments(Protocol):
    """Who hears of partitions that come and go."""

    def assigned(self, partitions: frozenset[int]) -> None: ...

    async def revoked(self, partitions: frozenset[int], seconds: float) -> None: ...


class InputReader(ConsumerRebalanceListener):  # type: ignore[misc]
    """One consumer in the cluster's group. ``owned``: what the group gave us; ``term`` changes with each assignment."""

    def __init__(
        self, settings: StreamSettings, group: str, names: Mapping[Topic, str], assignments: Assignments
    ) -> None:
        self.owned: frozenset[int] = frozenset()
        self.term = 0
        self.consumer: Any = None
        self._settings = settings
        self._group = group
        self._names = dict(names)
        self._roles = {name: topic for topic, name in names.items()}
        self._assignments = assignments
        self._next: dict[Any, int] = {}
        self._paused: set[Any] = set()
        self._outdated: set[Any] = set()
        self._fetch: asyncio.Task[_Fetched] | None = None
        self._untold: list[StreamError] = []
        self._unlocated: dict[Any, int] = {}
        self._probe: asyncio.Task[None] | None = None
        self._told: dict[Any, int | None] = {}
        self._heard_at = self._fetched_at = 0.0
        self._broken = False

    async def open(self, seconds: float = CONNECT_S) -> None:
        """Connect and begin to join; the assignment comes later."""
        session_ms = int(self._settings.session_timeout_s * 1000)
        member = self._settings.member
        options = connection_options(self._settings, self._group, REQUEST_S)
        self.consumer = AIOKafkaConsumer(
            group_id=self._group,
            group_instance_id=None if member == "auto" else member,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=max(100, session_ms // 10),
            rebalance_timeout_ms=2 * session_ms,
            partition_assignment_strategy=(RangePartitionAssignor,),
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            fetch_max_bytes=FETCH_BYTES,
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
            **options,
        )
        await start(self.consumer, options, "connect to Kafka", seconds)
        hand_out_parsed(self.consumer)
        self._heard_at = self._fetched_at = asyncio.get_running_loop().time()
        # Subscribed after the start, which would otherwise wait for an assignment as long as it takes.
        self.consumer.subscribe(list(self._names.values()), listener=self)

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Called by the client library before it joins anew; it goes on when this returns."""
        lost, self.owned = self.owned, frozenset()
        self.term += 1
        self._next.clear()
        self._paused.clear()
        if lost:
            await self._assignments.revoked(lost, min(REVOKE_S_MAX, self._settings.session_timeout_s / 2))

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """Called by the client library after it joined; nothing is read until `seek`."""
        by_topic = {name: {place.partition for place in assigned if place.topic == name} for name in self._roles}
        for place in assigned:
            self.consumer.pause(place)
            # A position, so that the library does not look for a committed one; it is replaced by `seek`.
            self.consumer.seek(place, 0)
        self.term += 1
        self.owned = frozenset(set.intersection(*by_topic.values()))
        self._heard_at = self._fetched_at = asyncio.get_running_loop().time()
        if self.owned:
            self._assignments.assigned(self.owned)

    def seek(self, partition: int, positions: Mapping[Topic, int]) -> None:
        """Deliver the partition's messages from there on. Raises `Fenced` where it is not ours."""
        if partition not in self.owned:
            raise Fenced(f"read partition {partition}: the group has given it to another member")
        for topic, offset in positions.items():
            place = TopicPartition(self._names[topic], partition)
            try:
                self.consumer.seek(place, offset)
            except IllegalStateError as error:
                raise Fenced(f"read partition {partition}: the group is about to give it away") from error
            self._next[place] = offset
            self._unlocated.pop(place, None)
            self._mark_outdated(place)
            if place not in self._paused:
                self.consumer.resume(place)
        self._untold = [error for error in self._untold if error.partition != partition]
        self._fetched_at = asyncio.get_running_loop().time()

    def pause(self, partition: int, topics: Sequence[Topic]) -> None:
        """Stop fetching; what was fetched and not delivered is fetched again later."""
        for place in self._places(partition, topics):
            self._paused.add(place)
            if place in self._next:
                self.consumer.pause(place)
                self._mark_outdated(place)
                self._rewind(place)

    def resume(self, partition: int, topics: Sequence[Topic]) -> None:
        """Fetch on from where delivery stopped."""
        for place in self._places(partition, topics):
            self._paused.discard(place)
            if place in self._next:
                self.consumer.resume(place)
        self._fetched_at = asyncio.get_running_loop().time()

    def lag(self) -> Mapping[tuple[Topic, int], int]:
        """Unread messages, as the last fetch of each partition told."""
        unread = {}
        for place, position in self._next.items():
            end = self.consumer.last_stable_offset(place)
            if end is None or end < 0:
                end = self.consumer.highwater(place)
            if end is not None:
                unread[self._roles[place.topic], place.partition] = max(0, end - position)
        return unread

    async def poll(self, timeout_s: float) -> list[Batch]:
        """New messages, deployments and control first. Raises `StreamError` while the brokers are away."""
        if self._untold:
            raise self._untold.pop(0)
        if self._broken:
            await self._renew()
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + timeout_s
        while True:
            left_s = max(0.0, give_up_at - loop.time())
            if self._fetch is None:
                self._fetch = asyncio.create_task(self._fetch_some(min(left_s, POLL_S_MAX)))
            done, _ = await asyncio.wait({self._fetch}, timeout=left_s)
            batches = self._taken() if done else []
            if self._untold and not batches:
                raise self._untold.pop(0)
            self._watch(heard=bool(batches))
            if batches or loop.time() >= give_up_at:
                return batches

    def _taken(self) -> list[Batch]:
        """The finished fetch's messages; what went wrong is kept to be told when there are none."""
        if self._fetch is None:
            return []
        fetch, self._fetch = self._fetch, None
        outdated, self._outdated = self._outdated, set()
        fetched = fetch.result()
        batches = self._batches(fetched.messages, outdated)
        for place, found in fetched.careful.items():
            if place in self._next and place not in outdated:
                self._read_past(place, found)
        for place in outdated:
            if fetched.messages.get(place):
                # The library's position is behind what was just thrown away.
                self._rewind(place)
        if fetched.error is not None:
            self._failed(fetched.error)
        return batches

    async def close(self) -> None:
        """Leave the group and stop, within a few seconds."""
        if self._probe is not None:
            self._probe.cancel()
        self.owned = frozenset()
        await self._leave_group()
        await let_go(self.consumer, 1.5)
        if self._fetch is not None:
            # The consumer is gone, and with it the guard that a cancelled fetch would switch off.
            self._fetch.cancel()
            await asyncio.wait({self._fetch}, timeout=TEAR_S)
            self._fetch = None

    def _places(self, partition: int, topics: Sequence[Topic]) -> list[Any]:
        return [TopicPartition(self._names[topic], partition) for topic in topics]

    def _mark_outdated(self, place: Any) -> None:
        """What the fetch at hand holds of the place, or still finds, will not be delivered."""
        if self._fetch is not None:
            self._outdated.add(place)

    def _rewind(self, place: Any) -> None:
        """Let the library go on where delivery stopped."""
        if place in self._next:
            # Not assigned any more: the partition is about to be given away.
            with suppress(IllegalStateError):
                self.consumer.seek(place, self._next[place])

    async def _fetch_some(self, timeout_s: float) -> _Fetched:
        found: dict[Any, list[Any]] = {}
        try:
            urgent = [place for place in self._next if self._roles[place.topic] is not Topic.METRICS]
            if urgent:
                found = await self.consumer.getmany(*urgent, timeout_ms=0, max_records=POLL_RECORDS)
            timeout_ms = 0 if found else max(1, int(timeout_s * 1000))
            more = await self.consumer.getmany(timeout_ms=timeout_ms, max_records=POLL_RECORDS)
        except Exception as error:  # noqa: BLE001 - whatever the library meets in a record: nothing may leave `poll`
            return await self._fetch_carefully(error) if unreadable(error) else _Fetched(found, error)
        for place, messages in more.items():
            found[place] = found[place] + messages if place in found else messages
        return _Fetched(found)

    async def _fetch_carefully(self, error: Exception) -> _Fetched:
        """Read past the library: it has thrown away what it had found, of all places, and will meet the same again."""
        LOGGER.warning("a record cannot be read (%s); reading one by one", type(error).__name__)
        positions = {place: offset for place, offset in self._next.items() if place not in self._paused}
        try:
            found = await read_carefully(self.consumer, positions, POLL_RECORDS, "read the inputs")
        except StreamError as failure:
            return _Fetched({}, failure)
        return _Fetched({place: part.messages for place, part in found.items()}, None, found)

    def _read_past(self, place: Any, found: Found) -> None:
        """Let the library go on behind what was read past it; halt where nothing can be read on from."""
        moved = found.position > self._next[place] or bool(found.messages)
        self._next[place] = max(self._next[place], found.position)
        self._rewind(place)
        if not found.trouble or moved:
            self._unlocated.pop(place, None)
            return
        self._unlocated[place] = self._unlocated.get(place, 0) + 1
        if self._unlocated[place] >= LOCATE_MAX:
            self.consumer.pause(place)
            del self._next[place], self._unlocated[place]
            text = f"{place.topic} partition {place.partition} cannot be read on from offset {found.position}"
            LOGGER.error("%s: %s", text, found.trouble)
            remedy = "That topic of the partition stands still; check the broker's disk, then restart this member"
            self._untold.append(StreamError(f"read the inputs: {text} ({found.trouble}). {remedy}"))

    def _batches(self, found: Mapping[Any, list[Any]], outdated: set[Any]) -> list[Batch]:
        urgent: list[Batch] = []
        metrics: list[Batch] = []
        for place, messages in found.items():
            # Not sought means: taken away meanwhile, or not yet taken over.
            if not messages or place in outdated or place not in self._next:
                continue
            topic = self._roles[place.topic]
            self._next[place] = messages[-1].offset + 1
            (metrics if topic is Topic.METRICS else urgent).append(Batch(topic, place.partition, messages))
        return urgent + metrics

    def _failed(self, error: Exception) -> None:
        if isinstance(error, NoOffsetForPartitionError):
            # The library asked for a committed position before `on_partitions_assigned` set one.
            return
        if isinstance(error, OffsetOutOfRangeError) and error.args and isinstance(error.args[0], dict):
            self._out_of_range(error.args[0])
            return
        # Nothing tells a failed coordination from a dead one, so the consumer is made anew after either.
        self._broken = type(error) in (KafkaError, IllegalStateError, AssertionError, AttributeError)
        told = translated(error, "read the inputs")
        told.__cause__ = error
        self._untold.append(told)

    def _out_of_range(self, positions: Mapping[Any, int]) -> None:
        """The log no longer, or never, held our position: stop that topic of the partition and say so; others go on."""
        for place, offset in positions.items():
            if place not in self._next:
                continue
            if offset < self._next[place]:
                # Of a position that was left since.
                self._rewind(place)
                continue
            self.consumer.pause(place)
            del self._next[place]
            text = f"{place.topic} partition {place.partition} no longer holds offset {offset}"
            remedy = "Take the partition over and seek anew"
            self._untold.append(StreamError(f"read the inputs: {text}. {remedy}", "unknown", place.partition))

    def _watch(self, *, heard: bool = False) -> None:
        """Raise where no broker has given a sign of life for a while."""
        now = asyncio.get_running_loop().time()
        active = [place for place in self._next if place not in self._paused]
        told = {place: self.consumer.last_poll_timestamp(place) for place in active if place.partition in self.owned}
        if heard or told != self._told:
            self._heard_at = self._fetched_at = now
            self._told = told
        if not active:
            self._fetched_at = now
        if now - self._heard_at > SILENCE_S and (self._probe is None or self._probe.done()):
            self._probe = asyncio.create_task(self._ask())
        if now - self._heard_at > 2 * SILENCE_S:
            raise StreamError(f"read the inputs: no broker has answered for {now - self._heard_at:.0f} s")
        if now - self._fetched_at > STALL_S:
            self._broken = True
            raise StreamError(f"read the inputs: no fetch has succeeded for {STALL_S:.0f} s; connecting anew")

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(SILENCE_S):
                await self.consumer.topics()
        except FOREIGN as error:
            LOGGER.debug("no broker answered: %r", error)
        else:
            self._heard_at = asyncio.get_running_loop().time()

    async def _renew(self) -> None:
        await self.on_partitions_revoked(())
        await self.close()
        self._outdated.clear()
        self._untold.clear()
        self._told.clear()
        await self.open(RENEW_S)
        self._broken = False

    async def _leave_group(self) -> None:
        """Tell the group: the library does not for a static member, whose partitions would wait for the time-out."""
        coordinator = self.consumer._coordinator  # noqa: SLF001 - nothing public sends a leave
        if coordinator is None:
            return
        node, member, joined = coordinator.coordinator_id, coordinator.member_id, coordinator.generation > 0
        self.consumer.unsubscribe()
        if node is None or not joined or self._settings.member == "auto":
            return
        request = LeaveGroupRequest(self._group, member)
        try:
            async with asyncio.timeout(LEAVE_S):
                client = self.consumer._client  # noqa: SLF001 - see above
                await client.send(node, request, group=ConnectionGroup.COORDINATION)
        except FOREIGN as error:
            LOGGER.info("the group was not told that this member leaves: %r", error)
