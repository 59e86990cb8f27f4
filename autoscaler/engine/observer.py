"""Knows what the hosts show: a cache that the targets' lists fill and their events keep fresh, with health on top.

One for a member; every shard looks through `world`. A host that does not answer keeps its last replicas, marked
unknown:
absence of information is not absence. Tells ``on_change(service)`` whenever what a service shows may have changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import structlog

from autoscaler.core.actions import Create, Outcome, Remove, Resolve, Start, StopReplica
from autoscaler.core.revision import Health
from autoscaler.core.world import HostView, ObservedReplica, World
from autoscaler.engine.clock import SystemClock
from autoscaler.engine.prober import Prober
from autoscaler.engine.supervision import Supervision
from autoscaler.errors import TargetError
from autoscaler.ports.target import HostListing, Target

LOST_AFTER_S = 15.0
"""A suspect host is lost after three missed beats of 5 s; its replicas are made elsewhere only after host_grace."""

RECONNECT_S = 1.0

log = structlog.get_logger(__name__)

HealthOf = Callable[[str, int], Health | Literal["own"] | None]
"""(service, revision) -> how to ask; "own": running is healthy unless the image has a check; None: not our service."""


@dataclass(slots=True)
class _Seen:
    target: str
    replica: ObservedReplica
    healthy: bool | None = None
    since: float | None = None


@dataclass(slots=True)
class _Load:
    """What the replicas of this cluster reserve on one host."""

    cpu_millis: int = 0
    memory_bytes: int = 0
    replicas: int = 0


class Observer:
    """Cache of hosts and replicas of all targets."""

    def __init__(
        self,
        targets: Mapping[str, Target],
        clock: SystemClock,
        on_change: Callable[[str], None],
        health_of: HealthOf,
        supervision: Supervision,
    ) -> None:
        self._targets = targets
        self._clock = clock
        self._on_change = on_change
        self._health_of = health_of
        self._supervision = supervision
        self._hosts: dict[str, dict[str, HostView]] = {name: {} for name in targets}
        self._host_tuples: dict[str, tuple[HostView, ...]] = {}
        self._seen: dict[str, _Seen] = {}
        self._load: dict[tuple[str, str], _Load] = {}
        self._by_service: dict[str, dict[str, _Seen]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.prober = Prober(on_change=self._health_turned, clock=clock.wall)

    async def open(self) -> None:
        """Open the targets, look once, then follow their events."""
        await asyncio.gather(*(target.open() for target in self._targets.values()))
        await asyncio.gather(*(self.look(name) for name in self._targets))
        for name in self._targets:
            self._tasks.append(self._supervision.start(self._follow(name), name=f"observe {name}"))

    async def close(self) -> None:
        """Stop following, let the targets go."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.prober.close()
        await asyncio.gather(*(target.close() for target in self._targets.values()), return_exceptions=True)

    def world(
        self,
        service: str,
        target: str,
        now: float,
        token: int,
        uncertain: frozenset[str],
        watched_since: float,
    ) -> World:
        """What the target's hosts show of the service."""
        found = self._by_service.get(service)
        replicas = tuple(self._presented(seen) for seen in found.values()) if found else ()
        return World(now, replicas, self._host_views(target), token, uncertain, watched_since)

    def replicas(self, service: str) -> tuple[ObservedReplica, ...]:
        """The service's replicas as they are seen now."""
        return tuple(self._presented(seen) for seen in self._by_service.get(service, {}).values())

    def services(self) -> frozenset[str]:
        """Services of which at least one replica is seen."""
        return frozenset(self._by_service)

    def hosts(self) -> dict[str, tuple[HostView, ...]]:
        """The hosts of every target."""
        return {target: self._host_views(target) for target in self._targets}

    async def look(self, target: str) -> None:
        """List every host of the target anew."""
        try:
            listings = await self._targets[target].list_replicas()
        except TargetError as error:
            log.warning("cannot list replicas", target=target, error=str(error))
            return
        for listing in listings:
            self._take_listing(target, listing)

    def watch_again(self, service: str) -> None:
        """The service is ours now, or its revisions changed: ask its replicas for their health as they want it."""
        for seen in self._by_service.get(service, {}).values():
            self._watch(seen)

    def note_done(self, target: str, outcome: Outcome) -> None:
        """Show at once what an action has surely done; the host's own event with the details follows."""
        action = outcome.action
        if outcome.result != "done" or isinstance(action, Resolve):
            return
        if isinstance(action, Create):
            self._take_replica(target, _as_created(action, outcome.id))
            return
        seen = self._seen.get(action.id)
        if seen is None:
            return
        if isinstance(action, Remove):
            self._forget(action.id)
        elif isinstance(action, StopReplica) and seen.replica.condition == "running":
            self._take_replica(target, replace(seen.replica, condition="exited"))
        elif isinstance(action, Start) and seen.replica.condition == "created":
            self._take_replica(target, replace(seen.replica, condition="running", started_at=self._clock.wall()))

    # From the targets.

    async def _follow(self, name: str) -> None:
        while True:
            try:
                async for change in self._targets[name].changes():
                    if change.replica is not None:
                        self._take_replica(name, change.replica)
                        self._on_change(change.replica.service)
                    elif change.removed is not None:
                        self._take_removal(change.removed)
                    else:
                        await self.look(name)
            except TargetError as error:
                log.warning("lost sight of the target, trying again", target=name, error=str(error))
            await asyncio.sleep(RECONNECT_S)

    def _take_listing(self, target: str, listing: HostListing) -> None:
        name = listing.host.name
        before = self._hosts[target].get(name)
        self._hosts[target][name] = listing.host
        self._host_tuples.pop(target, None)
        touched: set[str] = set()
        if not listing.error:
            present = {replica.id for replica in listing.replicas}
            for seen in list(self._seen.values()):
                if seen.target == target and seen.replica.host == name and seen.replica.id not in present:
                    touched.add(seen.replica.service)
                    self._forget(seen.replica.id)
            for replica in listing.replicas:
                if self._take_replica(target, replica):
                    touched.add(replica.service)
        if before is None or (before.known, before.condition) != (listing.host.known, listing.host.condition):
            touched |= {seen.replica.service for seen in self._seen.values() if seen.replica.host == name}
            touched.add("")
            if not listing.host.known:
                asyncio.get_running_loop().call_later(LOST_AFTER_S, self._host_may_be_lost, target, name)
        for service in sorted(touched):
            self._on_change(service)

    def _host_may_be_lost(self, target: str, name: str) -> None:
        host = self._hosts[target].get(name)
        if host is None or host.known:
            return
        self._host_tuples.pop(target, None)
        for service in sorted({s.replica.service for s in self._seen.values() if s.replica.host == name}):
            self._on_change(service)

    def _host_views(self, target: str) -> tuple[HostView, ...]:
        """The target's hosts, with what the replicas seen now reserve on them; worked out once for each change."""
        views = self._host_tuples.get(target)
        if views is None:
            views = tuple(self._host_view(target, host) for host in self._hosts.get(target, {}).values())
            self._host_tuples[target] = views
        return views

    def _host_view(self, target: str, host: HostView) -> HostView:
        silent_s = self._clock.wall() - host.since
        lost = host.condition == "suspect" and silent_s >= LOST_AFTER_S
        load = self._load.get((target, host.name), _Load())
        return replace(
            host,
            condition="lost" if lost else host.condition,
            reserved_cpu_millis=load.cpu_millis,
            reserved_memory_bytes=load.memory_bytes,
            replicas=load.replicas,
        )

    def _count(self, target: str, replica: ObservedReplica, sign: int) -> None:
        """Keep the sums of what is reserved by host; one that has ended reserves nothing."""
        if replica.condition == "exited":
            return
        load = self._load.setdefault((target, replica.host), _Load())
        load.cpu_millis += sign * replica.cpu_millis
        load.memory_bytes += sign * replica.memory_bytes
        load.replicas += sign
        self._host_tuples.pop(target, None)

    def _take_replica(self, target: str, replica: ObservedReplica) -> bool:
        known = self._seen.get(replica.id)
        if known is not None and known.replica == replica:
            return False
        if known is not None and known.replica.condition == "exited" and replica.condition != "exited":
            return False  # an older look that came late: a replica that has ended is never started again
        if known is None:
            known = self._seen[replica.id] = _Seen(target, replica)
            self._by_service.setdefault(replica.service, {})[replica.id] = known
        else:
            self._count(target, known.replica, -1)
        known.replica = replica
        self._count(target, replica, 1)
        self._watch(known)
        return True

    def _take_removal(self, replica_id: str) -> None:
        seen = self._seen.get(replica_id)
        if seen is not None:
            self._forget(replica_id)
            self._on_change(seen.replica.service)

    def _forget(self, replica_id: str) -> None:
        seen = self._seen.pop(replica_id)
        self._count(seen.target, seen.replica, -1)
        replicas = self._by_service[seen.replica.service]
        del replicas[replica_id]
        if not replicas:
            del self._by_service[seen.replica.service]
        self.prober.forget(replica_id)

    # Health.

    def _watch(self, seen: _Seen) -> None:
        replica = seen.replica
        health = self._health_of(replica.service, replica.revision)
        if replica.condition != "running" or health is None:
            self.prober.forget(replica.id)
            seen.healthy = seen.since = None
            return
        if isinstance(health, Health):
            address = replica.address.get(health.port) or ("" if health.port else next(iter(replica.address.values()), ""))
            if address:
                self.prober.watch(replica, health, address)
            if address or not replica.own_check:
                return
        healthy = replica.healthy if replica.own_check else True
        if healthy != seen.healthy:
            seen.since = (replica.started_at if not replica.own_check else None) or self._clock.wall()
        seen.healthy = healthy

    def _health_turned(self, replica_id: str, healthy: bool | None, since: float | None) -> None:  # noqa: FBT001 - the prober calls it so
        seen = self._seen.get(replica_id)
        if seen is not None:
            seen.healthy, seen.since = healthy, since
            self._on_change(seen.replica.service)

    def _presented(self, seen: _Seen) -> ObservedReplica:
        note, healthy = seen.replica.note, seen.healthy
        if seen.replica.own_check and seen.replica.healthy is False:
            healthy = False  # the image's own check has the last word when it says no
        elif healthy is False:
            note = self.prober.note(seen.replica.id) or note
        return replace(seen.replica, healthy=healthy, healthy_since=seen.since if healthy else None, note=note)


def _as_created(action: Create, replica_id: str) -> ObservedReplica:
    return ObservedReplica(
        id=replica_id,
        name=action.name,
        service=action.service,
        slot=action.slot,
        revision=action.revision,
        attempt=action.attempt,
        host=action.host,
        condition="created",
        generation=action.generation,
        token=action.token,
        cpu_millis=action.spec.resources.cpu_millis,
        memory_bytes=action.spec.resources.memory_bytes,
    )
