"""What holds room on the hosts, whosever it is, and who waits for whom to go. Kept by the observer; no policy.

Owners know nothing of each other but this: a replica that is there holds its room, and one that is created and names
others is waiting for them to give way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from autoscaler.core.claims import canonical
from autoscaler.core.world import Neighbours, ObservedReplica, Precedence

K = TypeVar("K")


class NeighboursSeen:
    """The replicas of all targets that hold room, by host and by service."""

    def __init__(self, precedence: Mapping[str, Precedence]) -> None:
        self._precedence = precedence
        self._lowest = min((one.priority for one in precedence.values()), default=0)
        self._by_host: dict[tuple[str, str], dict[str, ObservedReplica]] = {}
        self._by_service: dict[tuple[str, str], dict[str, ObservedReplica]] = {}
        self._claims: dict[str, dict[str, ObservedReplica]] = {}
        self._named: dict[str, int] = {}
        self._neighbours: dict[str, Neighbours] = {}

    def change(self, target: str, before: ObservedReplica | None, after: ObservedReplica | None) -> frozenset[str]:
        """A replica looks otherwise now (None: it is not there); the services that it waits for, or did."""
        asked: set[str] = set()
        for replica, is_there in ((before, False), (after, True)):
            if replica is None or replica.condition == "exited":
                continue
            self._place(self._by_host, (target, replica.host), replica, is_there=is_there)
            self._place(self._by_service, (target, replica.service), replica, is_there=is_there)
            if replica.displaces and replica.condition == "created":
                asked |= self._claim(replica, is_there=is_there)
        return frozenset(asked)

    def claims(self, service: str) -> tuple[ObservedReplica, ...]:
        """Those that wait for replicas of the service to give way."""
        found = self._claims.get(service)
        return tuple(found[key] for key in sorted(found)) if found else ()

    def on(self, target: str, host: str) -> Sequence[ObservedReplica]:
        """What holds room on the host."""
        return tuple(self._by_host.get((target, host), {}).values())

    def hosts(self, target: str) -> Sequence[str]:
        """The hosts of the target on which something holds room."""
        return [host for of, host in self._by_host if of == target]

    def services(self, target: str) -> Sequence[str]:
        """The services that hold room on any host of the target."""
        return [service for of, service in self._by_service if of == target]

    def steady(self, target: str, service: str) -> int:
        """How many replicas of the service hold room, and nobody waits for them to go."""
        found = self._by_service.get((target, service), {})
        return sum(1 for r in found.values() if not r.stopping and canonical(r) not in self._named)

    def services_on(self, target: str, host: str) -> frozenset[str]:
        """The services that hold room on the host."""
        return frozenset(r.service for r in self._by_host.get((target, host), {}).values())

    def of(self, target: str) -> Neighbours:
        """All of it, read only where it is asked for."""
        found = self._neighbours.get(target)
        if found is None:
            found = Neighbours(_Tenants(self, target), _Steady(self, target), self._precedence, self._lowest)
            self._neighbours[target] = found
        return found

    def _claim(self, replica: ObservedReplica, *, is_there: bool) -> set[str]:
        services = {name.rpartition(".s")[0] for name in replica.displaces}
        for service in services:
            self._place(self._claims, service, replica, is_there=is_there)
        for name in replica.displaces:
            self._named[name] = self._named.get(name, 0) + (1 if is_there else -1)
            if not self._named[name]:
                del self._named[name]
        return services

    @staticmethod
    def _place(index: dict[K, dict[str, ObservedReplica]], key: K, replica: ObservedReplica, *, is_there: bool) -> None:
        found = index.setdefault(key, {})
        if is_there:
            found[replica.id] = replica
        else:
            found.pop(replica.id, None)
        if not found:
            del index[key]


class _Tenants(Mapping[str, Sequence[ObservedReplica]]):
    """Host -> what holds room there."""

    def __init__(self, seen: NeighboursSeen, target: str) -> None:
        self._seen, self._target = seen, target

    def __getitem__(self, host: str) -> Sequence[ObservedReplica]:
        return self._seen.on(self._target, host)

    def __iter__(self) -> Iterator[str]:
        return iter(self._seen.hosts(self._target))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Steady(Mapping[str, int]):
    """Service -> how many of its replicas hold room and are not to give way."""

    def __init__(self, seen: NeighboursSeen, target: str) -> None:
        self._seen, self._target = seen, target

    def __getitem__(self, service: str) -> int:
        return self._seen.steady(self._target, service)

    def __iter__(self) -> Iterator[str]:
        return iter(self._seen.services(self._target))

    def __len__(self) -> int:
        return sum(1 for _ in self)
