"""Who leaves a host where more is reserved than may be: replicas that give way to a service of higher priority, and the
younger of two that took the last room. Called by `decide` and convergence. Pure.

What a host holds is the only thing that owners share, so a claim is a replica that is created and not started: it holds
its room, names its victims, and starts when they are gone. Rules: an owner gives way by its own state, never below the
service's least number; the demand stays; what is available never moves because two took the last room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from autoscaler.core.claims import PRIORITY_GAP, canonical, is_overbooked, named_on, without
from autoscaler.core.draft import Draft, because
from autoscaler.core.edit import Edit
from autoscaler.core.facts import Reason
from autoscaler.core.rollout import replica_name
from autoscaler.core.sightings import label_of, observed_by_identity
from autoscaler.core.state import Displaced, Replica
from autoscaler.core.world import HostView, ObservedReplica, World

SETTLES_IN_S = 60.0
"""So long after it was placed a replica may turn out to have taken the last room second; later nobody moves for that,
as when a host's capacity is configured smaller."""


# The one that claims.


def fulfil_claims(draft: Draft, world: World) -> None:
    """Write down which claims have their room; what waited for it may start."""
    waiting = [replica for replica in draft.state.replicas if replica.displaces]
    if not waiting:
        return
    seen = observed_by_identity(world)
    ready = []
    for replica in waiting:
        sighted, host = seen.get((replica.slot, replica.revision, replica.attempt)), world.host(replica.host)
        if sighted is not None and host is not None and _has_room(_with_unseen(draft, host, seen), sighted, world):
            ready.append(replica)
    if not ready:
        return
    replicas = tuple(replace(r, displaces=(), created_at=draft.at) if r in ready else r for r in draft.state.replicas)
    told = ", ".join(f"{label_of(r)} on {r.host} ({', '.join(r.displaces)} gave way)" for r in ready)
    draft.add("acted", "schedule", because("room", f"room for {told}"[:1000], count=len(ready)), replicas=replicas)


def _with_unseen(draft: Draft, host: HostView, seen: Mapping[tuple[int, int, int], ObservedReplica]) -> HostView:
    """The host with what the service itself has placed there and it does not show yet."""
    specs = {kept.number: kept.spec.resources for kept in draft.state.revisions}
    unseen = [
        specs[r.revision]
        for r in draft.state.replicas
        if r.host == host.name
        and not r.displaces
        and r.revision in specs
        and (r.slot, r.revision, r.attempt) not in seen
    ]
    if not unseen:
        return host
    return replace(
        host,
        reserved_cpu_millis=host.reserved_cpu_millis + sum(one.cpu_millis for one in unseen),
        reserved_memory_bytes=host.reserved_memory_bytes + sum(one.memory_bytes for one in unseen),
    )


def _has_room(host: HostView, sighted: ObservedReplica, world: World) -> bool:
    """Whether it runs already, or the host has room for it; of several that wait there for the one that came first."""
    if sighted.condition != "created":
        return True
    if sighted.made_at is None:
        return False
    waiting = [t for t in world.neighbours.tenants.get(host.name, ()) if t.condition == "created" and t.displaces]
    mine = (sighted.made_at, canonical(sighted))
    later = [t for t in waiting if t.made_at is not None and (t.made_at, canonical(t)) > mine]
    return not is_overbooked(without(host, later))


# The one that gives way.


def give_way(edit: Edit) -> None:
    """Want no more what has to go: replicas in whose place one of higher priority waits, and the younger of two that
    took the last room."""
    for claim in edit.world.claims:
        theirs = edit.world.neighbours.precedence.get(claim.service)
        if theirs is None or theirs.priority < edit.settings.priority + PRIORITY_GAP:
            continue
        for replica in list(edit.replicas):
            if _name(edit, replica) in claim.displaces and _can_spare(edit, replica):
                edit.stop(replica)
                edit.displaced.append(Displaced(replica.slot, claim.service, edit.world.now))
                text = f"s{replica.slot} gives way to {claim.service}"
                edit.gave_way.append(f"{text} (priority {theirs.priority} over {edit.settings.priority})")
    for replica in list(edit.replicas):
        if _came_second(edit, replica):
            edit.stop(replica)
            told = f"{label_of(replica)} was the last to take room on {replica.host}, which is overbooked"
            edit.gave_way.append(told)


def _name(edit: Edit, replica: Replica) -> str:
    return replica_name(edit.state.service, replica.slot, replica.revision, replica.attempt)


def _can_spare(edit: Edit, replica: Replica) -> bool:
    """Whether the service keeps its least number without it, in all and of those that are available."""
    least = edit.settings.bounds.min
    if len(edit.steady) - 1 < least:
        return False
    return not edit.available(replica) or edit.available_count() - 1 >= least


def _came_second(edit: Edit, replica: Replica) -> bool:
    """Whether it is one of the youngest on an overbooked host, without which the others fit."""
    world = edit.world
    if replica.available_at is not None or world.now >= world.judged_from(replica.placed_at) + SETTLES_IN_S:
        return False
    host, sighted = world.host(replica.host), edit.sighted(replica)
    if host is None or sighted is None or not is_overbooked(host):
        return False
    return _name(edit, replica) in last_comers(host, world.neighbours.tenants.get(host.name, ()))


def last_comers(host: HostView, tenants: Sequence[ObservedReplica]) -> frozenset[str]:
    """The youngest replicas on the host without which the others fit; by its own clock, so that all owners agree. None
    while one of them has not told yet when it was made."""
    named = named_on(tenants)
    going = [t for t in tenants if canonical(t) in named or t.stopping]
    staying = [t for t in tenants if t not in going]
    if any(t.made_at is None for t in staying):
        return frozenset()
    leaving: list[ObservedReplica] = []
    for tenant in sorted(staying, key=lambda t: (t.made_at or 0.0, canonical(t)), reverse=True):
        left = without(host, [*going, *leaving])
        if not is_overbooked(left):
            break
        if _lightens(left, tenant):
            leaving.append(tenant)
    return frozenset(canonical(t) for t in leaving)


def _lightens(host: HostView, tenant: ObservedReplica) -> bool:
    """Whether it holds any of what the host has too little of."""
    lacks_cpu = bool(host.cpu_room) and host.reserved_cpu_millis > host.cpu_room
    return bool(tenant.cpu_millis) if lacks_cpu else bool(tenant.memory_bytes)


def displaced_still(edit: Edit) -> tuple[Displaced, ...]:
    """The slots that gave way and have found no place since."""
    if not edit.pending:
        return ()
    filled = {replica.slot for replica in edit.replicas}
    fresh = {one.slot for one in edit.displaced}
    known = [one for one in edit.state.displaced if one.slot not in fresh]
    return tuple(one for one in sorted([*known, *edit.displaced], key=lambda d: d.slot) if one.slot not in filled)


def pending_reason(text: str, displaced: Sequence[Displaced]) -> Reason | None:
    """Why something is pending: the filters' reasons, and who took its place."""
    if not text:
        return None
    if not displaced:
        return Reason("pending", text)
    by: dict[str, list[str]] = {}
    for one in displaced:
        by.setdefault(one.by, []).append(f"s{one.slot}")
    told = ", ".join(f"{' '.join(slots)} displaced by {service}" for service, slots in sorted(by.items()))
    return Reason("displaced", f"{told}; {text}")
