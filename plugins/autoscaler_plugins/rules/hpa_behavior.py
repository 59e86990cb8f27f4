"""What ``behavior`` of autoscaling/v2 lets through: stabilisation windows, then rate rules. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["Pods", "Percent"]
Select = Literal["Max", "Min", "Disabled"]
Aged = Sequence[tuple[float, int]]
"""(Age in seconds, count), in any order."""


@dataclass(frozen=True, slots=True)
class Rule:
    """At most ``amount`` replicas, or percent of them, within ``period_s``."""

    kind: Kind
    amount: float
    period_s: float


@dataclass(frozen=True, slots=True)
class Direction:
    """The rules of one direction."""

    window_s: float
    rules: tuple[Rule, ...]
    select: Select = "Max"


UP = Direction(0.0, (Rule("Pods", 4, 15.0), Rule("Percent", 100, 15.0)))
DOWN = Direction(300.0, (Rule("Percent", 100, 15.0),))


def stabilized(current: int, desired: int, up_window_s: float, down_window_s: float, recs: Aged) -> int:
    """Up to the lowest recommendation of the up window, down to the highest of the down window."""
    up = min([desired, *(count for age_s, count in recs if age_s < up_window_s)])
    down = max([desired, *(count for age_s, count in recs if age_s < down_window_s)])
    return min(max(current, up), down)


def _changed_by(events: Aged, period_s: float) -> int:
    return sum(count for age_s, count in events if age_s < period_s)


def up_limit(current: int, up: Direction, added: Aged, removed: Aged) -> int:
    """As far up as the rules let it go now; never below ``current``."""
    if up.select == "Disabled" or not up.rules:
        return current
    limits = []
    for rule in up.rules:
        start = current - _changed_by(added, rule.period_s) + _changed_by(removed, rule.period_s)
        grown = start + rule.amount if rule.kind == "Pods" else start * (1 + rule.amount / 100)
        limits.append(math.ceil(grown))
    return max(current, min(limits) if up.select == "Min" else max(limits))


def down_limit(current: int, down: Direction, added: Aged, removed: Aged) -> int:
    """As far down as the rules let it go now; never above ``current``."""
    if down.select == "Disabled" or not down.rules:
        return current
    limits = []
    for rule in down.rules:
        start = current - _changed_by(added, rule.period_s) + _changed_by(removed, rule.period_s)
        shrunk = start - rule.amount if rule.kind == "Pods" else start * (1 - rule.amount / 100)
        limits.append(int(shrunk))
    return min(current, max(limits) if down.select == "Min" else min(limits))


@dataclass(frozen=True, slots=True)
class History:
    """What was added to and removed from the service lately."""

    added: Aged = ()
    removed: Aged = ()


def limited(
    current: int, desired: int, bounds: tuple[int, int], directions: tuple[Direction, Direction], history: History
) -> tuple[int, str]:
    """The count that the rules and the bounds let through, and which of them spoke."""
    minimum, maximum = bounds
    up, down = directions
    if desired > current:
        limit = up_limit(current, up, history.added, history.removed)
        if desired > min(maximum, limit):
            return min(maximum, limit), "ScaleUpLimit" if maximum > limit else "TooManyReplicas"
    elif desired < current:
        limit = down_limit(current, down, history.added, history.removed)
        if desired < max(minimum, limit):
            return max(minimum, limit), "ScaleDownLimit" if minimum < limit else "TooFewReplicas"
    return desired, "DesiredWithinRange"
