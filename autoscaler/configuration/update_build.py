"""The `update:` block to `UpdateRules`: set keys are held to each other, unset ones give way to them.

Called by `service_build`. The defaults and their reasons are in docs/design/delivery.md; the derivations here:

- ``startup_deadline`` = max(min(2m, deadline/2), health.start + every * failures); an unset ``deadline`` grows to
  twice it.
- ``monitor`` = min(soak, max(30s, health.start + every * failures)); an unset ``soak`` grows to a set ``monitor``.
- an unset ``min_healthy`` is at most half of ``deadline``; an unset ``deadline`` is at least twice ``min_healthy``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from autoscaler.configuration.models import UpdateModel
from autoscaler.core.amount import Amount
from autoscaler.core.quantities import format_duration
from autoscaler.core.revision import Health
from autoscaler.core.settings import UpdateRules
from autoscaler.core.steps import Step

Complain = Callable[[str | tuple[str | int, ...], str, str], None]
_DEFAULTS = UpdateRules()
STARTUP_DEADLINE_MAX_S = 120.0
MONITOR_MIN_S = 30.0
WHOLE = 100


def health_verdict_s(health: Health | None) -> float:
    """How long a health check needs before its failure counts."""
    return 0.0 if health is None else health.start_s + health.every_s * health.failures


def build_update(model: UpdateModel, health: Health | None, complain: Complain) -> UpdateRules:
    """The rules; contradictions between set keys go to ``complain(key, what, remedy)``."""
    speaks_s = health_verdict_s(health)
    min_healthy, startup, deadline = _deadlines(model, speaks_s)
    monitor, soak = _watch(model, speaks_s)
    _contradictions(model, complain)
    surge = model.max_surge or _DEFAULTS.max_surge
    unavailable = model.max_unavailable or _DEFAULTS.max_unavailable
    if surge.is_zero and unavailable.is_zero:
        remedy = "Set one of them, for example max_unavailable: 1."
        complain("max_surge", "is 0 while max_unavailable is 0 too, so no update could begin", remedy)
    if (unavailable.percent or 0) > WHOLE:
        complain("max_unavailable", "is more than 100%", "Lower it.")
    return UpdateRules(
        strategy=model.strategy,
        steps=_steps(model, complain),
        fast_window=model.fast_window,
        order=model.order,
        max_surge=surge,
        max_unavailable=unavailable,
        first_batch=model.first_batch,
        max_parallel=model.max_parallel or 0,
        min_healthy_s=min_healthy,
        startup_deadline_s=startup,
        deadline_s=deadline,
        monitor_s=monitor,
        soak_s=soak,
        failure_ratio_percent=model.failure_ratio,
        on_failure=_on_failure(model, complain),
        on_rollback_failure=model.on_rollback_failure,
        rollback_max_surge=_rollback_surge(model, complain),
        analysis_patience_s=model.analysis_patience,
        drain_timeout_s=model.drain_timeout,
        stop_deadline_s=model.stop_deadline,
        restart_attempts=model.restart.attempts,
        restart_window_s=model.restart.window,
        restart_delay_s=model.restart.delay,
        rollbacks_per_hour=model.rollbacks_per_hour,
        history=model.history,
    )


def _steps(model: UpdateModel, complain: Complain) -> tuple[Step, ...]:
    """The steps, and whether the strategy knows what to do with them."""
    if model.strategy == "canary" and not model.steps:
        remedy = "List some, such as [{weight: 5%, pause: 2m}, {weight: 50%, pause: until promote}]."
        complain("steps", "is empty, and a canary goes by steps", remedy)
    if model.strategy == "rolling" and model.steps:
        complain("steps", "has no meaning for the strategy rolling", "Set strategy: canary, or remove the steps.")
    if model.strategy == "blue_green" and len(model.steps) > 1:
        complain("steps", "has more than one step, and blue_green has one preview", "Keep one, or use canary.")
    for index, step in enumerate(model.steps):
        if (step.weight is None) == (step.count is None):
            what = "has neither weight nor count" if step.weight is None else "has both weight and count"
            complain(("steps", index), what, "Give it exactly one of them.")
    return tuple(
        Step(step.weight, step.count, None if isinstance(step.pause, str) else step.pause) for step in model.steps
    )


def _deadlines(model: UpdateModel, speaks_s: float) -> tuple[float, float, float]:
    deadline = model.deadline
    usual = min(STARTUP_DEADLINE_MAX_S, (deadline or _DEFAULTS.deadline_s) / 2)
    startup = model.startup_deadline if model.startup_deadline is not None else max(usual, speaks_s)
    min_healthy = model.min_healthy
    if deadline is None:
        deadline = max(_DEFAULTS.deadline_s, 2 * startup, 2 * (min_healthy or 0.0))
    if min_healthy is None:
        min_healthy = min(_DEFAULTS.min_healthy_s, deadline / 2)
    return min_healthy, startup, deadline


def _watch(model: UpdateModel, speaks_s: float) -> tuple[float, float]:
    soak = model.soak if model.soak is not None else max(_DEFAULTS.soak_s, model.monitor or 0.0)
    monitor = model.monitor if model.monitor is not None else min(soak, max(MONITOR_MIN_S, speaks_s))
    return monitor, soak


def _contradictions(model: UpdateModel, complain: Complain) -> None:
    ordered = (("min_healthy", "startup_deadline"), ("startup_deadline", "deadline"), ("min_healthy", "deadline"))
    for lower, upper in ordered:
        low, high = getattr(model, lower), getattr(model, upper)
        if low is not None and high is not None and low >= high:
            what = f"{format_duration(low)} is not below {upper} {format_duration(high)}"
            complain(lower, what, f"Lower {lower} or raise {upper}.")
    if model.soak is not None and model.monitor is not None and model.soak < model.monitor:
        what = f"{format_duration(model.soak)} is below monitor {format_duration(model.monitor)}"
        complain("soak", what, "Raise soak or lower monitor.")


def _on_failure(model: UpdateModel, complain: Complain) -> Literal["rollback", "hold", "continue"]:
    if model.rollback is None:
        return model.on_failure or "rollback"
    if model.on_failure is None:
        return "rollback" if model.rollback else "hold"
    if model.rollback != (model.on_failure == "rollback"):
        what = f"is {str(model.rollback).lower()} while on_failure is {model.on_failure}"
        complain("rollback", what, "Keep one of the two.")
    return model.on_failure


def _rollback_surge(model: UpdateModel, complain: Complain) -> Amount:
    surge = model.rollback_max_surge or _DEFAULTS.rollback_max_surge
    unavailable = model.max_unavailable or _DEFAULTS.max_unavailable
    if surge.is_zero and unavailable.is_zero:
        remedy = "Set one of them, for example rollback_max_surge: 100%."
        complain("rollback_max_surge", "is 0 while max_unavailable is 0, so no rollback could begin", remedy)
    return surge
