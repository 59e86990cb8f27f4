"""The `target-value` strategy of the Nomad Autoscaler. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from autoscaler_plugins.rules import hpa

Way = Literal["up", "down", "none"]
THRESHOLD = 0.01


@dataclass(frozen=True, slots=True)
class Target:
    """What is aimed at, the dead band around it, and how many replicas one step may change."""

    value: float
    threshold: float = THRESHOLD
    max_scale_up: int | None = None
    max_scale_down: int | None = None


def way(count: int, factor: float, threshold: float) -> Way:
    """Which way the factor points; from nothing, anything is up."""
    if count == 0:
        return "up" if factor > 0 else "none"
    if factor < 1 - threshold:
        return "down"
    return "up" if factor > 1 + threshold else "none"


def changed(count: int, metrics: Sequence[float], target: Target) -> tuple[Way, int] | None:
    """The direction and the new count, from the newest metric alone; None without one."""
    if not metrics:
        return None
    factor = metrics[-1] if target.value == 0 else metrics[-1] / target.value
    direction = way(count, factor, target.threshold)
    if direction == "none":
        return "none", count
    wish = hpa.whole(factor if count == 0 else count * factor)
    if target.max_scale_down is not None:
        wish = max(wish, count - target.max_scale_down)
    if target.max_scale_up is not None:
        wish = min(wish, count + target.max_scale_up)
    return ("none", count) if wish == count else (direction, wish)


def percent_of(count: int, percent: float) -> int:
    """A count changed by a percentage, rounded up either way."""
    return math.ceil(count * (1 + percent / 100))
