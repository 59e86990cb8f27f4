"""Knows what the hosts show: a cache that the targets' lists fill and their events keep fresh, with health on top.

One for a member; every shard looks through `world`. A host that does not answer keeps its last replicas, marked
unknown: absence of information is not absence. What was told while a list was under way counts more than that list.
Tells ``on_change(service)`` whenever what a service shows may have changed, and ``on_change("")`` where hosts came,
went or have room again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import structlog

from autoscaler.core.actions import Create, Outcome, Remove, Resolve, Start, StopReplica, created_replica
from autoscaler.core.revision import Health
from autoscaler.core.world import HostView, ObservedReplica, Precedence, World
from autoscaler.engine.clock import SystemClock
from autoscaler.engine.hosts_seen import LOST_AFTER_S, HostsSeen, ports_freed
from autoscaler.engine.looks import Looks, Newer
from autoscaler.engine.neighbours_seen import NeighboursSeen
from autoscaler.engine.prober import Prober
from autoscaler.engine.supervision import Supervision
from autoscaler.errors import TargetError
from autoscaler.ports.target import HostListing, Target, Usage

RECONNECT_S = 1.0

ROOM_TOLD_AFTER_S = 0.5
"""Room that many replicas make one after the other is told of once."""

log = structlog.get_logger(__name__)

HealthOf = Callable[[str, int], Health | Literal["own"] | None]
"""(service, revision) -> how to ask; "own": running is healthy unless the image has a check; None: not our service."""

_STEPS = {"created": 0, "running": 1, "exited": 2}


@dataclass(slots=True)
class _Seen:
    target: str
    replica: ObservedReplica
    healthy: bool | None = None
    since: float | None = None
    shown: ObservedReplica | None = None
    shown_of: ObservedReplica | None = None
    """What was last presented, and of which look at the replica: nothing is made anew while nothing has changed."""


class Observer:
    """Cache of hosts and replicas of all targets."""

    def __init__(
        self,
        targets: Mapping[str, Target],
        clock: SystemClock,
        on_change: Callable[[str], None],
        health_of: HealthOf,
        supervision: Supervision,
        precedence: Mapping[str, Precedence] = MappingProxyType({}),
    ) -> None:
        self._targets = targets
        self._clock = clock
        self._on_change = on_change
        self._health_of = health_of
        self._supervision = supervision
        self._hosts = HostsSeen(targets, clock)
        self._neighbours = NeighboursSeen(precedence)
        self._looks = Looks(targets, self._take_listing, supervision)
        self._seen: dict[str, _Seen] = {}
        self._by_service: dict[str, dict[str, _Seen]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._room_timer: asyncio.TimerHandle | None = None
        self.prober = Prober(on_change=self._health_turned, clock=clock.wall)

    async def open(self) -> None:
        """Open the targets, begin to follow their events, and look once."""
        await asyncio.gather(*(target.open() for target in self._targets.values()))
        for name in self._targets:
            self._tasks.append(self._supervision.start(self._follow(name), name=f"observe {name}"))
        # What happens while the hosts are listed must not be missed: the followers begin first.
        await asyncio.sleep(0)
        await asyncio.gather(*(self.look(name) for name in self._targets))

    async def close(self) -> None:
        """Stop following, let the targets go."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._looks.close()
        if self._room_timer is not None:
            self._room_timer.cancel()
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
        hosts, neighbours = self._hosts.views(target), self._neighbours
        claims = neighbours.claims(service)
        return World(
            now, replicas, hosts, token, uncertain, watched_since, neighbours=neighbours.of(target), claims=claims
        )

    def replicas(self, service: str) -> tuple[ObservedReplica, ...]:
        """The service's replicas as they are seen now."""
        return tuple(self._presented(seen) for seen in self._by_service.get(service, {}).values())

    def services(self) -> frozenset[str]:
        """Services of which at least one replica is seen."""
        return frozenset(self._by_service)

    def hosts(self) -> dict[str, tuple[HostView, ...]]:
        """The hosts of every target."""
        return {target: self._hosts.views(target) for target in self._targets}

    def note_usage(self, target: str, usages: Iterable[Usage]) -> None:
        """What the target's replicas use now, for placing by live load. It makes nobody decide anew."""
        where = {seen.replica.name: seen.replica.host for seen in self._seen.values() if seen.target == target}
        used: dict[str, tuple[float, int]] = {}
        for usage in usages:
            host = where.get(usage.name)
            if host is not None:
                cores, size = used.get(host, (0.0, 0))
                used[host] = (cores + usage.cpu_cores, size + usage.memory_bytes)
        self._hosts.use(target, used)

    async def look(self, target: str, host: str = "") -> None:
        """List a host anew, or every host of the target; returns when a listing that began after this call is there."""
        await self._looks.look(target, host)

    def watch_again(self, service: str) -> None:
        """The service is ours now or no longer, or its revisions changed: ask its replicas for their health as they
        want it, or not at all. Calling it again changes nothing."""
        turned = False
        for seen in self._by_service.get(service, {}).values():
            before = seen.healthy
            self._watch(seen)
            turned = turned or seen.healthy is not before
        if turned:
            self._on_change(service)

    def watch_all(self, services: Iterable[str]) -> None:
        """`watch_again` for each of these services of which anything is seen."""
        for service in self._by_service.keys() & frozenset(services):
            self.watch_again(service)

    def note_done(self, target: str, outcome: Outcome) -> None:
        """Show at once what an action has surely done; the host's own event with the details follows."""
        action = outcome.action
        if outcome.result != "done" or isinstance(action, Resolve):
            return
        if isinstance(action, Create):
            if outcome.id not in self._seen:
                self._tell(target, created_replica(action, outcome.id))
            return
        seen = self._seen.get(action.id)
        if isinstance(action, Remove):
            self._tell_removal(target, action.id)
        elif seen is None:
            return
        elif isinstance(action, StopReplica) and seen.replica.condition == "running":
            self._tell(target, replace(seen.replica, condition="exited"))
        elif isinstance(action, Start) and seen.replica.condition == "created":
            self._tell(target, replace(seen.replica, condition="running", started_at=self._clock.wall()))

    # From the targets.

    async def _follow(self, name: str) -> None:
        follows_anew = False
        while True:
            try:
                changes = self._targets[name].changes()
                if follows_anew:
                    self._looks.soon(name)
                async for change in changes:
                    if change.replica is not None:
                        if not _is_late(self._seen.get(change.replica.id), change.replica):
                            self._tell(name, change.replica)
                            self._on_change(change.replica.service)
                    elif change.removed is not None:
                        seen = self._seen.get(change.removed)
                        self._tell_removal(name, change.removed)
                        if seen is not None:
                            self._on_change(seen.replica.service)
                    else:
                        self._looks.soon(name, change.host)
            except TargetError as error:
                log.warning("lost sight of the target, trying again", target=name, error=str(error))
            follows_anew = True
            await asyncio.sleep(RECONNECT_S)

    def _take_listing(self, target: str, listing: HostListing, newer: Newer) -> None:
        name = listing.host.name
        news = self._hosts.take(target, listing, newer.freed)
        touched: set[str] = set()
        if not listing.error:
            present = {replica.id for replica in listing.replicas} | newer.replicas
            for seen in list(self._seen.values()):
                if seen.target == target and seen.replica.host == name and seen.replica.id not in present:
                    touched.add(seen.replica.service)
                    self._forget(seen.replica.id)
            for replica in listing.replicas:
                if replica.id not in newer.replicas and self._take_replica(target, replica):
                    touched.add(replica.service)
        if news.turned:
            touched |= self._services_on(target, name)
            if self._hosts.known(target, name):
                log.info("a host answers", target=target, host=name, condition=listing.host.condition)
            else:
                log.warning("a host does not answer", target=target, host=name, why=listing.error)
                asyncio.get_running_loop().call_later(LOST_AFTER_S, self._host_may_be_lost, target, name)
        if news.turned or news.room:
            touched.add("")
        for service in sorted(touched):
            self._on_change(service)

    def _host_may_be_lost(self, target: str, name: str) -> None:
        if self._hosts.known(target, name):
            return
        self._hosts.refresh(target)
        for service in sorted(self._services_on(target, name)):
            self._on_change(service)

    def _services_on(self, target: str, host: str) -> set[str]:
        on_host = (seen for seen in self._seen.values() if (seen.target, seen.replica.host) == (target, host))
        return {seen.replica.service for seen in on_host}

    def _tell(self, target: str, replica: ObservedReplica) -> None:
        """Take what an event or an outcome says: it counts more than a look that began before."""
        known = self._seen.get(replica.id)
        self._looks.told(target, replica.id, ports_freed(known.replica if known is not None else None, replica))
        self._take_replica(target, replica)

    def _tell_removal(self, target: str, replica_id: str) -> None:
        seen = self._seen.get(replica_id)
        self._looks.told(target, replica_id, ports_freed(seen.replica if seen is not None else None, None))
        if seen is not None:
            self._forget(replica_id)

    def _take_replica(self, target: str, replica: ObservedReplica) -> bool:
        known = self._seen.get(replica.id)
        if known is not None and known.replica == replica:
            return False
        before = known.replica if known is not None else None
        if known is None:
            known = self._seen[replica.id] = _Seen(target, replica)
            self._by_service.setdefault(replica.service, {})[replica.id] = known
        known.replica = replica
        self._count(target, before, replica)
        self._watch(known)
        return True

    def _forget(self, replica_id: str) -> None:
        seen = self._seen.pop(replica_id)
        replicas = self._by_service[seen.replica.service]
        del replicas[replica_id]
        if not replicas:
            del self._by_service[seen.replica.service]
        self.prober.forget(replica_id)
        self._count(seen.target, seen.replica, None)

    def _count(self, target: str, before: ObservedReplica | None, after: ObservedReplica | None) -> None:
        """What the host holds is another now: tell those who wait for room, and those who have to make it."""
        host = after.host if after is not None else before.host if before is not None else ""
        was_overbooked = self._hosts.overbooked(target, host)
        if self._hosts.change(target, before, after):
            self._room_made()
        touched = set(self._neighbours.change(target, before, after))
        if was_overbooked or self._hosts.overbooked(target, host):
            touched |= self._neighbours.services_on(target, host)
        for service in sorted(touched):
            self._on_change(service)

    def _room_made(self) -> None:
        """What found no host may find one now: tell it soon, once for all that ends meanwhile."""
        if self._room_timer is None:
            self._room_timer = asyncio.get_running_loop().call_later(ROOM_TOLD_AFTER_S, self._tell_room)

    def _tell_room(self) -> None:
        self._room_timer = None
        self._on_change("")

    # Health.

    def _watch(self, seen: _Seen) -> None:
        replica = seen.replica
        health = self._health_of(replica.service, replica.revision)
        if replica.condition != "running" or health is None:
            self.prober.forget(replica.id)
            seen.healthy = seen.since = None
            return
        if replica.healthy is False and not replica.own_check:
            # The target itself knows that it cannot serve, as when it is paused: there is nothing to ask.
            self.prober.forget(replica.id)
            seen.healthy, seen.since = False, None
            return
        if isinstance(health, Health) and (health.http or health.tcp):
            address = replica.address.get(health.port) or (
                "" if health.port else next(iter(replica.address.values()), "")
            )
            if address:
                self.prober.watch(replica, health, address)
            if address or not replica.own_check:
                return
        self.prober.forget(replica.id)
        healthy = replica.healthy if replica.own_check else True
        if healthy != seen.healthy:
            now = self._clock.wall()
            began = replica.started_at if not replica.own_check else None
            # A host's clock that runs ahead says nothing of our time.
            seen.since = now if began is None else min(began, now)
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
        since, shown = seen.since if healthy else None, seen.shown
        if shown is None or seen.shown_of is not seen.replica or (shown.healthy, shown.healthy_since, shown.note) != (
            healthy, since, note
        ):  # fmt: skip
            shown = seen.shown = replace(seen.replica, healthy=healthy, healthy_since=since, note=note)
            seen.shown_of = seen.replica
        return shown


def _is_late(known: _Seen | None, told: ObservedReplica) -> bool:
    """Whether an event tells of a step that is over. One that was started again by hand has a newer start."""
    if known is None or _STEPS[told.condition] >= _STEPS[known.replica.condition]:
        return False
    begun_before, begun = known.replica.started_at, told.started_at
    return begun is None or (begun_before is not None and begun <= begun_before)
