"""What is known of the targets' hosts: their last views, and what the replicas seen now reserve on them. No policy."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from autoscaler.core.world import Hosts, HostView, ObservedReplica
from autoscaler.engine.clock import SystemClock
from autoscaler.ports.target import HostListing

LOST_AFTER_S = 15.0
"""A suspect host is lost after three missed beats of 5 s; its replicas are made elsewhere only after host_grace."""


LOAD_OVER_S = 60.0
"""Live load is the mean of what was measured for so long."""


@dataclass(frozen=True, slots=True)
class _Used:
    """What one host's replicas used at one moment."""

    at: float
    cores: float
    memory_bytes: int


@dataclass(slots=True)
class _Load:
    """What the replicas of this cluster reserve on one host."""

    cpu_millis: int = 0
    memory_bytes: int = 0
    replicas: int = 0
    services: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class HostNews:
    """What a listing changed. ``turned``: whether the host can be asked; ``room``: more may be placed on it."""

    turned: bool
    room: bool


class HostsSeen:
    """The hosts of all targets."""

    def __init__(self, targets: Iterable[str], clock: SystemClock) -> None:
        self._clock = clock
        self._hosts: dict[str, dict[str, HostView]] = {name: {} for name in targets}
        self._views: dict[str, Hosts] = {}
        self._stale: dict[str, set[str]] = {name: set() for name in self._hosts}
        self._load: dict[tuple[str, str], _Load] = {}
        self._used: dict[tuple[str, str], deque[_Used]] = {}

    def take(self, target: str, listing: HostListing, freed: set[tuple[str, int]]) -> HostNews:
        """A new listing; ``freed``: ports that became free while it was made."""
        name, told = listing.host.name, listing.host
        before = self._hosts[target].get(name)
        if listing.error and before is not None:
            told = replace(before, known=told.known, condition=told.condition, since=told.since)
        elif listing.error:
            told = replace(told, known=False)
        elif freed:
            told = replace(told, ports_taken=told.ports_taken - {port for host, port in freed if host == name})
        self._hosts[target][name] = told
        self._stale[target].add(name)
        if before is None:
            return HostNews(turned=True, room=True)
        return HostNews(
            turned=(before.known, before.condition) != (told.known, told.condition), room=_has_more_room(before, told)
        )

    def change(self, target: str, before: ObservedReplica | None, after: ObservedReplica | None) -> bool:
        """A replica looks otherwise now (None: it is not there); whether that made room on its host."""
        was, now = _holding(before), _holding(after)
        for replica, sign in ((was, -1), (now, 1)):
            if replica is not None:
                self._count((target, replica.host), replica, sign)
                self._stale[target].add(replica.host)
        if was is None:
            return False
        freed = {port for _, port in ports_freed(before, after)}
        view = self._hosts[target].get(was.host)
        if view is not None and freed & view.ports_taken:
            self._hosts[target][was.host] = replace(view, ports_taken=view.ports_taken - freed)
            self._stale[target].add(was.host)
            return True
        return now is None

    def overbooked(self, target: str, name: str) -> bool:
        """Whether the replicas seen now reserve more on the host than may be."""
        host, load = self._hosts[target].get(name), self._load.get((target, name))
        if host is None or load is None:
            return False
        return host.is_exceeded_by(load.cpu_millis, load.memory_bytes)

    def refresh(self, target: str) -> None:
        """Time has passed: a suspect host may be lost now."""
        self._stale[target].update(name for name, host in self._hosts[target].items() if host.condition == "suspect")

    def use(self, target: str, used: Mapping[str, tuple[float, int]]) -> None:
        """What replicas use now: host -> cores and bytes. Of hosts that are not named nothing new is known."""
        now = self._clock.wall()
        for name, (cores, size) in used.items():
            lately = self._used.setdefault((target, name), deque())
            lately.append(_Used(now, cores, size))
            while lately[0].at < now - LOAD_OVER_S:
                lately.popleft()
            self._stale[target].add(name)

    def known(self, target: str, name: str) -> bool:
        """Whether the host's list of replicas is current."""
        host = self._hosts[target].get(name)
        return host is not None and host.known

    def views(self, target: str) -> Hosts:
        """The target's hosts, with what the replicas seen now reserve on them; a host that has not changed is the same
        object as before."""
        hosts, shown = self._hosts.get(target, {}), self._views.get(target)
        stale = self._stale.get(target)
        if shown is None or len(shown) != len(hosts):
            made = [self._view(target, host) for host in hosts.values()]
            shown = self._views[target] = Hosts(made, shown.memo if shown is not None else None)
        elif stale:
            fresh = {name: self._view(target, hosts[name]) for name in stale if name in hosts}
            shown = self._views[target] = shown.replaced(fresh)
        if stale:
            stale.clear()
        return shown

    def _view(self, target: str, host: HostView) -> HostView:
        silent_s = self._clock.wall() - host.since
        lost = host.condition == "suspect" and silent_s >= LOST_AFTER_S
        load = self._load.get((target, host.name), _Load())
        cpu_load, memory_load = self._mean_use(target, host)
        return replace(
            host,
            condition="lost" if lost else host.condition,
            reserved_cpu_millis=load.cpu_millis,
            reserved_memory_bytes=load.memory_bytes,
            replicas=load.replicas,
            services=frozenset(load.services),
            cpu_load=cpu_load,
            memory_load=memory_load,
        )

    def _mean_use(self, target: str, host: HostView) -> tuple[float | None, float | None]:
        """The shares of cpu and memory that its replicas used lately, in whole hundredths; None: not measured."""
        lately = self._used.get((target, host.name))
        if not lately:
            return None, None
        cores = sum(used.cores for used in lately) / len(lately)
        size = sum(used.memory_bytes for used in lately) / len(lately)
        cpu = round(1000 * cores / host.cpu_millis, 2) if host.cpu_millis else None
        return cpu, round(size / host.memory_bytes, 2) if host.memory_bytes else None

    def _count(self, place: tuple[str, str], replica: ObservedReplica, sign: int) -> None:
        load = self._load.setdefault(place, _Load())
        load.cpu_millis += sign * replica.cpu_millis
        load.memory_bytes += sign * replica.memory_bytes
        load.replicas += sign
        load.services[replica.service] += sign
        if load.services[replica.service] <= 0:
            del load.services[replica.service]
        if not load.replicas:
            del self._load[place]


def ports_freed(before: ObservedReplica | None, after: ObservedReplica | None) -> frozenset[tuple[str, int]]:
    """(host, port) of what the replica held and does not hold any more."""
    return _ports(_holding(before)) - _ports(_holding(after))


def _holding(replica: ObservedReplica | None) -> ObservedReplica | None:
    """The replica where it reserves anything: one that has ended does not."""
    return replica if replica is not None and replica.condition != "exited" else None


def _ports(replica: ObservedReplica | None) -> frozenset[tuple[str, int]]:
    if replica is None:
        return frozenset()
    numbers = (address.rpartition(":")[2] for address in replica.address.values())
    return frozenset((replica.host, int(number)) for number in numbers if number.isdecimal())


def _has_more_room(before: HostView, after: HostView) -> bool:
    return bool(
        before.ports_taken - after.ports_taken
        or before.lacks_images - after.lacks_images
        or (before.cpu_millis, before.memory_bytes, before.platform)
        != (after.cpu_millis, after.memory_bytes, after.platform)
    )
