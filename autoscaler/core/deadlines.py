"""When a service must be looked at again though nothing happens: the earliest deadline of its state. Pure.

What is pending has no deadline: room comes by an event of a host or of a replica, whosever it is, and the observer
lists every host anew each minute should one be lost.
"""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.core.freezing import updates_frozen
from autoscaler.core.leaving import report_deadlines
from autoscaler.core.rebalance import move_deadlines
from autoscaler.core.returning import asked_by
from autoscaler.core.rollout import STANDBY_MIN_S, Advancing, Held, Judging, Preflight, RollingBack, Soaking
from autoscaler.core.scheduling import plan_deadlines
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.sightings import (
    available_due,
    missing_due,
    observed_by_identity,
    overdue_from,
    startup_due,
    still_unasked,
)
from autoscaler.core.state import Replica, ServiceState
from autoscaler.core.world import World


def next_deadline(
    state: ServiceState, settings: ServiceSettings, world: World, since: float | None = None
) -> float | None:
    """The earliest moment after ``since`` at which the answer of `decide` can change without anything else, or None.

    ``since`` is when the service was last decided about (default: now): what has come since then is due, not gone.
    """
    after = world.now if since is None else since
    return min((at for at in _deadlines(state, settings, world) if at > after), default=None)


def _deadlines(state: ServiceState, settings: ServiceSettings, world: World) -> Iterator[float]:
    if state.override is not None and state.override.until is not None:
        yield state.override.until
    if state.freeze is not None and state.freeze.until is not None:
        yield state.freeze.until
    if state.verification is not None and not state.verification.late:
        yield state.verification.until
    if state.scheduled or settings.overrides:
        yield from plan_deadlines(state, settings, world.now)
    yield from _rollout_deadlines(state, settings, world)
    yield from _replica_deadlines(state, settings, world)
    for setback in state.setbacks:
        yield setback.retry_at
    for replica in state.lost:
        yield asked_by(replica, settings.update, world)
    yield from move_deadlines(state, settings, world)
    yield from report_deadlines(state, settings)


def _rollout_deadlines(state: ServiceState, settings: ServiceSettings, world: World) -> Iterator[float]:
    match state.rollout:
        case Preflight(resolve_by=at, resolved=True):
            yield at
        case Preflight(resolve_by=at) | Advancing(progress_by=at) | RollingBack(progress_by=at):
            yield overdue_from(at, settings.update, world)
        case Judging(until=until, unknown_since=unknown_since):
            if until is not None:
                yield until
                yield until + settings.update.analysis_patience_s
            if unknown_since is not None:
                yield unknown_since + settings.update.analysis_patience_s
        case Soaking(since=since, until=until, patience_until=patience, standby=standby):
            yield until
            yield patience
            if standby:
                yield since + STANDBY_MIN_S
        case Held(why="freeze"):
            frozen = updates_frozen(state, settings, world.now)
            if frozen is not None and frozen[1] is not None:
                yield frozen[1]
        case Held(until=until):
            if until is not None:
                yield until
        case _:
            pass


def _replica_deadlines(state: ServiceState, settings: ServiceSettings, world: World) -> Iterator[float]:
    rules = settings.update
    seen = observed_by_identity(world)
    current = state.current
    for replica in state.replicas:
        sighted = seen.get((replica.slot, replica.revision, replica.attempt))
        if replica.available_at is None:
            due = startup_due(replica, sighted, settings, world)
            if due is not None:
                yield due
            ready = available_due(replica, sighted, rules, world) if sighted is not None else None
            if ready is not None:
                yield ready
        elif current is not None and current.standing == "healthy" and replica.revision == current.number:
            yield replica.available_at + rules.soak_s
        if still_unasked(replica, sighted, rules, world):
            yield overdue_from(0.0, rules, world)
        if sighted is None:
            yield from _absence_deadlines(replica, settings, world)
    if settings.update.order != "start_first":
        yield from (
            world.judged_from(r.placed_at) + rules.stop_deadline_s for r in state.replicas if r.created_at is None
        )


def _absence_deadlines(replica: Replica, settings: ServiceSettings, world: World) -> Iterator[float]:
    host = world.host(replica.host)
    if host is not None and host.condition == "lost":
        yield host.since + settings.placement.host_grace_s
    elif host is not None and host.known:
        yield missing_due(replica, settings, world)


def next_evaluation(state: ServiceState, settings: ServiceSettings, at: float) -> float | None:
    """When a clamp of the last conclusion ends by itself, so that a held scale-up is looked at again; None without
    one."""
    conclusion = state.conclusion
    if conclusion is None or not conclusion.clamps:
        return None
    ends: list[float] = []
    if "up_cooldown" in conclusion.clamps and state.last_up_at is not None:
        ends.append(state.last_up_at + settings.scaling.up_cooldown_s)
    if "max_step_up" in conclusion.clamps and settings.guards.max_step_up is not None:
        ends += [when + settings.guards.max_step_up.per_s for when, delta in state.steps if delta > 0]
    return min((end for end in ends if end > at), default=None)
