"""Holding a rollout and letting it go on. Called by phases, commands and going_back. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from autoscaler.core.draft import Draft, because
from autoscaler.core.rollout import Advancing, Held, HoldWhy, Judging, Running, Soaking
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import Replica, ServiceState


def composition(replicas: Sequence[Replica]) -> tuple[tuple[int, int], ...]:
    """(revision, count) of the replicas, by revision."""
    return tuple(sorted(Counter(r.revision for r in replicas).items()))


def held(
    state: ServiceState,
    why: HoldWhy,
    running: Running,
    at: float,
    until: float | None = None,
) -> Held:
    """The rollout as it stands, held; what lacks for the demand is the base's to fill, unless the hold is for
    failure."""
    kept = composition(state.replicas)
    lacking = state.demand - len(state.replicas)
    if lacking > 0 and why != "failure":
        filler = running.target if isinstance(running, Soaking) or running.base is None else running.base
        counts = dict(kept)
        counts[filler] = counts.get(filler, 0) + lacking
        kept = tuple(sorted(counts.items()))
    return Held(why, running, at, until, kept, state.demand)


def resume(draft: Draft, settings: ServiceSettings, why: str) -> None:
    """Go on where the hold began; its clocks stood still meanwhile."""
    rollout = draft.state.rollout
    if not isinstance(rollout, Held):
        return
    stood_s = draft.at - rollout.held_at
    running = rollout.resumed
    if isinstance(running, Advancing):
        running = replace(
            running,
            progress_by=max(running.progress_by, draft.at + settings.update.deadline_s),
            failed=() if rollout.why == "failure" else running.failed,
            demand=rollout.demand,
        )
    elif isinstance(running, Judging):
        running = replace(
            running,
            until=None if running.until is None else running.until + stood_s,
            failed=() if rollout.why == "failure" else running.failed,
            demand=rollout.demand,
            unknown_since=None,
        )
    else:
        running = replace(running, until=running.until + stood_s, patience_until=running.patience_until + stood_s)
    draft.add("decided", "update", because("resumed", f"goes on: {why}"), rollout=running)
