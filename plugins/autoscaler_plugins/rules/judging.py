"""The arithmetic of judging a canary: Wald's sequential test, the Mann-Whitney shift, counted limits. Pure.

Sources: A. Wald, "Sequential Tests of Statistical Hypotheses", 1945; M. Hollander, D. Wolfe, "Nonparametric Statistical
Methods", 1973, for the interval of the shift; spinnaker/kayenta `NetflixACAJudge.scala` for when a shift is worse;
argoproj/argo-rollouts `analysis/analysis.go` for the limits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, fmean, median
from typing import Literal

Finding = Literal["pass", "inconclusive", "undecided", "unknown", "fail"]
ORDER: tuple[Finding, ...] = ("pass", "inconclusive", "undecided", "unknown", "fail")
"""From the best to the worst: together, checks are as good as their worst."""

ALPHA, BETA = 0.01, 0.05
"""How often a good revision may fail, and a bad one may pass."""
EXACT_MAX = 40
"""Points of both sides together up to which the rank sum's distribution is counted out; beyond, it is near normal."""
SPEAKS_FROM = 5
"""Points a side below which even sides that are fully apart prove nothing at a confidence of 0.98."""
MISSING_MAX = 4
"""More measurements missing in a row than this are unknown."""


def worst(findings: Sequence[Finding]) -> Finding:
    """The worst of them; pass where there are none."""
    return max(findings, key=ORDER.index, default="pass")


def fail_bound(alpha: float = ALPHA, beta: float = BETA) -> float:
    """The sum from which on the worse hypothesis holds: 4.554."""
    return math.log((1 - beta) / alpha)


def pass_bound(alpha: float = ALPHA, beta: float = BETA) -> float:
    """The sum up to which the better hypothesis holds: -2.986."""
    return math.log(beta / (1 - alpha))


def decided(total: float) -> Finding:
    """What a sum of log-likelihoods says."""
    if total >= fail_bound():
        return "fail"
    return "pass" if total <= pass_bound() else "undecided"


def error_evidence(errors: float, requests: float, objective: float, intolerable: float) -> float:
    """What so many errors among so many requests add to the sum: for ``intolerable`` against ``objective``."""
    good = max(0.0, requests - errors)
    return errors * math.log(intolerable / objective) + good * math.log((1 - intolerable) / (1 - objective))


def baseline_evidence(
    own_errors: float, base_errors: float, own_requests: float, base_requests: float, ratio: float
) -> float:
    """What errors of both revisions add to the sum: for ``ratio`` times the base's error ratio against the same.

    An error is the canary's with chance n_c / (n_c + n_b) where both are alike.
    """
    if own_requests <= 0 or base_requests <= 0:
        return 0.0
    alike = own_requests / (own_requests + base_requests)
    worse = ratio * own_requests / (ratio * own_requests + base_requests)
    return own_errors * math.log(worse / alike) + base_errors * math.log((1 - worse) / (1 - alike))


def burstiness(count: int, total: float, squares: float) -> float:
    """Variance over mean of the base's errors per interval, at least 1: errors that come in bursts prove less."""
    if count < SPEAKS_FROM or total <= 0:
        return 1.0
    mean = total / count
    return max(1.0, (squares / count - mean * mean) * count / (count - 1) / mean)


def at_the_end(finding: Finding, total: float, requests: float, min_samples: float) -> Finding:
    """What an undecided sum says when the step is over."""
    if finding != "undecided":
        return finding
    return "pass" if requests >= min_samples and total < 0 else "inconclusive"


@dataclass(frozen=True, slots=True)
class Shift:
    """How much larger one side is than the other: the median of the pairwise differences, and its interval."""

    low: float
    high: float
    estimate: float


@lru_cache(maxsize=64)
def _ways(own: int, base: int) -> tuple[int, ...]:
    """How many of the orders of both sides give each rank sum above its least, 0 to own * base."""
    ways = [1] + [0] * (own * base)
    # The Gaussian binomial coefficient, factor by factor.
    for step in range(1, own + 1):
        upper, lower = base + step, step
        for index in range(own * base, upper - 1, -1):
            ways[index] -= ways[index - upper]
        for index in range(lower, own * base + 1):
            ways[index] += ways[index - lower]
    return tuple(ways)


def rank_below(own: int, base: int, share: float) -> int:
    """The least rank sum above its least that is not exceeded with probability ``share`` or more."""
    if own + base <= EXACT_MAX:
        ways, reached = _ways(own, base), 0
        whole = math.comb(own + base, own)
        for index, count in enumerate(ways):
            reached += count
            if reached >= share * whole:
                return index
    spread = math.sqrt(own * base * (own + base + 1) / 12)
    return max(0, round(own * base / 2 + NormalDist().inv_cdf(share) * spread))


def apart_by_chance(own: int, base: int) -> float:
    """How often two sides that are alike come out fully apart, either way: 4 v 4 0.029, 5 v 5 0.008."""
    return 2 / math.comb(own + base, own)


def shift_of(own: Sequence[float], base: Sequence[float], confidence: float = 0.98) -> Shift | None:
    """The Mann-Whitney shift from ``base`` to ``own``, or None where so few points prove nothing."""
    if not own or not base:
        return None
    place = rank_below(len(own), len(base), (1 - confidence) / 2)
    if place < 1:
        return None
    differences = sorted(a - b for a in own for b in base)
    return Shift(differences[place - 1], differences[-place], median(differences))


def judge_shift(
    own: Sequence[float],
    base: Sequence[float],
    *,
    confidence: float = 0.98,
    tolerance: float = 0.25,
    slower_by: float = 0.0,
    min_samples: int = 50,
) -> Finding:
    """Worse if the interval's near end passes ``tolerance`` of the estimate and the ratio of means agrees;
    inconclusive under ``min_samples`` points a side."""
    if min(len(own), len(base)) < max(min_samples, 1):
        return "inconclusive"
    shift = shift_of(own, base, confidence)
    if shift is None:
        return "inconclusive"
    worse = shift.low > tolerance * abs(shift.estimate)
    base_mean = fmean(base)
    agrees = fmean(own) > base_mean * (1 + slower_by) if base_mean > 0 else fmean(own) > base_mean
    return "fail" if worse and agrees else "pass"


@dataclass(frozen=True, slots=True)
class Counted:
    """Measurements so far: failed, neither good nor bad, all, and those that are missing since the last one."""

    failed: int = 0
    doubtful: int = 0
    count: int = 0
    missing: int = 0


def judge_counted(
    counted: Counted, *, failure_limit: int = 0, inconclusive_limit: int = 0, count: int = 0, ending: bool = False
) -> Finding:
    """Fails past ``failure_limit``, cannot decide past ``inconclusive_limit``, cannot tell past four missing in a row;
    passes with ``count`` measurements (0: no such number), or where the step is ending with at least one."""
    if counted.failed > failure_limit:
        return "fail"
    if counted.doubtful > inconclusive_limit:
        return "inconclusive"
    if count and counted.count >= count:
        return "pass"
    if counted.missing > MISSING_MAX:
        return "unknown"
    if not counted.count:
        return "unknown" if ending else "undecided"
    return "pass" if ending else "undecided"
