"""One revision takes another's place, in whole or up to a step: who starts and who stops next. Called by convergence.
Pure.

Rules: never more than ``total_max`` wanted, never fewer than ``available_min`` available by our own doing; starts
first, then stops with the started ones counted; old ones that lack come before new ones; lowest slot first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autoscaler.core.edit import Edit, victims
from autoscaler.core.rollout import Advancing, Judging
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.sightings import is_dispensable, still_unasked
from autoscaler.core.split import ails, grow, stops_first, surge_and_unavailable
from autoscaler.core.state import Replica, ServiceState
from autoscaler.core.steps import Counts, preview_counts, step_counts

ROUNDS_MAX = 4


@dataclass(frozen=True, slots=True)
class Aim:
    """Where the wanted list is going: ``new`` replicas of ``target`` and ``old`` of others, which are made again as
    ``base`` where they lack (None: never). ``going_back`` spares healthy ones until their successors stand."""

    target: int
    new: int
    old: int
    total_max: int
    available_min: int
    base: int | None = None
    going_back: bool = False


def whole_aim(edit: Edit, target: int, *, going_back: bool) -> Aim:
    """D replicas of ``target`` and none of another."""
    rules, demand = edit.settings.update, edit.state.demand
    stop_first = stops_first(edit.state, edit.settings, target)
    surge, unavailable = surge_and_unavailable(edit.settings, demand, stop_first=stop_first)
    if going_back and not stop_first:
        surge, unavailable = rules.rollback_max_surge.up(demand), 0
    return Aim(target, demand, 0, demand + surge, demand - unavailable, going_back=going_back)


def counts_wanted(state: ServiceState, settings: ServiceSettings, rollout: Advancing | Judging) -> Counts:
    """Replicas of the target and of the others that the step under way wants at today's demand.

    Of a preview the first step wants as many as it says, all old ones kept, and the next one D of each.
    """
    demand = state.demand
    step = rollout.current_step
    if rollout.blue_green:
        return preview_counts(step, demand)
    if step is None:
        return Counts(demand, 0)
    stop_first = stops_first(state, settings, rollout.target)
    surge, _ = surge_and_unavailable(settings, demand, stop_first=stop_first)
    return step_counts(step, demand, surge, routed=settings.route is not None)


def step_aim(edit: Edit, rollout: Advancing | Judging) -> Aim:
    """The counts of the step; where the demand has just changed, a revision that ails now does not grow with it, and
    its share goes to the other."""
    counts = counts_wanted(edit.state, edit.settings, rollout)
    aim = whole_aim(edit, rollout.target, going_back=False)
    new = edit.of(rollout.target)
    if edit.state.demand != rollout.demand and counts.new > len(new) and ails(edit, new):
        counts = Counts(len(new), counts.old + (counts.new - len(new) if counts.old < edit.state.demand else 0))
    return replace(
        aim, new=counts.new, old=counts.old, base=rollout.base, total_max=max(aim.total_max, counts.new + counts.old)
    )


def step_composition(edit: Edit, rollout: Advancing | Judging) -> tuple[tuple[int, int], ...]:
    """The counts of the step at today's demand as (revision, count), for a rollout that is held."""
    aim = step_aim(edit, rollout)
    counts = dict.fromkeys((r.revision for r in edit.other_than(aim.target)), 0)
    counts[aim.target] = aim.new
    others = sum(1 for r in edit.other_than(aim.target) if r.revision != aim.base)
    for revision in counts:
        if revision not in {aim.target, aim.base}:
            counts[revision] = len(edit.of(revision))
    if aim.base is not None:
        counts[aim.base] = max(0, aim.old - others)
    return tuple(sorted(counts.items()))


def standby_aim(edit: Edit, target: int) -> Aim:
    """D of ``target``, and of what it took the place of no more than are there."""
    aim = whole_aim(edit, target, going_back=True)
    old = min(len(edit.other_than(target)), edit.state.demand)
    return replace(aim, old=old, total_max=aim.total_max + old)


def replace_all(edit: Edit, target: int, *, going_back: bool) -> None:
    """Move towards D replicas of ``target`` and none of another."""
    approach(edit, whole_aim(edit, target, going_back=going_back))


def approach(edit: Edit, aim: Aim) -> None:
    """Move towards the aim as far as is allowed now."""
    for _ in range(ROUNDS_MAX):
        changed = _start_round(edit, aim)
        changed += _stop_round(edit, aim)
        if not changed:
            break
    if edit.draining and _stands(edit, aim):
        edit.stop_all(edit.leaving)


def _stands(edit: Edit, aim: Aim) -> bool:
    """Whether as many as are aimed at are available without those that must leave their host."""
    new = sum(1 for r in edit.of(aim.target) if edit.available(r))
    old = sum(1 for r in edit.other_than(aim.target) if edit.available(r))
    return new >= aim.new and old >= aim.old


def fill(edit: Edit, target: int, count: int, demand: int) -> int:
    """Start up to ``count`` replicas of ``target`` in its lowest free slots below ``demand``; how many it started."""
    used = {r.slot for r in edit.of(target)}
    return edit.start_in((slot for slot in range(demand) if slot not in used), target, count)


def _start_round(edit: Edit, aim: Aim) -> int:
    return _start_old(edit, aim) + _start_new(edit, aim)


def _start_old(edit: Edit, aim: Aim) -> int:
    """Make again what lacks of the old ones, sick ones replaced start-first, at most max(1, U) of them at once."""
    if aim.base is None or not aim.old:
        return 0
    old = edit.other_than(aim.target)
    sick = [r for r in old if edit.sick(r)]
    for replica in sick:
        edit.note_sick(replica)
    under_way = sum(1 for r in old if not edit.available(r)) - len(sick)
    sick_max = max(1, edit.settings.update.max_unavailable.down(edit.state.demand)) - under_way
    ready = [r for r in sick if not edit.backing_off(r.slot)][: max(0, sick_max)]
    lacking = aim.old - len(old) + len(ready)
    count = min(lacking, aim.total_max + len(ready) - len(edit.steady))
    return grow(edit, aim.base, count) if count > 0 else 0


def _start_new(edit: Edit, aim: Aim) -> int:
    rules, new = edit.settings.update, edit.of(aim.target)
    count = min(aim.total_max - len(edit.steady), aim.new - len(new))
    if not aim.going_back:
        unproven = sum(1 for r in new if not edit.available(r))
        if rules.max_parallel:
            count = min(count, rules.max_parallel - unproven)
        if rules.first_batch and not any(edit.available(r) for r in new):
            count = min(count, rules.first_batch - len(new))
    return fill(edit, aim.target, count, max(aim.new, edit.state.demand)) if count > 0 else 0


def _stop_round(edit: Edit, aim: Aim) -> int:
    """Old ones that are not available go first (going back: only those with which nothing is lost), then available
    ones as far as ``available_min`` others are available; the unproven revision before the proven."""
    new, old = edit.of(aim.target), edit.other_than(aim.target)
    spare = edit.available_count() - aim.available_min
    stops = []
    for victim in victims(edit, new, len(new) - aim.new):
        if edit.available(victim):
            if spare <= 0:
                continue
            spare -= 1
        stops.append(victim)
    standing_new = [r for r in new if r not in stops]
    ready = sum(1 for r in standing_new if edit.available(r))
    cap = len(old) + ready - aim.available_min
    surplus = len(old) - aim.old
    for replica in _first_to_go(edit, old):
        nothing_lost = is_dispensable(replica, edit.sighted(replica)) or ready >= edit.state.demand
        if surplus > 0 and (nothing_lost if aim.going_back else cap > 0):
            stops.append(replica)
            cap -= 1
            surplus -= 1
    covered = {r.slot for r in standing_new if edit.available(r)}
    serving = sorted(
        (r for r in old if edit.available(r)), key=lambda r: (_proven(edit, r), r.slot not in covered, r.slot)
    )
    stops += serving[: max(0, min(spare, surplus, len(serving) if aim.going_back else cap))]
    edit.stop_all(stops)
    return len(stops)


def _first_to_go(edit: Edit, old: Sequence[Replica]) -> list[Replica]:
    """The old ones that are not available: what is known to be sick or never was available, then what is not known;
    not that which a new owner has had no time to ask."""

    def rank(replica: Replica) -> tuple[bool, bool, bool, int]:
        dispensable = is_dispensable(replica, edit.sighted(replica))
        return (not dispensable, not edit.sick(replica), _proven(edit, replica), replica.slot)

    rules, world = edit.settings.update, edit.world
    return sorted(
        (r for r in old if not edit.available(r) and not still_unasked(r, edit.sighted(r), rules, world)), key=rank
    )


def _proven(edit: Edit, replica: Replica) -> bool:
    revision = edit.state.revision_numbered(replica.revision)
    return revision is not None and revision.standing == "stable"
