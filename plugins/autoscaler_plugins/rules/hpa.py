"""Replica counts as the Horizontal Pod Autoscaler (autoscaling/v2) works them out, float dust included. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

TOLERANCE = 0.1
PLAIN_WINDOW_S = 300.0
ALL_OF_THE_REQUEST = 100


class NoMetricsError(ValueError):
    """No replica that counts has a metric."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a ratio may be from 1 and change nothing; both ends are inside."""

    up: float = TOLERANCE
    down: float = TOLERANCE

    def holds(self, ratio: float) -> bool:
        """Whether the ratio is in the band; what is no number is outside."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


EVEN = Tolerance()


@dataclass(frozen=True, slots=True)
class Replicas:
    """What is known of each replica: its use (None: no metric), and which ones are unready, or ended.

    ``count``: how many there are, where that is not the number of uses; what is used by no replica is dropped.
    """

    use: Sequence[float | None]
    unready: Collection[int] = ()
    ended: Collection[int] = ()
    count: int | None = None


def divided(dividend: float, divisor: float) -> float:
    """The quotient as Go has it: a division by zero is infinite, or no number."""
    if divisor:
        return dividend / divisor
    return math.copysign(math.inf, dividend) if dividend else math.nan


def whole(value: float) -> int:
    """The next whole number up; infinite is left to the bounds, and no number is 0."""
    if math.isnan(value):
        return 0
    return math.ceil(min(value, float(2**31 - 1)))


def quotient(dividend: float, divisor: float) -> int:
    """Whole-number division that truncates toward zero."""
    exact = divided(dividend, divisor)
    if not math.isfinite(exact):
        return 0
    if isinstance(dividend, int) and isinstance(divisor, int):
        return abs(dividend) // abs(divisor) * (1 if (dividend < 0) == (divisor < 0) else -1)
    return int(exact)


def utilization(use: Sequence[float], requests: Sequence[float]) -> int:
    """Percent of the requests that is used: 24.75 % is 24."""
    return quotient(ALL_OF_THE_REQUEST * sum(use), sum(requests))


def by_utilization(
    current: int, target: int, replicas: Replicas, requests: Sequence[float], tolerance: Tolerance = EVEN
) -> tuple[int, int]:
    """The count, and the utilisation seen at first. Raises NoMetricsError where no replica that counts has a metric."""
    ready, unready, missing = _grouped(replicas)
    if not ready:
        raise NoMetricsError("no replica that counts has a metric")
    first = utilization(list(ready.values()), [requests[i] for i in ready])
    ratio = divided(first, target)
    full = max(ALL_OF_THE_REQUEST, target)
    at_full: dict[int, float] = {i: quotient(requests[i] * full, ALL_OF_THE_REQUEST) for i in missing}
    filled = _filled(ratio, ready, unready, at_full)
    if filled is None:
        return (current if tolerance.holds(ratio) else whole(ratio * len(ready))), first
    again = divided(utilization(list(filled.values()), [requests[i] for i in filled]), target)
    return _settled(current, (ratio, again), len(filled), tolerance), first


def by_plain_average(current: int, target: float, replicas: Replicas, tolerance: Tolerance = EVEN) -> int:
    """The count for a metric that each replica reports by itself. Raises NoMetricsError as `by_utilization`."""
    ready, unready, missing = _grouped(replicas)
    if not ready:
        raise NoMetricsError("no replica that counts has a metric")
    ratio = divided(quotient(sum(ready.values()), len(ready)), target)
    filled = _filled(ratio, ready, unready, dict.fromkeys(missing, target))
    if filled is None:
        return current if tolerance.holds(ratio) else whole(ratio * len(ready))
    again = divided(quotient(sum(filled.values()), len(filled)), target)
    return _settled(current, (ratio, again), len(filled), tolerance)


def _grouped(replicas: Replicas) -> tuple[dict[int, float], list[int], list[int]]:
    """The use of the ready ones, the unready and those without a metric; ended ones and strangers are in none."""
    ready: dict[int, float] = {}
    unready: list[int] = []
    missing: list[int] = []
    for i in range(len(replicas.use) if replicas.count is None else replicas.count):
        use = replicas.use[i] if i < len(replicas.use) else None
        if i in replicas.ended:
            continue
        if i in replicas.unready:
            unready.append(i)
        elif use is None:
            missing.append(i)
        else:
            ready[i] = use
    return ready, unready, missing


def _filled(
    ratio: float, ready: dict[int, float], unready: list[int], missing: dict[int, float]
) -> dict[int, float] | None:
    """The use with what is not known put in against the direction of the change; None where nothing has to be."""
    rising = ratio > 1.0
    if not missing and not (unready and rising):
        return None
    filled = dict(ready)
    if ratio < 1.0:
        filled.update(missing)
    elif rising:
        filled.update(dict.fromkeys(missing, 0))
        filled.update(dict.fromkeys(unready, 0))
    return filled


def _settled(current: int, ratios: tuple[float, float], counted: int, tolerance: Tolerance) -> int:
    first, again = ratios
    turned = (first < 1.0 < again) or (again < 1.0 < first)
    if turned or tolerance.holds(again):
        return current
    count = whole(again * counted)
    against = (again < 1.0 and count > current) or (again > 1.0 and count < current)
    return current if against else count


def by_value(current: int, ready: int, target: float, value: float, tolerance: Tolerance = EVEN) -> int:
    """One value for the service, times the ready replicas: with few of them a rising load can lower the count."""
    ratio = divided(value, target)
    if current == 0:
        return whole(ratio)
    return current if tolerance.holds(ratio) else whole(ratio * ready)


def by_average_value(existing: int, average: float, total: float, tolerance: Tolerance = EVEN) -> int:
    """A total shared out at ``average`` each; does not compound while replicas start."""
    ratio = divided(total, average * existing)
    return existing if tolerance.holds(ratio) else whole(divided(total, average))


def by_bounds(current: int, minimum: int, maximum: int) -> int | None:
    """The count brought between the bounds at once; None where the service is switched off."""
    if current == 0 and minimum != 0:
        return None
    return max(min(current, maximum), min(minimum, maximum))


def plain(current: int, desired: int, bounds: tuple[int, int], recs: Sequence[tuple[float, int]]) -> tuple[int, str]:
    """The path without ``behavior``: the highest of 300 s, at most the double (or 4), and the bounds.

    ``recs``: (age in seconds, count) of what was recommended before.
    """
    minimum, maximum = bounds
    wish = max([desired, *(count for age_s, count in recs if age_s <= PLAIN_WINDOW_S)])
    limit = max(2 * current, 4)
    if wish < minimum:
        return minimum, "TooFewReplicas"
    if wish > min(maximum, limit):
        return min(maximum, limit), "ScaleUpLimit" if maximum > limit else "TooManyReplicas"
    return wish, "DesiredWithinRange"
