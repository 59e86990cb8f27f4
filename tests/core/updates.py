"""Rolling updates in their middle, with replicas of both revisions, for the tests of what comes next."""

from __future__ import annotations

from dataclasses import replace

from autoscaler.core.rollout import Advancing
from autoscaler.core.settings import UpdateRules
from autoscaler.core.state import Replica
from tests.core.builders import FOLLOWING, NOW, a_host, a_replica, a_revision, a_service, some_settings
from tests.core.scene import Scene

FOUR_HOSTS = ("h1", "h2", "h3", "h4")


def an_update(new: list[Replica], old: list[Replica], demand: int, rules: UpdateRules, **changes: object) -> Scene:
    """A rolling update in the middle: so many of r2 and r1, the demand, the rules."""
    advancing = Advancing(2, 1, None, NOW - 100, NOW + 60, demand, demand)
    state = a_service(
        tuple(sorted([*new, *old], key=lambda r: (r.slot, r.revision))),
        demand=demand,
        revision=2,
        revisions=(a_revision(1), a_revision(2, "healthy")),
        attempts=100,
        rollout=replace(advancing, **changes),  # type: ignore[arg-type]
    )
    return Scene(state, some_settings(update=rules, scaling=FOLLOWING), [a_host(h) for h in FOUR_HOSTS])


def some_replicas(revision: int, slots: range, *, available: bool = True) -> list[Replica]:
    """Replicas of a revision in those slots."""
    at = NOW - 800 if available else None
    return [
        a_replica(
            s, revision, revision * 20 + s, FOUR_HOSTS[s % 4], available_at=at, placed_at=NOW - 10, created_at=NOW - 9
        )
        for s in slots
    ]


def not_available(scene: Scene, replicas: list[Replica]) -> None:
    """Their containers run and have not said how they are."""
    for r in replicas:
        name = f"shop.web.s{r.slot}.r{r.revision}.{r.attempt}"
        scene.containers[name] = replace(
            scene.containers[name], healthy=None, healthy_since=None, started_at=scene.now - 5
        )
