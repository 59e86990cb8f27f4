"""What a member does beside its partitions while it runs: polls metrics, measures replicas, prunes images. Started by
`run`.

What is measured goes onto the metrics topic like anybody's event, so that no policy sees a value that others cannot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from autoscaler.cli.wiring import lag_sources, prometheus_sources
from autoscaler.configuration.settings import Configuration
from autoscaler.core.state import ServiceState
from autoscaler.engine.member import Member
from autoscaler.engine.poller import Poller
from autoscaler.engine.pruning import Pruner
from autoscaler.engine.replica_monitor import ReplicaMonitor, ReplicaSample
from autoscaler.events.envelope import STRUCTURED_HEADERS
from autoscaler.events.moments import write_time
from autoscaler.events.writing import samples_event
from autoscaler.ports.metrics import MetricsSource, PolledSample
from autoscaler.ports.stream import Topic
from autoscaler.ports.target import Prunes


class Feeds:
    """The pollers of one member."""

    def __init__(self, configuration: Configuration, member: Member) -> None:
        self._member = member
        self._event_source = f"/eventscaler/{configuration.cluster}/{member.parts.member_id}"
        clock = member.parts.clock.wall
        self._sources: list[MetricsSource] = [*prometheus_sources(configuration), *lag_sources(configuration, clock)]
        self._tasks: list[asyncio.Task[None]] = []
        self._poller = Poller(self._sources, self._publish, member.owned_services, clock)
        self._monitor = ReplicaMonitor(
            list(member.parts.targets.values()),
            self._publish,
            self._running,
            member.observer.replicas,
            clock,
            used=member.observer.note_usage,
        )
        wanted = {name: target.prune_s for name, target in configuration.targets.items() if target.prune_s}
        pruned = {
            name: (target, wanted[name])
            for name, target in member.parts.targets.items()
            if name in wanted and isinstance(target, Prunes)
        }
        self._pruner = Pruner(pruned, member.parts.client, self._states, member.pruned, clock)

    def _states(self, target: str) -> list[ServiceState]:
        """Of the services of the target that this member owns now."""
        services = self._member.parts.configuration.services
        return [
            state
            for shard in self._member.shards()
            for name, state in shard.states.items()
            if name in services and services[name].target == target
        ]

    def start(self) -> None:
        """Begin to poll."""
        self._member.sources_at_work = len(self._sources)
        self._tasks = [
            self._member.supervision.start(self._poller.run(), "poll metrics"),
            self._member.supervision.start(self._monitor.run(), "monitor replicas"),
            self._member.supervision.start(self._pruner.run(), "prune images"),
        ]

    async def stop(self) -> None:
        """Poll no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(source.close() for source in self._sources))

    def _running(self) -> frozenset[str]:
        return self._member.owned_services() & self._member.observer.services()

    async def _publish(self, service: str, samples: Sequence[PolledSample]) -> None:
        listed = [_as_sample(sample) for sample in samples]
        value = samples_event(service, listed, self._event_source, id=samples[0].id)
        await self._member.parts.client.publish(Topic.METRICS, service.encode(), value, STRUCTURED_HEADERS)


def _as_sample(sample: PolledSample) -> dict[str, object]:
    written: dict[str, object] = {"name": sample.name, "value": sample.value, "time": write_time(sample.at)}
    if isinstance(sample, ReplicaSample) and sample.revision is not None:
        written["revision"] = sample.revision
    return written
