"""Replicas of hosts that were lost and answer again: taken back where they are needed, else let go. Called by
convergence. Pure.

What was available on a lost host may serve there still. While the demand is not available without it, it is remembered
and nothing is done to it; the host back, it takes its place again, and the successor that is not available yet goes.
"""

from __future__ import annotations

from autoscaler.core.edit import Edit
from autoscaler.core.rollout import Held, Idle, Retired, Retiring, Soaking
from autoscaler.core.settings import UpdateRules
from autoscaler.core.sightings import is_serving, label_of
from autoscaler.core.state import Replica
from autoscaler.core.world import World


def take_back(edit: Edit) -> None:
    """Want again what has come back healthy and is needed; forget what is not needed or does not serve."""
    kept: list[Replica] = []
    for replica in edit.state.lost:
        host, sighted = edit.world.host(replica.host), edit.sighted(replica)
        if host is None or not _is_needed(edit, replica):
            continue
        if not host.known:
            kept.append(replica)
        elif is_serving(sighted) and sighted is not None:
            if sighted.healthy:
                edit.take_back(replica, label_of(replica))
            elif edit.world.now < asked_by(replica, edit.settings.update, edit.world):
                kept.append(replica)
    edit.lost = tuple(kept)


def asked_by(replica: Replica, rules: UpdateRules, world: World) -> float:
    """By when a replica whose host is back has said how it is, or is not waited for."""
    return world.judged_from(0.0, replica.host) + rules.startup_deadline_s


def _is_needed(edit: Edit, replica: Replica) -> bool:
    """Whether the demand is not available without it, and its revision has a place in what is under way."""
    state, rollout = edit.state, edit.state.rollout
    revision = state.revision_numbered(replica.revision)
    if revision is None or revision.standing == "rejected" or isinstance(rollout, Retiring | Retired):
        return False
    if isinstance(rollout, Held):
        standing = sum(1 for r in edit.of(replica.revision) if edit.available(r))
        return standing < dict(rollout.kept).get(replica.revision, 0)
    if isinstance(rollout, Idle | Soaking) and replica.revision != state.revision:
        return False
    return edit.available_count() < state.demand
