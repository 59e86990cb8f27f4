"""Edits the list of wanted replicas towards demand and rollout, one safe step at a time. Called by `decide`. Pure.

Arithmetic of docs/design/delivery.md: with demand D, surge S and unavailability U, never more than D + S wanted, never
fewer than D - U available by our own doing; starts first, then stops with the started ones counted; lowest slot first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from autoscaler.core.displacing import displaced_still, give_way, pending_reason
from autoscaler.core.draft import Draft, because
from autoscaler.core.edit import Edit, edit_of, victims
from autoscaler.core.holding import composition
from autoscaler.core.leaving import leaving_hosts, report_stuck
from autoscaler.core.rebalance import is_moving, rebalance
from autoscaler.core.replacing import (
    approach,
    counts_wanted,
    fill,
    replace_all,
    standby_aim,
    step_aim,
    step_composition,
)
from autoscaler.core.returning import take_back
from autoscaler.core.rollout import (
    STANDBY_MIN_S,
    Advancing,
    Halted,
    Held,
    Judging,
    Preflight,
    Retired,
    Retiring,
    RollingBack,
    Rollout,
    Soaking,
    is_stepping,
)
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.sightings import Failure
from autoscaler.core.split import split_demand, stops_first, surge_and_unavailable
from autoscaler.core.state import Replica
from autoscaler.core.world import World


def converge(draft: Draft, settings: ServiceSettings, world: World, lost: Sequence[Failure]) -> None:
    """Record the next edit of the wanted list, if one is due; ``lost`` are the failures just noted."""
    edit = edit_of(draft.state, settings, world, lost)
    take_back(edit)
    give_way(edit)
    rollout = draft.state.rollout
    moved: Rollout = rollout
    match rollout:
        case Retiring() | Retired():
            edit.stop_all(draft.state.replicas)
        case Preflight(after=Halted()) | Halted():
            _repair(edit, lost)
        case Preflight():
            _stand_by(edit, rollout, lost)
        case Held():
            moved = _stand_still(edit, rollout)
        case Advancing():
            moved = _advance(edit, rollout)
        case Judging():
            moved = _judge(edit, rollout)
        case Soaking(standby=True):
            moved = _stand_beside(edit, rollout)
        case RollingBack(target=target):
            replace_all(edit, target, going_back=True)
        case _:
            _keep_up(edit)
    _record(draft, edit, moved)
    report_stuck(draft, edit)


def _record(draft: Draft, edit: Edit, moved: Rollout) -> None:
    state = draft.state
    displaced = displaced_still(edit)
    pending = pending_reason(edit.pending, displaced)
    changes: dict[str, Any] = {}
    if edit.started or edit.stopped or edit.returned:
        ordered = sorted(edit.replicas, key=lambda r: (r.slot, r.revision, r.attempt))
        changes.update(replicas=tuple(ordered), attempts=edit.attempts)
    if edit.setbacks != state.setbacks:
        changes["setbacks"] = edit.setbacks
    if edit.lost != state.lost:
        changes["lost"] = edit.lost
    if pending != state.pending:
        changes["pending"] = pending
    if displaced != state.displaced:
        changes["displaced"] = displaced
    leaving = leaving_hosts(edit)
    if leaving != state.leaving:
        changes["leaving"] = leaving
    if moved != state.rollout:
        changes["rollout"] = moved
    if not changes:
        return
    parts = [f"take back {', '.join(edit.returned)}"] if edit.returned else []
    parts += [f"start {', '.join(edit.started)}"] if edit.started else []
    parts += [f"stop {', '.join(edit.stopped)}"] if edit.stopped else []
    parts += edit.gave_way
    parts += [f"changed by hand: {', '.join(renewed)}"] if (renewed := edit.renewed()) else []
    parts += [f"pending: {pending.text}"] if pending is not None else []
    code = "start" if edit.started and not edit.stopped else "stop" if edit.stopped and not edit.started else "replace"
    if not edit.started and not edit.stopped:
        code = _still_code(changes, split=moved != state.rollout, pending=pending is not None)
        code = "returned" if edit.returned else code
    text = "; ".join(parts)[:1000] or _STILL[code]
    reason = because(code, text, started=len(edit.started), stopped=len(edit.stopped))
    draft.add("acted", "schedule", reason, inputs=edit.heard, **changes)


_STILL = {
    "split": "the demand is split anew",
    "pending": "pending",
    "sick": "a replica is sick; its successor waits for its turn",
    "placed": "nothing is pending",
    "released": "what ran on lost hosts is not needed any more",
    "leaving": "a host is to be emptied",
    "left": "no host is left to be emptied",
}


def _still_code(changes: Mapping[str, Any], *, split: bool, pending: bool) -> str:
    if split:
        return "split"
    if pending:
        return "pending"
    if "setbacks" in changes:
        return "sick"
    if "leaving" in changes and "pending" not in changes:
        return "leaving" if changes["leaving"] else "left"
    return "released" if "lost" in changes else "placed"


# One revision is wanted.


def _keep_up(edit: Edit) -> None:
    """Nothing is replaced: a slot for each replica of the demand; what drains or is sick moves, start-first."""
    target, demand = edit.state.revision, edit.state.demand
    if target == 0:
        return
    if any(r.revision != target for r in edit.replicas):
        replace_all(edit, target, going_back=True)
        return
    slots = _slots(edit)
    best = [next((r for r in reversed(group) if edit.available(r)), group[-1]) for group in slots.values()]
    for victim in victims(edit, best, len(slots) - demand):
        edit.stop_all(slots[victim.slot])
    _move(edit)
    missing = demand - len(_slots(edit))
    if missing > 0:
        fill(edit, target, min(missing, edit.may_start(target)), demand)
    rebalance(edit)


def _slots(edit: Edit) -> dict[int, list[Replica]]:
    """The wanted replicas by slot, the oldest attempt first: more than one is a replica and its successor."""
    slots: dict[int, list[Replica]] = {}
    for replica in sorted(edit.replicas, key=lambda r: (r.slot, r.attempt)):
        slots.setdefault(replica.slot, []).append(replica)
    return slots


def _move(edit: Edit) -> None:
    """Finish moves under way, then begin more: leaving replicas as the surge allows, of the sick ones at most max(1,
    U) at once, so that a sick dependency of all does not restart all, and each slot ever more slowly."""
    for group in _slots(edit).values():
        if len(group) > 1:
            _finish_move(edit, group)
    slots = _slots(edit)
    single = [group[0] for group in slots.values() if len(group) == 1]
    under_way = sum(1 for group in slots.values() if len(group) > 1 and not edit.available(group[-1]))
    sick = [r for r in single if edit.sick(r)]
    for replica in sick:
        edit.note_sick(replica)
    rules, demand = edit.settings.update, edit.state.demand
    sick_max = max(0, max(1, rules.max_unavailable.down(demand)) - under_way)
    ready = [r for r in sick if not edit.backing_off(r.slot)][:sick_max]
    movers = [r for r in single if r.host in edit.draining] + [r for r in ready if r.host not in edit.draining]
    if not movers:
        return
    if stops_first(edit.state, edit.settings, edit.state.revision):
        _, unavailable = surge_and_unavailable(edit.settings, demand, stop_first=True)
        spare = sum(1 for r in edit.replicas if edit.available(r)) - (demand - unavailable)
        settled = all(edit.available(r) or r in movers for r in edit.replicas)
        if settled and len(edit.replicas) >= demand:
            edit.stop_all([r for r in movers if spare > 0 or not edit.available(r)][:1])
        return
    allowed = max(1, rules.max_surge.up(demand)) - under_way
    edit.start_in((r.slot for r in movers), edit.state.revision, max(0, allowed))


def _finish_move(edit: Edit, group: list[Replica]) -> None:
    """Stop the former replicas of a slot once their successor is available; where they are well again, the
    successor."""
    newest = group[-1]
    for former in group[:-1]:
        must_go = edit.sick(former) or former.host in edit.draining or is_moving(edit, former, newest)
        if edit.available(newest):
            counted = edit.available(former) and former.host not in edit.draining
            if not edit.available(former) or edit.available_count() - counted >= edit.state.demand:
                edit.stop(former)
        elif not must_go and edit.available(former):
            edit.stop(newest)
            return
        elif edit.sick(former) and edit.sick(newest) and not edit.available(former):
            edit.stop(former)


# Nothing may be replaced now.


def _stand_by(edit: Edit, rollout: Preflight, lost: Sequence[Failure]) -> None:
    """A deployment is being prepared: what was lost comes back as what it was, and the demand is filled or cut."""
    state = edit.state
    kind = rollout.base if rollout.base is not None else state.revision
    for failure in lost:
        revision = failure.replica.revision
        if len(edit.replicas) < state.demand and failure.blame != "revision" and edit.may_start(revision):
            _start_where_free(edit, revision, 1)
    missing = min(state.demand - len(edit.replicas), edit.may_start(kind))
    _start_where_free(edit, kind, missing)
    if edit.settings.update.strategy != "rolling" and rollout.base is not None:
        _stop_unpromoted(edit, rollout.base)
    surge, _ = surge_and_unavailable(edit.settings, state.demand, stop_first=False)
    edit.stop_all(victims(edit, edit.replicas, len(edit.replicas) - state.demand - surge))


def _stop_unpromoted(edit: Edit, base: int) -> None:
    """What a superseded rollout had begun goes, where the base alone meets the demand."""
    if sum(1 for r in edit.of(base) if edit.available(r)) >= edit.state.demand:
        edit.stop_all(edit.other_than(base))


def _start_where_free(edit: Edit, revision: int, count: int) -> None:
    if revision and count > 0:
        used = {r.slot for r in edit.replicas}
        edit.start_in((slot for slot in range(edit.state.demand) if slot not in used), revision, count)


def _stand_still(edit: Edit, held: Held) -> Held:
    """The rollout is held: so many of each revision as when it was, a demand that changed split over both."""
    demand = edit.state.demand
    resumed = held.resumed
    if demand != held.demand:
        if isinstance(resumed, Advancing | Judging) and is_stepping(resumed):
            held = replace(held, kept=step_composition(edit, replace(resumed, demand=held.demand)), demand=demand)
        else:
            if not isinstance(resumed, Judging):
                split_demand(edit, resumed, held.demand)
            held = replace(held, kept=composition(edit.replicas), demand=demand)
    held = replace(held, kept=_without_leaving(edit, held))
    for revision, count in held.kept:
        present = edit.of(revision)
        for victim in victims(edit, present, len(present) - count):
            if not edit.available(victim) or edit.available_count() > demand:
                edit.stop(victim)
        if len(present) < count:
            used = {r.slot for r in edit.replicas}
            free = (slot for slot in range(max(demand, count) + len(used)) if slot not in used)
            edit.start_in(free, revision, count - len(present))
        if sum(1 for r in edit.of(revision) if edit.available(r)) >= count:
            _let_leave(edit, [r for r in edit.leaving if r.revision == revision])
    return held


def _without_leaving(edit: Edit, held: Held) -> tuple[tuple[int, int], ...]:
    """The composition within demand and surge: what leaves a draining host counts no more where its successor does."""
    surge, _ = surge_and_unavailable(edit.settings, edit.state.demand, stop_first=False)
    most = edit.state.demand + surge
    if isinstance(held.resumed, Advancing | Judging) and is_stepping(held.resumed):
        most = max(most, sum(counts_wanted(edit.state, edit.settings, held.resumed)))
    counts = dict(held.kept)
    excess = sum(counts.values()) - most
    for replica in edit.leaving:
        if excess > 0 and counts.get(replica.revision, 0) > 0:
            counts[replica.revision] -= 1
            excess -= 1
    return tuple(counts.items())


def _let_leave(edit: Edit, leaving: Sequence[Replica]) -> None:
    """Stop those on draining hosts without which the demand is still met, or that are not available anyway."""
    for replica in leaving:
        if not edit.available(replica) or edit.available_count() >= edit.state.demand:
            edit.stop(replica)


def _repair(edit: Edit, lost: Sequence[Failure]) -> None:
    """Halted: a wanted revision that was healthy once is still brought about; else what served comes back, nothing
    more."""
    state = edit.state
    current = state.current
    if current is not None and current.standing in {"healthy", "stable"}:
        replace_all(edit, current.number, going_back=True)
        return
    served = [r.revision for r in edit.replicas if r.available_at is not None]
    served += [f.replica.revision for f in lost if f.replica.available_at is not None]
    proven = [n for n in served if (kept := state.revision_numbered(n)) is not None and kept.standing != "rejected"]
    if proven:
        _start_where_free(edit, Counter(proven).most_common(1)[0][0], state.demand - len(edit.replicas))
    edit.stop_all(victims(edit, edit.replicas, len(edit.replicas) - state.demand))


# One revision takes another's place.


def _advance(edit: Edit, rollout: Advancing) -> Advancing:
    demand = edit.state.demand
    if is_stepping(rollout):
        approach(edit, step_aim(edit, rollout))
    else:
        if demand != rollout.demand:
            split_demand(edit, rollout, rollout.demand)
        replace_all(edit, rollout.target, going_back=False)
    return replace(rollout, demand=demand) if demand != rollout.demand else rollout


def _judge(edit: Edit, rollout: Judging) -> Judging:
    """The counts of the step stand, what is lost made again in kind."""
    approach(edit, step_aim(edit, rollout))
    return replace(rollout, demand=edit.state.demand) if edit.state.demand != rollout.demand else rollout


def _stand_beside(edit: Edit, rollout: Soaking) -> Soaking:
    """What was replaced stands by, unless its room is wanted: then only for half a minute."""
    if edit.state.pending is not None and edit.world.now >= rollout.since + STANDBY_MIN_S:
        return replace(rollout, standby=False)
    approach(edit, standby_aim(edit, rollout.target))
    return rollout
