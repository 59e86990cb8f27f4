"""Moves a rollout along by what is seen and by the clock that was handed in. Called by `decide` after every stimulus.
Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autoscaler.core.deployments import begin, give_up_preflight, launch, rollback_bound, serving, settle_known
from autoscaler.core.draft import Draft, because
from autoscaler.core.facts import Reason
from autoscaler.core.freezing import updates_frozen
from autoscaler.core.going_back import (
    fail_rollout,
    finish_rollback,
    halt_rollback,
    rollback_target,
    start_rollback,
    with_standing,
)
from autoscaler.core.holding import held, resume
from autoscaler.core.judging import begin_judging
from autoscaler.core.preflight import extra_wanted, room_lacking
from autoscaler.core.replacing import counts_wanted
from autoscaler.core.revision import content_hash
from autoscaler.core.rollout import (
    STANDBY_MIN_S,
    Advancing,
    Halted,
    Held,
    Idle,
    Judging,
    Preflight,
    Retired,
    Retiring,
    RollingBack,
    Running,
    Soaking,
    replica_name,
    running_of,
)
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.sightings import Failure, is_available, is_judged, observed_by_identity, overdue_from
from autoscaler.core.state import ServiceState
from autoscaler.core.world import World


def expire(draft: Draft) -> None:
    """End what has an end: an override, a freeze."""
    state, at = draft.state, draft.at
    if state.override is not None and state.override.until is not None and state.override.until <= at:
        draft.add(
            "decided",
            "control",
            because("expired", f"the override of {state.override.replicas} has ended"),
            override=None,
        )
    if state.freeze is not None and state.freeze.until is not None and state.freeze.until <= at:
        draft.add("decided", "control", because("expired", "the freeze has ended"), freeze=None)


def hold_or_resume(draft: Draft, settings: ServiceSettings) -> None:
    """A freeze holds a rollout that replaces and lets it go when it ends; an operator's hold may have an end of its
    own."""
    rollout, at = draft.state.rollout, draft.at
    if not isinstance(rollout, Held | Advancing | Judging):
        return
    frozen = updates_frozen(draft.state, settings, at)
    if isinstance(rollout, Held):
        over = frozen is None if rollout.why == "freeze" else rollout.until is not None and rollout.until <= at
        if over:
            resume(draft, settings, "the hold has ended")
    rollout = draft.state.rollout
    if isinstance(rollout, Advancing | Judging) and frozen is not None:
        moved = held(draft.state, "freeze", rollout, at, frozen[1])
        draft.add("decided", "update", because("freeze", f"held: {frozen[0]}"), rollout=moved)


def judge_failures(draft: Draft, settings: ServiceSettings, failures: list[Failure]) -> None:
    """What failed replicas mean for the rollout: too many of the target's own fault end it."""
    if not failures:
        return
    state, rollout = draft.state, draft.state.rollout
    own = [f for f in failures if f.blame == "revision" and f.replica.revision == state.revision]
    if isinstance(rollout, RollingBack):
        bad = [f for f in failures if f.blame == "revision" and is_judged(state, f.replica)]
        if bad and settings.update.on_rollback_failure == "hold":
            halt_rollback(draft, rollout, bad[0].reason)
        return
    if not own:
        return
    running = running_of(rollout)
    if isinstance(running, Advancing | Judging):
        ratio = settings.update.failure_ratio_percent
        if len(running.failed) * 100 > ratio * running.touched or _spent(state, settings, own):
            fail_rollout(draft, settings, _counted(own, len(running.failed), running.touched), own_fault=True)
    elif isinstance(running, Soaking):
        if len(own) * 100 > settings.update.failure_ratio_percent * max(1, state.demand) or _spent(
            state, settings, own
        ):
            fail_rollout(draft, settings, _counted(own, len(own), state.demand), own_fault=True)
    elif isinstance(running, Idle):
        current = state.current
        # What an operator went back to has an older number, and is not taken back by itself.
        newest = max((r.number for r in state.revisions), default=0)
        unproven = current is not None and current.standing == "unproven" and current.number == newest
        if unproven and settings.update.on_failure == "rollback" and rollback_target(state, state.revision) is not None:
            start_rollback(draft, settings, _counted(own, len(own), state.demand), own_fault=True)


def _counted(failures: list[Failure], failed: int, of: int) -> Reason:
    first = failures[0].reason
    return Reason(
        first.code, f"{failed} of {of} new replicas failed: {first.text}"[:1000], {"failed": failed, "of": of}
    )


def _spent(state: ServiceState, settings: ServiceSettings, own: list[Failure]) -> bool:
    slots = {f.replica.slot for f in own}
    return any(s.slot in slots and len(s.at) > settings.update.restart_attempts for s in state.setbacks)


def progress(draft: Draft, settings: ServiceSettings, world: World, soak_unknown: tuple[str, ...]) -> None:
    """Take the rollout to its next phase where the hosts and the clock allow it."""
    rollout = draft.state.rollout
    match rollout:
        case Preflight():
            progress_preflight(draft, settings, world)
        case Advancing() if rollout.current_step is not None:
            _progress_to_step(draft, settings, world, rollout)
        case Advancing():
            _progress_advancing(draft, settings, world, rollout)
        case Judging():
            if draft.state.demand == 0 and not draft.state.replicas:
                _apply(draft, rollout, _nothing_wanted(rollout.target), standing=None)
        case Soaking():
            _progress_soaking(draft, world, rollout, soak_unknown)
        case RollingBack():
            _progress_rolling_back(draft, settings, world, rollout)
        case Retiring():
            if not world.replicas and not draft.state.replicas and all(host.known for host in world.hosts):
                done = because("retired", "all replicas are stopped; the history is kept")
                retired = Retired(draft.at, settings.fingerprint)
                draft.settle(rollout.command, "applied", "control", done, rollout=retired)
        case Idle():
            _mark_stable(draft, settings)
        case _:
            pass


def progress_preflight(draft: Draft, settings: ServiceSettings, world: World) -> None:
    """Launch what is resolved and has room, or give it up when its time is over; what the hosts lack is said once."""
    rollout = draft.state.rollout
    if not isinstance(rollout, Preflight):
        return
    rules, spec = settings.update, rollout.deployment.spec
    overdue = draft.at >= overdue_from(rollout.resolve_by, rules, world)
    if not rollout.resolved:
        if overdue:
            text = f"{spec.image} could not be resolved in {rules.deadline_s:g} s"
            give_up_preflight(draft, settings, rollout, because("deadline", text), verdict_failed=True)
        return
    if settle_known(draft, settings, rollout):
        return
    base = rollout.base if rollout.base is not None else serving(draft.state)
    extra = extra_wanted(draft.state, settings, spec, content_hash(spec), base)
    lacking = room_lacking(draft.state, settings, spec, extra, world)
    if not lacking:
        launch(draft, settings, rollout)
    elif overdue:
        text = f"{lacking}, for {rules.deadline_s:g} s. Free some, add a host, or ask for less beside what runs"
        give_up_preflight(draft, settings, rollout, because("no_room", text[:1000]), verdict_failed=False)
    elif not rollout.lacks:
        waiting = replace(rollout, lacks=lacking)
        draft.add("observed", "deployment", because("no_room", f"waits: {lacking}"[:1000]), rollout=waiting)


def begin_waiting(draft: Draft, settings: ServiceSettings, world: World) -> None:
    """Begin the deployment that waited behind a rollback, once that has ended either way, unless it was one too many:
    then it waits for `approve`, which forgets them."""
    waiting = draft.state.waiting
    if waiting is None or rollback_bound(draft.state, settings, waiting.arrived_at):
        return
    if isinstance(draft.state.rollout, Idle | Halted):
        begin(draft, settings, waiting)
        progress_preflight(draft, settings, world)


def all_available(state: ServiceState, world: World, revision: int) -> bool:
    """Whether exactly the demand runs, all of that revision, all available, and nothing else is wanted."""
    seen = observed_by_identity(world)
    return len(state.replicas) == state.demand and all(
        r.revision == revision and is_available(r, seen.get((r.slot, r.revision, r.attempt))) for r in state.replicas
    )


def available_count(state: ServiceState, world: World, revision: int) -> int:
    """How many wanted replicas of that revision are available."""
    seen = observed_by_identity(world)
    return sum(
        1
        for r in state.replicas
        if r.revision == revision and is_available(r, seen.get((r.slot, r.revision, r.attempt)))
    )


def step_reached(state: ServiceState, settings: ServiceSettings, world: World, rollout: Advancing) -> bool:
    """Whether the counts of the step stand, and all of the new revision's replicas are available."""
    wanted = counts_wanted(state, settings, rollout)
    new = sum(1 for r in state.replicas if r.revision == rollout.target)
    ready = available_count(state, world, rollout.target)
    return new == wanted.new == ready and len(state.replicas) - new == wanted.old


def _progress_to_step(draft: Draft, settings: ServiceSettings, world: World, rollout: Advancing) -> None:
    state = draft.state
    if state.demand == 0:
        _progress_advancing(draft, settings, world, rollout)
    elif step_reached(state, settings, world, rollout):
        begin_judging(draft, rollout)
    elif draft.at >= overdue_from(rollout.progress_by, settings.update, world):
        _fail_for_deadline(draft, settings, world, rollout)


def _is_whole(state: ServiceState, world: World, rollout: Advancing) -> bool:
    """Whether the demand runs the new revision and is available, and beside it only what stands by."""
    if rollout.blue_green:
        return available_count(state, world, rollout.target) == state.demand > 0
    return all_available(state, world, rollout.target)


def _progress_advancing(draft: Draft, settings: ServiceSettings, world: World, rollout: Advancing) -> None:
    state, rules, at = draft.state, settings.update, draft.at
    if state.demand == 0 and not state.replicas:
        _apply(draft, rollout, _nothing_wanted(rollout.target), standing=None)
    elif _is_whole(state, world, rollout):
        standby = rollout.blue_green and any(r.revision != rollout.target for r in state.replicas)
        soak_s = max(rules.soak_s, STANDBY_MIN_S) if standby else rules.soak_s
        if soak_s <= 0:
            _apply(
                draft,
                rollout,
                because("applied", f"revision {rollout.target} runs on all {state.demand} replicas"),
                standing="stable",
            )
            return
        patience = max(at + soak_s, at + rules.analysis_patience_s)
        soaking = Soaking(rollout.target, rollout.base, rollout.event, at, at + soak_s, patience, standby)
        beside = "; what it replaces stands by" if standby else ""
        text = f"all {state.demand} replicas run revision {rollout.target}; soaking for {soak_s:g} s{beside}"
        draft.add("decided", "update", because("soaking", text, demand=state.demand), rollout=soaking)
    elif at >= overdue_from(rollout.progress_by, rules, world):
        _fail_for_deadline(draft, settings, world, rollout)


def _fail_for_deadline(draft: Draft, settings: ServiceSettings, world: World, rollout: Advancing) -> None:
    state, deadline_s = draft.state, settings.update.deadline_s
    room = f"; {state.pending.text}" if state.pending is not None else ""
    seen = observed_by_identity(world)
    missing = [
        r
        for r in state.replicas
        if r.revision == rollout.target and not is_available(r, seen.get((r.slot, r.revision, r.attempt)))
    ]
    names = ", ".join(replica_name(state.service, r.slot, r.revision, r.attempt) for r in missing[:3])
    text = f"no progress for {deadline_s:g} s: {names or 'no new replica'} not available{room}"
    shown = any((r.slot, r.revision, r.attempt) in seen for r in missing)
    fail_rollout(draft, settings, because("deadline", text), own_fault=shown and not room)


def _progress_soaking(draft: Draft, world: World, rollout: Soaking, soak_unknown: tuple[str, ...]) -> None:
    if draft.at < rollout.until:
        return
    state, number = draft.state, rollout.target
    missing = state.demand - available_count(state, world, number)
    unproven = [*soak_unknown, *([f"the health of {missing} replicas"] if missing > 0 else [])]
    if unproven and draft.at < rollout.patience_until:
        return
    if unproven:
        text = f"revision {number} soaked; {', '.join(unproven)} stayed unknown"
        _apply(draft, rollout, because("unproven", text), standing="stable")
    else:
        soaked_s = draft.at - rollout.since
        _apply(
            draft,
            rollout,
            because("applied", f"revision {number} soaked for {soaked_s:.0f} s without a complaint"),
            standing="stable",
        )


def _nothing_wanted(revision: int) -> Reason:
    return because("unproven", f"revision {revision} is current; no replica is wanted")


def _apply(draft: Draft, rollout: Running, reason: Reason, *, standing: str | None) -> None:
    changes: dict[str, Any] = {"rollout": Idle()}
    if standing == "stable":
        changes["revisions"] = with_standing(draft.state, rollout.target, "stable")
    draft.settle(rollout.event, "applied", "update", reason, **changes)


def _progress_rolling_back(draft: Draft, settings: ServiceSettings, world: World, rollout: RollingBack) -> None:
    state = draft.state
    if all_available(state, world, rollout.target):
        finish_rollback(draft, rollout)
    elif draft.at >= overdue_from(rollout.progress_by, settings.update, world):
        room = f"; {state.pending.text}" if state.pending is not None else ""
        halt_rollback(draft, rollout, because("deadline", f"no progress for {settings.update.deadline_s:g} s{room}"))


def _mark_stable(draft: Draft, settings: ServiceSettings) -> None:
    """A revision that came when nothing was wanted is proven later, by replicas that stayed available for a soak's
    time."""
    state, current = draft.state, draft.state.current
    if current is None or current.standing != "healthy":
        return
    if any(r.available_at is not None and r.available_at + settings.update.soak_s <= draft.at for r in state.replicas):
        reason = because("proven", f"revision {current.number} has been available for {settings.update.soak_s:g} s")
        draft.add("decided", "update", reason, revisions=with_standing(state, current.number, "stable"))
