"""The stream port: the durable log that events come from and the ledger goes to.

Two implementations, `autoscaler.adapters.kafka` and `autoscaler.adapters.embedded`, pass one contract suite
(tests/contract/test_stream.py). Two roles: a *member* owns partitions, reads inputs and appends to the ledger; a
*client* (command line, plugins' sources, other processes) publishes inputs and reads anything, and owns nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

Headers = Sequence[tuple[str, bytes]]


class Topic(StrEnum):
    """The six topics, by role; an adapter prefixes them (``autoscaler.metrics``)."""

    METRICS = "metrics"
    DEPLOYMENTS = "deployments"
    CONTROL = "control"
    STATE = "state"
    AUDIT = "audit"
    DLQ = "dlq"


INPUTS = (Topic.DEPLOYMENTS, Topic.CONTROL, Topic.METRICS)
"""The topics that a member consumes, most important first."""


class Message(Protocol):
    """One record of a topic, as the log holds it.

    ``timestamp`` is the broker's time in *milliseconds* since the epoch (Kafka's unit and name, so that the client
    library's own record can be handed through without a copy on the hot path).
    """

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A plain `Message`, for adapters without a record class of their own, and for tests."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages of one input topic and partition, in offset order, never empty."""

    topic: Topic
    partition: int
    messages: Sequence[Message]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to write. ``value`` None is a tombstone (compacted topics)."""

    topic: Topic
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Append:
    """One atomic write to partition ``partition`` of every topic that ``records`` name: all visible, or none.

    ``positions``: input topic -> next offset to read, committed afterwards as a hint for lag monitors; the truth is in
    the partition record among ``records``.
    """

    partition: int
    records: tuple[Outgoing, ...]
    positions: Mapping[Topic, int]


@dataclass(frozen=True, slots=True)
class Restored:
    """What a take-over found: the latest state message per key of the partition (tombstoned keys left out), after the
    former owner was fenced and its open transaction aborted, and the range of each input topic that still exists:
    ``beginnings`` (oldest kept offset) and ``ends`` (next offset to be written)."""

    messages: Sequence[Message]
    beginnings: Mapping[Topic, int]
    ends: Mapping[Topic, int]


class Listener(Protocol):
    """How the stream tells a member that partitions come and go; neither call may raise or take long."""

    def assigned(self, partitions: frozenset[int]) -> None:
        """These partitions are now ours to take over (`StreamMember.take_over` each)."""

    async def revoked(self, partitions: frozenset[int]) -> None:
        """These partitions are being taken away; return once nothing more is done for them (bounded by the adapter)."""


class StreamMember(Protocol):
    """The owner's side of the stream."""

    @property
    def partitions(self) -> int:
        """How many partitions every topic has; known after `open`."""

    async def open(self, listener: Listener) -> None:
        """Connect and join. Raises `StreamError` (unavailable) while the stream is away, `ConfigurationError` where
        topics are missing or differ from the configuration; may be called again after a failure."""

    async def take_over(self, partition: int) -> Restored:
        """Fence the former owner, then read the partition's state to the end. Raises `Fenced` where it is no longer
        ours."""

    async def seek(self, partition: int, positions: Mapping[Topic, int]) -> None:
        """Set where `poll` reads on; must be called after `take_over` before `poll` yields anything of the
        partition."""

    async def seek_time(self, partition: int, topic: Topic, at: float) -> int:
        """The offset of the first message at or after ``at`` (seconds since the epoch), or the end."""

    async def poll(self, timeout_s: float) -> list[Batch]:
        """New messages of the owned, sought, unpaused partitions; empty after ``timeout_s``. Deployments and control
        come before metrics. Raises `StreamError` while the stream is away; call again."""

    def pause(self, partition: int, topics: Sequence[Topic]) -> None:
        """Stop reading those topics of the partition until `resume`; the log keeps them."""

    def resume(self, partition: int, topics: Sequence[Topic]) -> None:
        """Read on."""

    async def append(self, append: Append) -> None:
        """Write atomically and durably, then return. Raises `Fenced` (stop acting for the partition) or `StreamError`:
        ``unavailable`` (nothing was written) or ``unknown`` (take over again and look)."""

    def lag(self) -> Mapping[tuple[Topic, int], int]:
        """Unread messages by topic and partition, as last heard."""

    async def close(self) -> None:
        """Leave the group and let go of everything within a few seconds, whatever the stream's condition."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a published or read message stands."""

    topic: Topic
    partition: int
    offset: int


class StreamClient(Protocol):
    """Everybody else's side of the stream: emit, scale, status, audit, monitors."""

    async def open(self) -> None:
        """Connect. Raises `StreamError` or `ConfigurationError` (topics missing) with the remedy."""

    @property
    def partitions(self) -> int:
        """How many partitions every topic has; known after `open`."""

    async def publish(self, topic: Topic, key: bytes, value: bytes, headers: Headers = ()) -> Place:
        """Append one input event to its key's partition; returns when it is durable."""

    async def ends(self, topic: Topic) -> Mapping[int, int]:
        """Next offset to be written, by partition."""

    def read(
        self,
        topic: Topic,
        *,
        partition: int | None = None,
        start: Mapping[int, int] | None = None,
        follow: bool = False,
    ) -> AsyncIterator[tuple[Place, Message]]:
        """Committed messages in order per partition, from ``start`` (default: the oldest) to the present end, or for
        ever with ``follow``. ``partition`` None: all of them."""

    async def members(self) -> int:
        """How many members of the cluster are at work, or stand by. Raises `StreamError` where that cannot be told."""

    async def close(self) -> None:
        """Let go of everything within a few seconds."""


class TopicAdmin(Protocol):
    """Makes the topics."""

    async def create_topics(self) -> Sequence[str]:
        """Create what is missing with the right settings; one line for a person per topic. Raises `ConfigurationError`
        where an existing topic differs (partitions, compaction), changing nothing."""

    async def close(self) -> None:
        """Let go."""


ClientFactory = Callable[[], StreamClient]
Waker = Callable[[], Awaitable[None]]


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key: Kafka's default (Java-compatible) partitioner, murmur2 of the key modulo the count.

    Source: apache/kafka `clients/.../common/utils/Utils.java`. ``b"checkout"`` of 12 is 10.
    """
    return (_murmur2(key) & 0x7FFFFFFF) % partitions


def _murmur2(key: bytes) -> int:
    length = len(key)
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ length) & mask
    for i in range(0, length - length % 4, 4):
        k = int.from_bytes(key[i : i + 4], "little") * m & mask
        k = (k ^ (k >> 24)) * m & mask
        h = (h * m & mask) ^ k
    tail = key[length - length % 4 :]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return h ^ (h >> 15)
