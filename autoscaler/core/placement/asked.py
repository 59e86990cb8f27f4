"""What is to be placed, and what the service has where already. Values of one decision. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from autoscaler.core.revision import Resources, RevisionSpec
from autoscaler.core.settings import PlacementRules
from autoscaler.core.state import Replica

MICRO = 1_000_000
"""Scores are whole millionths: each scorer's value is rounded to them once, half up, and nothing after that is rounded,
so that no order of adding decides anything."""

NO_SCORES: Mapping[str, Mapping[str, int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Asked:
    """One more replica of a service.

    ``demand``: how many the service wants in all. ``failures``: host -> failures of this service and revision lately.
    ``scores``: label of a `score_host` plugin -> host -> millionths.
    """

    service: str
    spec: RevisionSpec
    rules: PlacementRules
    demand: int = 1
    failures: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    scores: Mapping[str, Mapping[str, int]] = field(default_factory=lambda: NO_SCORES)

    @property
    def fixed_ports(self) -> frozenset[int]:
        """The host ports that it needs for itself."""
        return frozenset(port.host for _, port in self.spec.ports if port.host is not None)


@dataclass(slots=True)
class Reserved:
    """What replicas that a host does not show yet will reserve there."""

    replicas: int = 0
    cpu_millis: int = 0
    memory_bytes: int = 0


NOTHING = Reserved()


@dataclass(slots=True)
class Room:
    """Replicas of the service by host: all wanted ones, and those (``fresh``) that the hosts do not show yet.

    ``version`` grows with each change that a `Placer` has not made itself.
    """

    by_host: Counter[str] = field(default_factory=Counter)
    fresh: dict[str, Reserved] = field(default_factory=dict)
    version: int = 0

    def take(self, host: str, resources: Resources, *, shown: bool = False) -> None:
        """One more replica on the host; ``shown``: its host reserves for it already."""
        self.by_host[host] += 1
        if not shown:
            reserved = self.fresh.setdefault(host, Reserved())
            reserved.replicas += 1
            reserved.cpu_millis += resources.cpu_millis
            reserved.memory_bytes += resources.memory_bytes
        self.version += 1

    def leave(self, host: str) -> None:
        """One replica less is wanted there; what it reserves it holds until it is gone."""
        self.by_host[host] -= 1
        self.version += 1

    def here(self, host: str) -> Reserved:
        """What is still to come on the host."""
        return self.fresh.get(host, NOTHING)


def room_of(
    replicas: Iterable[Replica],
    unseen: Iterable[Replica] = (),
    resources_of: Callable[[int], Resources] = lambda _: Resources(),
) -> Room:
    """The room as the service's wanted replicas fill it; ``unseen`` are those that no host has reserved for so far,
    ``resources_of`` says what a revision's replica reserves."""
    room = Room(Counter(replica.host for replica in replicas))
    for replica in unseen:
        room.take(replica.host, resources_of(replica.revision))
        room.by_host[replica.host] -= 1
    return room
