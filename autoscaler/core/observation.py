"""`ServiceFacts`: what a plugin is told about the service it looks at. Frozen and plain, so that it crosses a process
border. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """One service at evaluation time.

    ``ready``: replicas that are available; ``starting``: wanted replicas that are not yet; ``phase`` of its rollout and
    ``phase_since`` (seconds since the epoch, when the rollout, step or soak began; None when idle); ``revision`` is the
    wanted one, ``base`` the one a rollback would return to (None: none). ``phase_until``: when the step that is judged
    or the soak is over (None: no such end); ``step`` of ``steps``: which one, from 1 (0: the rollout has none).
    """

    name: str
    demand: int
    minimum: int
    maximum: int
    ready: int
    starting: int
    revision: int
    base: int | None
    phase: str
    phase_since: float | None
    phase_until: float | None = None
    step: int = 0
    steps: int = 0
