"""KEDA's decisions: activity, the switch between zero and one, fallback, and the lag of a consumer group. Pure.

What lies between one and the maximum is the arithmetic of `rules.hpa`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

COOLDOWN_S = 300.0
LAG_THRESHOLD = 10

Fallback = Literal["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]


class MetricFailedError(ValueError):
    """The metric failed, and no fallback stands in for it yet."""


def is_active(value: float, activation: float = 0.0) -> bool:
    """Whether a trigger wants the service to run at all; its threshold is not yet enough."""
    return value > activation


@dataclass(frozen=True, slots=True)
class Switch:
    """The bounds of the loop that turns a service on and off. ``fallback``: None where there is none."""

    minimum: int = 0
    cooldown_s: float = COOLDOWN_S
    idle: int | None = None
    fallback: int | None = None


def switched(count: int, switch: Switch, *, active: bool, error: bool = False, quiet_s: float | None = None) -> int:
    """The count that the on/off loop wants. ``quiet_s``: seconds since last active, None where it never was."""
    minimum, idle = switch.minimum, switch.idle
    if active:
        return max(minimum, 1) if count == 0 or (idle is not None and count < minimum) else count
    if error and switch.fallback != 0:
        return count
    if (idle is not None and count > idle) or (count > 0 and minimum == 0):
        over = quiet_s is None or quiet_s > switch.cooldown_s
        return (idle or 0) if over else count
    return minimum if count < minimum and idle is None else count


def fallback_count(replicas: int, current: int, behavior: Fallback = "static") -> int:
    """How many replicas a failing trigger falls back to."""
    match behavior:
        case "currentReplicas":
            return current
        case "currentReplicasIfHigher":
            return max(replicas, current)
        case "currentReplicasIfLower":
            return min(replicas, current)
        case _:
            return replicas


def fallback_metric(failures: int, threshold: int, replicas: int, target: float, ready: int | None = None) -> float:
    """What is reported instead of a metric that failed too often, so that the count lands on ``replicas``.

    ``ready``: of a `Value` metric. Raises MetricFailedError below the threshold, and where no replica is ready.
    """
    if failures <= threshold:
        raise MetricFailedError(f"{failures} failures in a row, fallback comes after {threshold}")
    if ready is None:
        return target * replicas
    if ready == 0:
        raise MetricFailedError("no replica is ready to share the fallback")
    return target * replicas / ready


@dataclass(frozen=True, slots=True)
class LagRules:
    """How a lag is shared out. ``even``: in equal parts of partitions. ``with_lag``: partitions that have any."""

    threshold: int = LAG_THRESHOLD
    allow_idle: bool = False
    even: bool = False
    with_lag: int | None = None


def kafka_lag(lag: int, partitions: int, rules: LagRules) -> int:
    """The lag as it is reported: no more than the partitions can be shared among."""
    limit = partitions
    if rules.even:
        divisors = [n for n in range(1, partitions + 1) if partitions % n == 0]
        lag = rules.threshold * next((n for n in divisors if n * rules.threshold >= lag), partitions)
    if rules.with_lag is not None:
        limit = rules.with_lag
    capped = not rules.allow_idle or rules.even or rules.with_lag is not None
    return limit * rules.threshold if capped and lag // rules.threshold > limit else lag
