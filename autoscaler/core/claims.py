"""Whose place a replica may take where the pool is full: the victims of a claim. Called by `edit`. Pure.

Rules: only services whose priority is lower by `PRIORITY_GAP` give way, the lowest first, none below its least number
of replicas as far as the hosts show; on one host, so many as are needed and no more. Their owners decide for
themselves (`displacing`), by their own state; what is chosen here is only asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from autoscaler.core.placement import Asked, Room
from autoscaler.core.placement.filters import room_refusal, standing_refusal
from autoscaler.core.placement.ranking import Slot, distance
from autoscaler.core.rollout import replica_name
from autoscaler.core.world import HostView, Neighbours, ObservedReplica

PRIORITY_GAP = 10
"""A service gives way to one whose priority is higher by so much (hashicorp/nomad `scheduler/preemption.go`)."""

CLAIM_S = 120.0
"""How long a claim waits for its victims to go: longer than a drain and a stop together."""

HOSTS_MAX = 256
"""So many hosts are looked through for one claim: in a large pool the lowest of these give way."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A place on a host, once ``victims`` are gone from it."""

    host: str
    victims: tuple[ObservedReplica, ...]


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who claims: with which ``priority``, and whose place it (the service) has claimed already."""

    priority: int
    named: frozenset[str]
    neighbours: Neighbours

    @property
    def outranks_any(self) -> bool:
        """Whether there can be a service that gives way."""
        return self.priority - PRIORITY_GAP >= self.neighbours.lowest and bool(self.neighbours.tenants)

    def outranks(self, service: str) -> bool:
        """Whether that service gives way to this one."""
        theirs = self.neighbours.precedence.get(service)
        return theirs is not None and self.priority - PRIORITY_GAP >= theirs.priority


def canonical(replica: ObservedReplica) -> str:
    """What a replica is called in claims: as its labels say, however its container is called."""
    return replica_name(replica.service, replica.slot, replica.revision, replica.attempt)


def find_claim(hosts: Sequence[HostView], asked: Asked, room: Room, slot: Slot, claimant: Claimant) -> Claim | None:
    """The place whose victims are of the least priority, and fewest; None where nobody has to give way."""
    if not claimant.outranks_any:
        return None
    best: tuple[tuple[int, int, int, int], Claim] | None = None
    likely = [h for h in hosts if any(claimant.outranks(s) for s in h.services) and not standing_refusal(h, asked)]
    likely.sort(key=lambda host: distance(asked.service, host.name))
    for place, host in enumerate(likely[:HOSTS_MAX]):
        victims = _victims_on(host, asked, room, slot, claimant)
        if victims:
            highest = max(claimant.neighbours.precedence[v.service].priority for v in victims)
            cost = (highest, len(victims), room.by_host.get(host.name, 0), place)
            if best is None or cost < best[0]:
                best = (cost, Claim(host.name, victims))
    return best[1] if best is not None else None


def named_on(tenants: Iterable[ObservedReplica]) -> frozenset[str]:
    """Those that are to give way to some that wait on the same host."""
    return frozenset(name for tenant in tenants if tenant.condition == "created" for name in tenant.displaces)


def _victims_on(
    host: HostView, asked: Asked, room: Room, slot: Slot, claimant: Claimant
) -> tuple[ObservedReplica, ...]:
    """The least of those who run there, without whom there is room; none where there would be none."""
    tenants = claimant.neighbours.tenants.get(host.name, ())
    named = named_on(tenants) | claimant.named
    going = [t for t in tenants if canonical(t) in named]
    precedence = claimant.neighbours.precedence
    candidates = [
        t
        for t in tenants
        if t.service != asked.service and not t.stopping and claimant.outranks(t.service) and canonical(t) not in named
    ]
    candidates.sort(key=lambda t: (precedence[t.service].priority, -t.slot, -t.attempt, t.service))
    taken = Counter(name.rpartition(".s")[0] for name in claimant.named)
    chosen: list[ObservedReplica] = []
    for tenant in candidates:
        if _fits_without(host, asked, room, slot, [*going, *chosen]):
            break
        spare = claimant.neighbours.steady.get(tenant.service, 0) - taken[tenant.service]
        if spare > precedence[tenant.service].replicas_min:
            chosen.append(tenant)
            taken[tenant.service] += 1
    if not _fits_without(host, asked, room, slot, [*going, *chosen]):
        return ()
    for tenant in reversed(chosen):
        others = [t for t in chosen if t is not tenant]
        if _fits_without(host, asked, room, slot, [*going, *others]):
            chosen = others
    return tuple(chosen)


def _fits_without(host: HostView, asked: Asked, room: Room, slot: Slot, gone: Sequence[ObservedReplica]) -> bool:
    """Whether one more has room on the host once these are gone."""
    count = room.by_host.get(host.name, 0)
    return room_refusal(without(host, gone), asked, count, room.here(host.name), home=slot.home) is None


def is_overbooked(host: HostView) -> bool:
    """Whether more is reserved on the host than may be."""
    return host.is_exceeded_by(host.reserved_cpu_millis, host.reserved_memory_bytes)


def without(host: HostView, gone: Iterable[ObservedReplica]) -> HostView:
    """The host as it is once these are gone."""
    cpu = memory = 0
    for tenant in gone:
        cpu, memory = cpu + tenant.cpu_millis, memory + tenant.memory_bytes
    return replace(
        host,
        reserved_cpu_millis=host.reserved_cpu_millis - cpu,
        reserved_memory_bytes=host.reserved_memory_bytes - memory,
    )
