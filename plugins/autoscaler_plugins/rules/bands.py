"""Changes by bands of a metric: so many points in a band (Nomad), and steps by the breach of an alarm (cloud). Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autoscaler_plugins.rules import nomad

TRIGGER = 5


@dataclass(frozen=True, slots=True)
class Change:
    """Exactly one of a difference, a percentage, and a fixed count."""

    delta: int | None = None
    percent: float | None = None
    fixed: int | None = None

    def applied(self, count: int) -> int:
        """The count after it, never below zero."""
        if self.fixed is not None:
            return max(0, self.fixed)
        if self.delta is not None:
            return max(0, count + self.delta)
        return max(0, nomad.percent_of(count, self.percent or 0.0))


def points_within(points: Sequence[float], lower: float | None, upper: float | None) -> int:
    """How many points lie in the band: its lower end included, its upper end not; None is an open end."""
    low = -math.inf if lower is None else lower
    high = math.inf if upper is None else upper
    return sum(low <= point < high for point in points)


def by_points(count: int, inside: int, trigger: int, change: Change) -> tuple[nomad.Way, int]:
    """The change once enough points are in the band; they need not be adjacent."""
    wish = change.applied(count) if inside >= trigger else count
    if wish == count:
        return "none", count
    return ("up" if wish > count else "down"), wish


@dataclass(frozen=True, slots=True)
class Breach:
    """A band of the difference between the metric and the alarm's threshold, and its adjustment."""

    lower: float | None
    upper: float | None
    adjust: float

    def holds(self, breach: float, *, rising: bool) -> bool:
        """Of an up alarm the lower end is inside, of a down alarm the upper end."""
        low = -math.inf if self.lower is None else self.lower
        high = math.inf if self.upper is None else self.upper
        return low <= breach < high if rising else low < breach <= high


def adjustment(breach: float, steps: Sequence[Breach], *, rising: bool) -> float | None:
    """The adjustment of the band that the breach is in."""
    return next((step.adjust for step in steps if step.holds(breach, rising=rising)), None)


def by_percent(count: int, percent: float, min_change: int = 1) -> int:
    """Replicas that a percentage adds or takes: rounded toward zero, and at least ``min_change``."""
    if not percent:
        return 0
    size = max(int(count * abs(percent) / 100), min_change)
    return size if percent > 0 else -size


def by_breach(count: int, breach: float, up: Sequence[Breach], down: Sequence[Breach], min_change: int = 1) -> int:
    """The count after the step that the breach asks for; the same where it is in no band."""
    percent = adjustment(breach, up, rising=True)
    if percent is None:
        percent = adjustment(breach, down, rising=False)
    return count if percent is None else max(0, count + by_percent(count, percent, min_change))
