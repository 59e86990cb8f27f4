"""Canaries on stage: settings with steps, and a rollout in the middle of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autoscaler.core.rollout import Advancing, Judging
from autoscaler.core.settings import Route, ServiceSettings
from autoscaler.core.state import Replica
from autoscaler.core.steps import Step
from tests.core.builders import (
    FOLLOWING,
    NOW,
    a_host,
    a_replica,
    a_revision,
    a_service,
    some_rules,
    some_settings,
)
from tests.core.scene import Scene

ROUTE = Route("127.0.0.1:8080", "http")
FOUR_HOSTS = ("h1", "h2", "h3", "h4")
PAUSED = Step(weight=20, pause_s=None)


def a_canary_of(*steps: Step, route: Route | None = None, **rules: Any) -> ServiceSettings:
    """Settings of a service that is updated by these steps."""
    return some_settings(update=some_rules(strategy="canary", steps=steps, **rules), route=route, scaling=FOLLOWING)


def some_replicas(revision: int, slots: range, *, available: bool = True) -> list[Replica]:
    """Replicas of a revision in those slots."""
    at = NOW - 800 if available else None
    return [a_replica(s, revision, revision * 20 + s, FOUR_HOSTS[s % 4], available_at=at) for s in slots]


def a_canary(
    new: int, old: int, demand: int, settings: ServiceSettings, *, judging: bool = False, step: int = 0, **changes: Any
) -> Scene:
    """A canary in the middle: so many of r2 and r1, on the way to a step or judged there."""
    steps = settings.update.steps
    rollout: Any = Advancing(2, 1, None, NOW - 100, NOW + 60, demand, demand, steps=steps, step=step)
    if judging:
        pause_s = steps[step].pause_s
        until = None if pause_s is None else NOW + pause_s
        rollout = Judging(2, 1, None, NOW - 100, demand, demand, NOW, until, steps=steps, step=step)
    replicas = sorted(
        [*some_replicas(2, range(new)), *some_replicas(1, range(old))], key=lambda r: (r.slot, r.revision)
    )
    state = a_service(
        tuple(replicas),
        demand=demand,
        revision=2,
        revisions=(a_revision(1), a_revision(2, "healthy")),
        attempts=100,
        rollout=replace(rollout, **changes),
    )
    return Scene(state, settings, [a_host(h) for h in FOUR_HOSTS])
