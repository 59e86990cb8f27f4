"""Polls the lag of one consumer group, for a service whose replicas are its consumers. Implements
`autoscaler.ports.metrics.MetricsSource`.

What it says beside the lag: among how many partitions it can be shared, and how many of them have any. Both are zero
where the lag is, so that neither keeps a service from zero. A partition of which a broker does not tell makes the whole
lag unknown, never smaller. Rules borrowed from kedacore/keda `pkg/scalers/kafka_scaler.go`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from autoscaler.configuration.settings import KafkaLagSettings
from autoscaler.errors import ConfigurationError, StreamError, TargetError
from autoscaler.ports.metrics import PolledSample

TopicPartition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a group stands in one partition: its first and next offset, and what is committed, None where nothing."""

    begin: int
    end: int
    committed: int | None


@dataclass(frozen=True, slots=True)
class TopicLag:
    """How far a group is behind on a topic: in messages, and on how many of its partitions; whether it ever committed
    anything there."""

    topic: str
    lag: int
    behind: int
    partitions: int
    committed: bool


class OffsetsReader(Protocol):
    """Asks the brokers; shared by the sources of the same brokers."""

    async def standings(
        self, group: str, topics: Sequence[str], timeout_s: float
    ) -> Mapping[TopicPartition, Standing | None]:
        """Of every partition of the topics; None of one that no broker told of.

        Raises `StreamError` where they do not answer in time, or do not have a topic.
        """

    async def close(self) -> None:
        """Let go."""


class KafkaLagSource:
    """One configured group. ``clock``: seconds since the epoch."""

    def __init__(self, settings: KafkaLagSettings, reader: OffsetsReader, clock: Callable[[], float]) -> None:
        self.name = f"kafka group {settings.group} as {settings.name} of {settings.service}"
        self.every_s = settings.every_s
        self._settings = settings
        self._reader = reader
        self._clock = clock
        self._moved: dict[TopicPartition, tuple[int | None, float]] = {}

    def services(self) -> frozenset[str]:
        """The service whose replicas are the consumers."""
        return frozenset({self._settings.service})

    async def poll(self, services: frozenset[str]) -> Sequence[PolledSample]:
        """The lag and its two companions. Raises `TargetError` where any of it is unknown."""
        if self._settings.service not in services:
            return ()
        return self._samples(await self._standings(), self._clock())

    async def by_topic(self) -> Sequence[TopicLag]:
        """The lag on each topic, in the order of the configuration; whatever has not moved for long counts as well.
        Raises `TargetError` where any of it is unknown."""
        standings = await self._standings()
        found = []
        for topic in self._settings.topics:
            there = [standing for (name, _), standing in standings.items() if name == topic]
            lags = [lag_of(standing, self._settings.offset_reset) for standing in there]
            committed = any(standing.committed is not None for standing in there)
            found.append(TopicLag(topic, sum(lags), sum(1 for lag in lags if lag), len(lags), committed))
        return found

    async def _standings(self) -> Mapping[TopicPartition, Standing]:
        settings = self._settings
        try:
            found = await self._reader.standings(settings.group, settings.topics, settings.timeout_s)
        except StreamError as error:
            raise TargetError(f"{self.name}: {error}", error.outcome) from error
        except ConfigurationError as error:
            raise TargetError(f"{self.name}: {error}", "unavailable") from error
        told = {place: standing for place, standing in found.items() if standing is not None}
        if len(told) < len(found):
            missing = ", ".join(f"{topic}/{number}" for topic, number in sorted(found.keys() - told.keys())[:5])
            raise TargetError(f"{self.name}: no broker tells of {missing}", "unavailable")
        return told

    async def close(self) -> None:
        """Let go of the brokers, for all that share them."""
        await self._reader.close()

    def _samples(self, standings: Mapping[TopicPartition, Standing], now: float) -> Sequence[PolledSample]:
        lags = {place: lag_of(standing, self._settings.offset_reset) for place, standing in standings.items()}
        stuck = self._stuck(standings, now)
        lag = sum(each for place, each in lags.items() if place not in stuck)
        if not lag and any(lags.values()):
            # What nobody moves still wants a consumer: perhaps there is none.
            lag = 1
        behind = sum(1 for place, each in lags.items() if each and place not in stuck)
        values = {"": lag, "_partitions": len(lags) if lag else 0, "_partitions_with_lag": max(behind, min(lag, 1))}
        settings = self._settings
        return [
            PolledSample(settings.service, name, float(value), now, sample_id(settings.group, name, now))
            for name, value in ((f"{settings.name}{suffix}", value) for suffix, value in values.items())
        ]

    def _stuck(self, standings: Mapping[TopicPartition, Standing], now: float) -> frozenset[TopicPartition]:
        """The partitions whose committed offset has not moved for as long as the settings say."""
        limit_s = self._settings.persistent_s
        if limit_s is None:
            return frozenset()
        before = self._moved
        self._moved = {
            place: before[place] if place in before and before[place][0] == standing.committed
            else (standing.committed, now)
            for place, standing in standings.items()
        }  # fmt: skip
        return frozenset(place for place, (_, since) in self._moved.items() if now - since >= limit_s)


def lag_of(standing: Standing, offset_reset: str) -> int:
    """How many messages of the partition the group has still to read.

    Where nothing valid is committed: what is kept, or with reset ``latest`` 1, so that a first consumer comes and
    commits. What retention took is not to be read any more.
    """
    committed = standing.committed
    if committed is None or committed > standing.end:
        return 1 if offset_reset == "latest" else standing.end - standing.begin
    return standing.end - max(committed, standing.begin)


def sample_id(group: str, name: str, at: float) -> str:
    """The same for the same group, metric and time, whoever polled."""
    return hashlib.sha256(f"{group}\0{name}\0{at!r}".encode()).hexdigest()[:32]
