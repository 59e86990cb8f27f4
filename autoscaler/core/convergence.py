"""Edits the list of wanted replicas towards demand and rollout, one safe step at a time. Called by `decide`. Pure.

Arithmetic of docs/design/delivery.md: with demand D, surge S and unavailability U, never more than D + S wanted, never
fewer than D - U available by our own doing; starts first, then stops with the started ones counted; lowest slot first.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from autoscaler.core.draft import Draft, because
from autoscaler.core.facts import Reason
from autoscaler.core.placement import Room, choose_host, room_of
from autoscaler.core.rollout import Advancing, Halted, Held, Preflight, Retired, Retiring, RollingBack
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.sightings import Failure, is_available, is_dispensable, is_serving, observed_by_identity
from autoscaler.core.state import Replica, ServiceState
from autoscaler.core.world import ObservedReplica, World

ROUNDS_MAX = 4


@dataclass(slots=True)
class _Edit:
    """The wanted list in the making."""

    state: ServiceState
    settings: ServiceSettings
    world: World
    replicas: list[Replica]
    attempts: int
    room: Room
    seen: dict[tuple[int, int, int], ObservedReplica]
    started: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    pending: str = ""

    def available(self, replica: Replica) -> bool:
        return is_available(replica, self.sighted(replica))

    def sighted(self, replica: Replica) -> ObservedReplica | None:
        return self.seen.get((replica.slot, replica.revision, replica.attempt))

    def start(self, slot: int, revision: int) -> bool:
        kept = self.state.revision_numbered(revision)
        if kept is None:
            self.pending = f"revision {revision} is no longer kept"
            return False
        host, why = choose_host(self.world.hosts, self.state.service, kept.spec, self.settings.placement, self.room)
        if host is None:
            self.pending = why
            return False
        self.attempts += 1
        self.replicas.append(Replica(slot, revision, self.attempts, host, self.world.now))
        self.room.by_host[host] += 1
        self.room.fresh[host] += 1
        self.started.append(f"s{slot}.r{revision}.{self.attempts} on {host}")
        return True

    def stop(self, replica: Replica) -> None:
        self.replicas.remove(replica)
        self.stopped.append(f"s{replica.slot}.r{replica.revision}.{replica.attempt} on {replica.host}")


def surge_and_unavailable(settings: ServiceSettings, demand: int, stop_first: bool) -> tuple[int, int]:
    """(S, U) for a rolling update at this demand: surge rounded up, unavailable rounded down; both 0 makes U 1.

    Source: kubernetes/kubernetes `pkg/controller/deployment/util/deployment_util.go` (ResolveFenceposts).
    """
    rules = settings.update
    surge = 0 if stop_first else rules.max_surge.up(demand)
    unavailable = min(demand, rules.max_unavailable.down(demand))
    if surge == 0 and unavailable == 0:
        unavailable = min(1, demand)
    return surge, unavailable


def stops_first(state: ServiceState, settings: ServiceSettings, target: int) -> bool:
    """Whether the old replica of a slot goes before the new one comes: as configured; auto: a host port or volume pins it."""
    if settings.update.order != "auto":
        return settings.update.order == "stop_first"
    revision = state.revision_numbered(target)
    return revision is not None and revision.spec.pins_host


def converge(draft: Draft, settings: ServiceSettings, world: World, lost: list[Failure]) -> None:
    """Record the next edit of the wanted list, if one is due; ``lost`` are the failures just noted."""
    state = draft.state
    edit = _Edit(
        state,
        settings,
        world,
        list(state.replicas),
        state.attempts,
        room_of(state.replicas),
        observed_by_identity(world),
    )
    rollout = state.rollout
    moved = rollout
    match rollout:
        case Retiring() | Retired():
            for replica in state.replicas:
                edit.stop(replica)
        case Preflight() | Held():
            _remake_in_kind(edit, rollout, lost)
        case Advancing():
            moved = _advance(edit, rollout)
        case RollingBack(target=target):
            _replace_all(edit, target, going_back=True)
        case Halted():
            _replace_all(edit, state.revision, going_back=True)
        case _:
            _keep_up(edit)
    _record(draft, edit, moved)


def _record(draft: Draft, edit: _Edit, moved: object) -> None:
    state = draft.state
    pending = Reason("pending", edit.pending) if edit.pending else None
    changes: dict[str, Any] = {}
    if edit.started or edit.stopped:
        ordered = sorted(edit.replicas, key=lambda r: (r.slot, r.revision, r.attempt))
        changes.update(replicas=tuple(ordered), attempts=edit.attempts)
    if pending != state.pending:
        changes["pending"] = pending
    if moved != state.rollout:
        changes["rollout"] = moved
    if not changes:
        return
    parts = [f"start {', '.join(edit.started)}"] if edit.started else []
    parts += [f"stop {', '.join(edit.stopped)}"] if edit.stopped else []
    parts += [f"pending: {edit.pending}"] if pending is not None else []
    code = "start" if edit.started and not edit.stopped else "stop" if edit.stopped and not edit.started else "replace"
    if not edit.started and not edit.stopped:
        code = "pending" if pending is not None else "split"
    text = "; ".join(parts)[:1000] or "split the demand over both revisions"
    draft.add("acted", "schedule", because(code, text, started=len(edit.started), stopped=len(edit.stopped)), **changes)


def _keep_up(edit: _Edit) -> None:
    """One revision is wanted and nothing is in flight: as many replicas as the demand."""
    state = edit.state
    demand, target = state.demand, state.revision
    if target == 0:
        return
    if any(r.revision != target for r in edit.replicas):
        _replace_all(edit, target, going_back=True)
        return
    excess = len(edit.replicas) - demand
    for victim in _victims(edit, edit.replicas, excess):
        edit.stop(victim)
    current = state.current
    proven = current is not None and current.standing != "unproven"
    limit = demand
    if not proven and not any(is_serving(edit.sighted(r)) and _healthy(edit, r) for r in edit.replicas):
        limit = min(demand, max(1, edit.settings.update.first_batch) if edit.settings.update.first_batch else demand)
    _fill(edit, target, limit - len(edit.replicas))


def _healthy(edit: _Edit, replica: Replica) -> bool:
    sighted = edit.sighted(replica)
    return sighted is not None and sighted.healthy is True


def _fill(edit: _Edit, target: int, count: int) -> int:
    """Start up to ``count`` replicas of ``target`` in its lowest free slots that are not backing off; how many it started."""
    used = {r.slot for r in edit.replicas if r.revision == target}
    backing_off = {s.slot for s in edit.state.setbacks if s.retry_at > edit.world.now}
    started = 0
    for slot in range(edit.state.demand):
        if started >= count:
            break
        if slot in used or slot in backing_off:
            continue
        if not edit.start(slot, target):
            break
        started += 1
    return started


def _victims(edit: _Edit, among: list[Replica], count: int) -> list[Replica]:
    """Who goes first: not created, not available, on a host that drains, on the host with most of the service; ties: highest slot."""
    chosen: list[Replica] = []
    candidates = list(among)
    crowd = Counter(r.host for r in candidates)
    draining = {h.name for h in edit.world.hosts if h.condition == "draining"}
    for _ in range(min(max(0, count), len(candidates))):
        victim = min(
            candidates,
            key=lambda r: (
                r.created_at is not None,
                edit.available(r),
                r.host not in draining,
                -crowd[r.host],
                -r.slot,
            ),
        )
        candidates.remove(victim)
        crowd[victim.host] -= 1
        chosen.append(victim)
    return chosen


def _remake_in_kind(edit: _Edit, rollout: Preflight | Held, lost: list[Failure]) -> None:
    """The rollout stands still: what was lost comes back as the revision it was (a revision that failed by its own fault
    in this rollout does not: the base takes its place), and the demand is filled or cut."""
    held = rollout.resumed if isinstance(rollout, Held) else None
    base = held.base if held is not None else rollout.base if isinstance(rollout, Preflight) else None
    fallback = base or edit.state.revision
    for failure in lost:
        own_fault = failure.blame == "revision" and held is not None and failure.replica.revision == held.target
        if len(edit.replicas) < edit.state.demand:
            _start_in_free_slot(edit, fallback if own_fault and base else failure.replica.revision)
    missing = edit.state.demand - len(edit.replicas)
    present = Counter(r.revision for r in edit.replicas)
    kind = fallback if not present or fallback in present else present.most_common(1)[0][0]
    for _ in range(max(0, missing)):
        if kind == 0 or not _start_in_free_slot(edit, kind):
            break
    soaking = held is not None and not isinstance(held, Advancing)
    surge, _ = surge_and_unavailable(edit.settings, edit.state.demand, stop_first=soaking)
    for victim in _victims(edit, list(edit.replicas), len(edit.replicas) - edit.state.demand - surge):
        edit.stop(victim)


def _start_in_free_slot(edit: _Edit, revision: int) -> bool:
    used = {r.slot for r in edit.replicas}
    backing_off = {s.slot for s in edit.state.setbacks if s.retry_at > edit.world.now}
    slot = next((s for s in range(edit.state.demand) if s not in used and s not in backing_off), None)
    return slot is not None and edit.start(slot, revision)


def _advance(edit: _Edit, rollout: Advancing) -> Advancing:
    demand = edit.state.demand
    if demand != rollout.demand:
        _split_demand(edit, rollout)
        rollout = replace(rollout, demand=demand)
    _replace_all(edit, rollout.target, going_back=False)
    return rollout


def _split_demand(edit: _Edit, rollout: Advancing) -> None:
    """Share a demand that changed mid-rollout over both revisions in proportion to what each has; ties go to the older.

    T' = D' + clamp(total - D, -U', S'); a revision with a replica failed or late now does not grow, its share goes to
    the other. Source: kubernetes/kubernetes `pkg/controller/deployment` (proportional scaling).
    """
    demand = edit.state.demand
    surge, unavailable = surge_and_unavailable(
        edit.settings, demand, stops_first(edit.state, edit.settings, rollout.target)
    )
    new = [r for r in edit.replicas if r.revision == rollout.target]
    old = [r for r in edit.replicas if r.revision != rollout.target]
    total = len(new) + len(old)
    wanted = demand + max(-unavailable, min(surge, total - rollout.demand))
    new_share = _new_share(len(new), len(old), wanted)
    sick = bool(rollout.failed) or any(not edit.available(r) for r in new)
    if sick and new_share > len(new) and old:
        new_share = len(new)
    for victim in _victims(edit, new, len(new) - new_share):
        edit.stop(victim)
    for victim in _victims(edit, old, len(old) - (wanted - new_share)):
        edit.stop(victim)
    _grow(edit, rollout.target, new_share - len(new))
    if old and rollout.base is not None:
        base = rollout.base if any(r.revision == rollout.base for r in old) else old[0].revision
        _grow(edit, base, wanted - new_share - len(old))


def _new_share(new: int, old: int, wanted: int) -> int:
    """The new revision's part of ``wanted`` by largest remainder, ties to the older."""
    total = new + old
    if total == 0:
        return 0
    whole, remainder = divmod(wanted * new, total)
    old_whole, old_remainder = divmod(wanted * old, total)
    left = wanted - whole - old_whole
    return whole + (1 if left > 0 and remainder > old_remainder else 0)


def _grow(edit: _Edit, revision: int, count: int) -> None:
    """Start ``count`` more of a revision, in slots free of any replica first, above the demand where there are none."""
    slot = 0
    for _ in range(max(0, count)):
        used = {r.slot for r in edit.replicas}
        while slot in used:
            slot += 1
        if not edit.start(slot, revision):
            return


def _replace_all(edit: _Edit, target: int, *, going_back: bool) -> None:
    """Move towards D replicas of ``target`` and none of another; going back spares healthy ones until their successors stand."""
    rules, demand = edit.settings.update, edit.state.demand
    stop_first = stops_first(edit.state, edit.settings, target)
    surge, unavailable = surge_and_unavailable(edit.settings, demand, stop_first)
    if going_back and not stop_first:
        surge, unavailable = rules.rollback_max_surge.up(demand), 0
    for _ in range(ROUNDS_MAX):
        changed = _start_round(edit, target, demand + surge, going_back=going_back)
        changed += _stop_round(edit, target, demand - unavailable, going_back=going_back)
        if not changed:
            return


def _start_round(edit: _Edit, target: int, total_max: int, *, going_back: bool) -> int:
    rules, demand = edit.settings.update, edit.state.demand
    new = [r for r in edit.replicas if r.revision == target]
    count = min(total_max - len(edit.replicas), demand - len(new))
    if not going_back:
        unproven = sum(1 for r in new if not edit.available(r))
        if rules.max_parallel:
            count = min(count, rules.max_parallel - unproven)
        if rules.first_batch and not any(edit.available(r) for r in new):
            count = min(count, rules.first_batch - len(new))
    return _fill(edit, target, count) if count > 0 else 0


def _stop_round(edit: _Edit, target: int, available_min: int, *, going_back: bool) -> int:
    demand = edit.state.demand
    new = [r for r in edit.replicas if r.revision == target]
    stops: list[Replica] = _victims(edit, new, len(new) - demand)
    old = sorted((r for r in edit.replicas if r.revision != target), key=lambda r: r.slot)
    new_available = sum(1 for r in new if r not in stops and edit.available(r))
    cap = len(edit.replicas) - len(stops) - available_min - (len(new) - len(stops) - new_available)
    for replica in (r for r in old if not edit.available(r)):
        if is_dispensable(replica, edit.sighted(replica)) if going_back else cap > 0:
            stops.append(replica)
            cap -= 1
    spare = new_available + sum(1 for r in old if edit.available(r)) - available_min
    covered = {r.slot for r in new if edit.available(r)}
    healthy = sorted((r for r in old if edit.available(r)), key=lambda r: (r.slot not in covered, r.slot))
    stops += healthy[: max(0, min(spare, len(healthy) if going_back else cap))]
    for replica in stops:
        edit.stop(replica)
    return len(stops)
