"""The steps of a canary or of a preview, and how many replicas of each revision a step wants. Pure.

Called by rollout's parts and by `traffic`. Integers and rationals only. Source of the counts: argoproj/argo-rollouts
`utils/replicaset/canary.go`, except that where more than one replica may run, both revisions keep at least one.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

WHOLE = 100
"""Percents of a whole."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far a revision has come before it is judged: by ``weight`` (percent of the requests, or of the replicas where
    nothing routes) or by ``count`` (replicas beside the demand); exactly one is set.

    ``pause_s``: how long at least the step lasts; None: until somebody lets it go on.
    """

    weight: int | None = None
    count: int | None = None
    pause_s: float | None = 0.0


class Counts(NamedTuple):
    """Replicas of the new revision and of all others."""

    new: int
    old: int


def canary_counts(demand: int, weight: int, surge: int) -> Counts:
    """Replicas of either revision that come closest to ``weight`` percent by count alone, for 0 < weight < 100.

    c is D*w/100 rounded down or up, T is D or, with a surge, D + 1, and 1 <= c <= T - 1 if more than one may run; the
    least distance of 100*c/T from w decides, then the smaller T, then the larger c.
    """
    exact = demand * weight
    down, up = exact // WHOLE, -(-exact // WHOLE)
    best: tuple[Fraction, int, int] | None = None
    for total in (demand, demand + 1) if surge > 0 else (demand,):
        for new in {down, up}:
            if total > 1 and not 1 <= new <= total - 1:
                continue
            if new > total or (total <= 1 and surge > 0):
                continue
            rank = (abs(Fraction(WHOLE * new, total) - weight) if total else Fraction(0), total, -new)
            if best is None or rank < best:
                best = rank
    if best is None:
        return Counts(0, demand)
    return Counts(-best[2], best[1] + best[2])


def preview_counts(step: Step | None, demand: int) -> Counts:
    """Replicas of a preview, at most D, beside all old ones; without a step D of either."""
    new = demand if step is None else step_counts(step, demand, 0, routed=True).new
    return Counts(min(new, demand), demand)


def step_counts(step: Step, demand: int, surge: int, *, routed: bool) -> Counts:
    """Replicas that the step wants at this demand: ``count`` ones beside the old; with a router as many as their part
    of the requests needs, all old ones kept; else by `canary_counts`."""
    if demand == 0:
        return Counts(0, 0)
    if step.count is not None:
        return Counts(step.count, demand)
    weight = step.weight or 0
    if weight == 0:
        return Counts(0, demand)
    if routed:
        return Counts(-(-demand * weight // WHOLE), demand)
    return Counts(demand, 0) if weight >= WHOLE else canary_counts(demand, weight, surge)
