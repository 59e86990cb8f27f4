"""What is known of the targets' hosts: their last views, and what the replicas seen now reserve on them. No policy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from autoscaler.core.world import HostView, ObservedReplica
from autoscaler.engine.clock import SystemClock
from autoscaler.ports.target import HostListing

LOST_AFTER_S = 15.0
"""A suspect host is lost after three missed beats of 5 s; its replicas are made elsewhere only after host_grace."""


@dataclass(slots=True)
class _Load:
    """What the replicas of this cluster reserve on one host."""

    cpu_millis: int = 0
    memory_bytes: int = 0
    replicas: int = 0


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
        self._views: dict[str, tuple[HostView, ...]] = {}
        self._load: dict[tuple[str, str], _Load] = {}

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
        self._views.pop(target, None)
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
        self._views.pop(target, None)
        if was is None:
            return False
        freed = {port for _, port in ports_freed(before, after)}
        view = self._hosts[target].get(was.host)
        if view is not None and freed & view.ports_taken:
            self._hosts[target][was.host] = replace(view, ports_taken=view.ports_taken - freed)
            return True
        return now is None and bool(was.cpu_millis or was.memory_bytes)

    def refresh(self, target: str) -> None:
        """Time has passed: a suspect host may be lost now."""
        self._views.pop(target, None)

    def known(self, target: str, name: str) -> bool:
        """Whether the host's list of replicas is current."""
        host = self._hosts[target].get(name)
        return host is not None and host.known

    def views(self, target: str) -> tuple[HostView, ...]:
        """The target's hosts, with what the replicas seen now reserve on them; worked out once for each change."""
        views = self._views.get(target)
        if views is None:
            views = tuple(self._view(target, host) for host in self._hosts.get(target, {}).values())
            self._views[target] = views
        return views

    def _view(self, target: str, host: HostView) -> HostView:
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

    def _count(self, place: tuple[str, str], replica: ObservedReplica, sign: int) -> None:
        load = self._load.setdefault(place, _Load())
        load.cpu_millis += sign * replica.cpu_millis
        load.memory_bytes += sign * replica.memory_bytes
        load.replicas += sign
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
