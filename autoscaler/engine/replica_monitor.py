"""Publishes what the replicas of owned services look like, as metrics like any other, for policies to read.

``replicas_ready`` (how many are healthy), ``replicas_restarts_total`` (where the member counts them), ``cpu_cores`` and
``memory_bytes`` (mean over the running replicas but those that are still starting, which a warm-up would make look busy
and idleness idle): of all replicas of a service, and of each revision.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from autoscaler.core.world import ObservedReplica
from autoscaler.engine.poller import Publish
from autoscaler.errors import EventRejected, StreamError, TargetError
from autoscaler.ports.metrics import PolledSample
from autoscaler.ports.target import Target, Usage

EVERY_S = 15.0
USAGE_WITHIN_S = 10.0
STARTING_S = 120.0
"""A replica that has not been healthy for so long, since it was first seen, is no longer starting but sick, and counts:
what is overloaded fails its checks as well. As `startup_deadline` is where nobody says otherwise."""

Restarts = Callable[[str], Mapping[int, int]]
"""Of a service: revision -> replicas of it that ended by themselves and were made anew, since the beginning."""


Used = Callable[[str, Sequence[Usage]], None]
"""Is told what a target's replicas use."""


@dataclass(frozen=True, slots=True)
class ReplicaSample(PolledSample):
    """A sample that may speak of one revision only; ``revision`` None: of all replicas."""

    revision: int | None = None


@dataclass(slots=True)
class MonitorCounts:
    """Rounds made, samples published, samples that could not be, and targets that did not tell their usage."""

    rounds: int = 0
    samples: int = 0
    unpublished: int = 0
    usage_failures: int = 0


class ReplicaMonitor:
    """Asks each target for its usage every ``every_s`` and publishes samples of the services in ``owned()``.

    ``observed(service)``: its replicas as seen now. ``clock``: seconds since the epoch.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        publish: Publish,
        owned: Callable[[], frozenset[str]],
        observed: Callable[[str], Iterable[ObservedReplica]],
        clock: Callable[[], float],
        *,
        restarts: Restarts | None = None,
        used: Used | None = None,
        every_s: float = EVERY_S,
    ) -> None:
        self.counts = MonitorCounts()
        self._targets = tuple(targets)
        self._publish = publish
        self._owned = owned
        self._observed = observed
        self._clock = clock
        self._restarts = restarts
        self._used = used
        self._every_s = every_s
        self._standing: dict[str, dict[str, float]] = {}

    async def run(self) -> None:
        """Publishes for ever; cancel it to end it."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self.publish_once()
            await asyncio.sleep(max(0.0, began + self._every_s - loop.time()))

    async def publish_once(self) -> None:
        """One round over the owned services; failures are counted, never raised."""
        self.counts.rounds += 1
        if not self._owned():
            return
        usages: dict[str, list[Usage]] = {}
        for of_target in await asyncio.gather(*(self._usage(target) for target in self._targets)):
            for usage in of_target:
                usages.setdefault(usage.service, []).append(usage)
        at = self._clock()
        owned = self._owned()
        self._standing = {service: of for service, of in self._standing.items() if service in owned}
        for service in sorted(owned):
            samples = self._samples(service, usages.get(service, []), at)
            try:
                await self._publish(service, samples)
            except (StreamError, EventRejected):
                self.counts.unpublished += len(samples)
            else:
                self.counts.samples += len(samples)

    async def _usage(self, target: Target) -> Sequence[Usage]:
        try:
            async with asyncio.timeout(USAGE_WITHIN_S):
                usages = await target.usage()
        except (TargetError, TimeoutError):
            self.counts.usage_failures += 1
            return ()
        if self._used is not None:
            self._used(target.name, usages)
        return usages

    def _started(self, service: str, replicas: Sequence[ObservedReplica], at: float) -> frozenset[str]:
        """The names of those that were healthy once, or have had the time to become so."""
        before = self._standing.get(service, {})
        # When each of them is no longer starting.
        self._standing[service] = {
            replica.name: at if replica.healthy else before.get(replica.name, at + STARTING_S) for replica in replicas
        }
        return frozenset(name for name, since in self._standing[service].items() if since <= at)

    def _samples(self, service: str, usages: Sequence[Usage], at: float) -> list[ReplicaSample]:
        replicas = [replica for replica in self._observed(service) if replica.condition == "running"]
        restarts = dict(self._restarts(service)) if self._restarts is not None else None
        started = self._started(service, replicas, at)
        usages = [usage for usage in usages if usage.name in started]
        revisions = {replica.revision for replica in replicas} | {usage.revision for usage in usages}
        samples: list[ReplicaSample] = []
        for revision in (None, *sorted(revisions)):
            values: dict[str, float] = {"replicas_ready": _ready(replicas, revision)}
            if restarts is not None:
                values["replicas_restarts_total"] = (
                    sum(restarts.values()) if revision is None else restarts.get(revision, 0)
                )
            of_revision = [usage for usage in usages if revision in (None, usage.revision)]
            if of_revision:
                values["cpu_cores"] = sum(usage.cpu_cores for usage in of_revision) / len(of_revision)
                values["memory_bytes"] = sum(usage.memory_bytes for usage in of_revision) / len(of_revision)
            samples += [
                ReplicaSample(service, name, value, at, _sample_id(service, name, revision, at), revision)
                for name, value in values.items()
            ]
        return samples


def _ready(replicas: Iterable[ObservedReplica], revision: int | None) -> int:
    return sum(1 for replica in replicas if replica.healthy and revision in (None, replica.revision))


def _sample_id(service: str, name: str, revision: int | None, at: float) -> str:
    return hashlib.sha256(f"replicas\0{service}\0{name}\0{revision}\0{at!r}".encode()).hexdigest()[:32]
