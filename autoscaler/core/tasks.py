"""The six systems as numbers: how many tasks of each kind a service has active now. Pure."""

from __future__ import annotations

from autoscaler.core.rollout import Advancing, Judging, Preflight, RollingBack, Running, running_of
from autoscaler.core.sightings import observed_by_identity
from autoscaler.core.state import ServiceState
from autoscaler.core.world import World

TASKS = ("deploy", "monitor", "rollback", "schedule", "scale", "update")


def active_tasks(state: ServiceState, world: World) -> dict[str, int]:
    """Active tasks by kind for one service; ``monitor`` is 0 here, it is counted where probes and sources run.

    deploy: accepted deployments without a terminal verdict; update, rollback: operations of that kind in flight;
    scale: 1 while the replicas that run are not yet the demand outside of a rollout; schedule: wanted slots not yet
    started.
    """
    rollout = running_of(state.rollout)
    seen = observed_by_identity(world)
    running = [
        s
        for r in state.replicas
        if (s := seen.get((r.slot, r.revision, r.attempt))) is not None and s.condition == "running"
    ]
    deploying = isinstance(rollout, Preflight | Running) or (
        isinstance(rollout, RollingBack) and rollout.event is not None
    )
    missing = max(0, state.demand - len(state.replicas))
    extra = sum(1 for s in world.replicas if s.condition == "running") - len(running)
    idle = not isinstance(rollout, Advancing | Judging | Preflight | RollingBack)
    return {
        "deploy": int(deploying) + (1 if state.waiting is not None else 0),
        "monitor": 0,
        "rollback": int(isinstance(rollout, RollingBack)),
        "schedule": len(state.replicas) - len(running) + missing,
        "scale": int(idle and (len(running) != state.demand or extra > 0)),
        "update": int(isinstance(rollout, Running)),
    }
