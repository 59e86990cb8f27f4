"""The arithmetic of `quantile_headroom`: forecast, know how wrong it has been, keep that much headroom. Pure.

Loads are in the unit of ``capacity``, the load that one replica carries. ``q``: how often demand may stay below the
bound.
"""

from __future__ import annotations

import math
import operator
import sys
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

DUST = 1e-9
"""Of a replica: 3.0000000001 replicas are 3."""
Q = 0.98
ERRORS_MIN = 20
"""Fewer errors at a level say nothing about its tail."""
LEVEL_FACTOR = 4.0
"""One bucket of errors holds forecasts of up to so many times its lowest."""
UNTRIED_FACTOR = 1.4
"""Headroom of a forecast of which nothing is known yet."""
LOAD_MIN = 0.02
"""Of a replica: the least that is forecast, as buckets are logarithmic."""
LARGE = 0.04
"""Of a need: what is kept at least before shrinking to it, up to ``Margins.down``, as the noise of large services moves
them by more than a replica."""
COUNT_MAX = 1000
"""Beyond so many samples a line goes through all that there are."""


@dataclass(frozen=True, slots=True)
class Margins:
    """``guard``: the share of a replica that a plain target would aim at. ``slack``: kept over the bound.

    ``up``, ``down``: kept over a need before growing to it, and before shrinking to it; the latter is at most
    ``down_max`` replicas, or `LARGE` of the need, as whole replicas give a service room by themselves.
    ``tolerance``: where the plain target rules, what it may be off before the count is changed.
    """

    guard: float = 0.7
    slack: float = 0.03
    up: float = 0.03
    down: float = 0.10
    down_max: float = math.inf
    tolerance: float = 0.0


MARGINS = Margins()


def whole(replicas: float) -> int:
    """The next whole number up, without dust."""
    return math.ceil(replicas - DUST)


@lru_cache(maxsize=256)
def horizon(lag_s: float, window_s: float, startup_s: float, period_s: float) -> int:
    """Steps ahead that matter: what is ordered now is there only then, and what is seen is so old."""
    return max(1, whole((lag_s + window_s / 2 + startup_s + period_s) / period_s))


def rank(q: float, count: int) -> int:
    """Which of ``count`` ordered errors bounds the next one with probability ``q``; from 1, at most the last."""
    return min(count, max(1, whole(q * (count + 1))))


def trend(samples: Sequence[float], steps: int) -> float:
    """The least-squares line through equal steps, at its end; carried on for ``steps`` where it rises."""
    count = len(samples)
    middle = (count - 1) / 2
    mean = sum(samples) / count
    spread = _spread(count)
    slope = sum((i - middle) * y for i, y in enumerate(samples)) / spread if spread else 0.0
    return mean + slope * middle + max(slope, 0.0) * steps


def honest_trend(samples: Sequence[float], steps: int, noise: float, allowed: float) -> float:
    """The line through as few of the newest samples as tell a slope from ``noise``, carried on where it rises.

    ``noise``: standard deviation of one sample. The fewest samples are taken with which noise moves the end of the line
    by no more than ``allowed``; what the slope owes to noise all the same is taken off it.
    """
    longest = len(samples)
    moved = noise * steps / allowed if allowed > 0 else math.inf
    count = min(longest, _COUNTS[bisect_left(_SPREADS, moved * moved)])
    line = samples[longest - count :]
    weights, spread = _weights(count)
    slope: float = sum(map(operator.mul, weights, line)) / spread
    if slope:
        slope *= max(0.0, 1 - noise * noise / (spread * slope * slope))
    end = sum(line) / count + slope * weights[-1]
    return end + slope * steps if slope > 0 else end


@lru_cache(maxsize=128)
def _weights(count: int) -> tuple[tuple[float, ...], float]:
    """Distances of equal steps from their middle, and the sum of their squares."""
    middle = (count - 1) / 2
    return tuple(i - middle for i in range(count)), _spread(count)


def _spread(count: int) -> float:
    """Sum of the squared distances of ``count`` equal steps from their middle."""
    return count * (count * count - 1) / 12


def _counts_tried() -> list[int]:
    """Numbers of samples that a line may go through: each a third more than the one before, from two on."""
    counts = [2]
    while counts[-1] < COUNT_MAX:
        counts.append(counts[-1] + max(1, counts[-1] // 3))
    return counts


_COUNTS = [*_counts_tried(), sys.maxsize]
_SPREADS = [_spread(count) for count in _COUNTS[:-1]]


def pinball(q: float, seen: float, bound: float) -> float:
    """The loss of a bound: lack costs q, idle costs 1 - q."""
    return q * (seen - bound) if seen > bound else (1 - q) * (bound - seen)


def bucket(forecast: float, capacity: float) -> int:
    """The level of a forecast, whose errors are kept together."""
    replicas = forecast / capacity
    # the exponent of a float is its logarithm's floor, exactly, and a quarter of the time
    return (math.frexp(max(LOAD_MIN, replicas))[1] - 1) >> 1


def error_bound(
    level: int, ordered: Mapping[int, Sequence[float]], q: float, read: Callable[[float], float] = float
) -> float | None:
    """The q-quantile of the errors at a level, else at the nearest level with enough of them; None without any.

    ``read`` makes a number of what is kept, in the same order.
    """
    here = ordered.get(level, ())
    if len(here) >= ERRORS_MIN:
        return read(here[rank(q, len(here)) - 1])
    enough = [at for at, errors in ordered.items() if len(errors) >= ERRORS_MIN]
    if not enough:
        return None
    nearest = min(enough, key=lambda at: (abs(at - level), at))
    errors = ordered[nearest]
    error = read(errors[rank(q, len(errors)) - 1])
    return error / LEVEL_FACTOR ** (nearest - level) if error > 0 and nearest > level else error


def bound(forecast: float, capacity: float, ordered: Mapping[int, Sequence[float]], q: float = Q) -> float:
    """The load that is not exceeded with probability ``q``. ``ordered``: errors of the forecaster by level,
    ascending."""
    error = error_bound(bucket(forecast, capacity), ordered, q)
    return UNTRIED_FACTOR * forecast if error is None else forecast + max(error, -forecast / 2)


class Loads(NamedTuple):
    """The load seen, its trend, and its bound."""

    seen: float
    trend: float
    bound: float


def need_and_cap(capacity: float, loads: Loads, margins: Margins = MARGINS) -> tuple[float, float]:
    """Replicas that the bound needs, and the most that a plain target would buy."""
    cap = max(loads.seen, loads.trend) / (margins.guard * capacity)
    return min((1 + margins.slack) * max(loads.bound, loads.seen) / capacity, cap), cap


def size(have: int, need: float, cap: float, highest: tuple[float, float], margins: Margins = MARGINS) -> int:
    """Replicas to have. ``highest``: of the needs and of the caps that are remembered, now included."""
    if need > have:
        if need >= cap and cap <= (1 + margins.tolerance) * have:
            return have
        return whole(min((1 + margins.up) * need, cap))
    needed = highest[0]
    keep = min(needed + min(margins.down * needed, max(margins.down_max, LARGE * needed)), highest[1])
    if margins.tolerance and keep >= highest[1] >= (1 - margins.tolerance) * have:
        return have
    return min(have, max(1, whole(keep)))
