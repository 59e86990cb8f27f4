"""Asks brokers where consumer groups stand: committed offsets, first and next ones. Implements `lag.OffsetsReader`.

In no group itself, commits nothing, makes no topic. Connects when first asked; after a failure it connects anew, as the
client library's own way back from a lost broker may take minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from autoscaler.adapters.kafka.connection import DENIED, connection_options, let_go, start, within
from autoscaler.adapters.kafka.lag import Standing
from autoscaler.configuration.settings import StreamSettings
from autoscaler.errors import StreamError

REQUEST_S = 5.0
TOPICS_S = 30.0
"""How long the partitions of topics are taken for known; more of them come only by an operator's hand."""


class GroupOffsets:
    """The groups of the brokers that ``settings`` name."""

    def __init__(self, settings: StreamSettings, cluster: str) -> None:
        self._settings = settings
        self._cluster = cluster
        self._clients: tuple[Any, Any] | None = None
        self._connecting = asyncio.Lock()
        self._partitions: dict[str, int] = {}
        self._listed_at = 0.0

    async def standings(
        self, group: str, topics: Sequence[str], timeout_s: float
    ) -> Mapping[tuple[str, int], Standing | None]:
        """Of every partition of the topics; None of one that no broker told of. Raises `StreamError`."""
        try:
            # Connecting has time limits of its own: cut short, the client library would leave a connection behind.
            admin, consumer = await self._connected()
            asking = self._standings(admin, consumer, group, topics)
            return await within(timeout_s, asking, f"ask for the lag of {group}", "unknown")
        except StreamError:
            await self.close()
            raise

    async def close(self) -> None:
        """Let go; asked again, it connects again."""
        clients, self._clients = self._clients, None
        self._listed_at = 0.0
        await asyncio.gather(*(let_go(client, 1.0) for client in clients or ()))

    async def _standings(
        self, admin: Any, consumer: Any, group: str, topics: Sequence[str]
    ) -> Mapping[tuple[str, int], Standing | None]:
        counts = await self._counts(admin, topics)
        places = [TopicPartition(topic, number) for topic in topics for number in range(counts[topic])]
        # Before the ends: otherwise what is read and committed meanwhile would be a lag below zero.
        try:
            committed = await admin.list_consumer_group_offsets(group, partitions=places)
        except DENIED as error:
            denied = f"this user may not look at group {group} ({type(error).__name__})"
            raise StreamError(f"{denied}. Grant it Describe on the group and on its topics") from error
        # One after the other: of two at once, that which goes on when the other has failed would connect again.
        begins = await consumer.beginning_offsets(places)
        ends = await consumer.end_offsets(places)
        return {
            (place.topic, place.partition): _standing(committed.get(place), begins.get(place), ends.get(place))
            for place in places
        }

    async def _counts(self, admin: Any, topics: Sequence[str]) -> Mapping[str, int]:
        now = asyncio.get_running_loop().time()
        if not self._listed_at or now - self._listed_at > TOPICS_S or any(t not in self._partitions for t in topics):
            # All of them: asked for by name, one that is missing would be made where brokers make topics by themselves.
            listed = await admin.describe_topics()
            self._partitions = {topic["topic"]: len(topic["partitions"]) for topic in listed if not topic["error_code"]}
            self._listed_at = now
        missing = [topic for topic in topics if topic not in self._partitions]
        if missing:
            names = ", ".join(missing)
            raise StreamError(f"no topic {names}, or this user may not see it. Create it or correct topics")
        return self._partitions

    async def _connected(self) -> tuple[Any, Any]:
        async with self._connecting:
            if self._clients is None:
                options = connection_options(self._settings, self._cluster, REQUEST_S)
                admin = AIOKafkaAdminClient(**options)
                await start(admin, options, "connect to Kafka")
                consumer = AIOKafkaConsumer(enable_auto_commit=False, **options)
                try:
                    await start(consumer, options, "connect to Kafka")
                except BaseException:
                    await let_go(admin, 1.0)
                    raise
                self._clients = (admin, consumer)
            return self._clients


def _standing(committed: Any, begin: int | None, end: int | None) -> Standing | None:
    """None where any part lacks: a refused request for committed offsets is told as an empty answer, and no error."""
    if committed is None or begin is None or end is None:
        return None
    return Standing(int(begin), int(end), int(committed.offset) if committed.offset >= 0 else None)
