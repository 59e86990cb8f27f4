"""`compare`: several policies on several loads, one table; and at equal cost, by a sweep of the target."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from autoscaler.lab import metrics
from autoscaler.lab.setting import Options, Setting
from autoscaler.lab.simulation import Progress, Run, run_policy
from autoscaler.lab.traces import Load

SWEPT = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Targets of a sweep."""
MEANT = ("theta_u", "theta_o", "slo", "cost", "flaps_per_hour")
"""Figures whose mean over the traces says something."""

Figures = Mapping[str, float]
Told = Callable[[str, float], None]
"""Told what runs, and how much of everything is done, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Point:
    """One target of a sweep and what it came to."""

    target: float
    cost: float
    theta_u: float


@dataclass
class Comparison:
    """``figures`` and ``runs``: trace -> policy -> what came of it. ``curves``: the same, swept; empty without."""

    setting: Setting
    policies: tuple[str, ...]
    figures: dict[str, dict[str, Figures]] = field(default_factory=dict)
    runs: dict[str, dict[str, Run]] = field(default_factory=dict)
    curves: dict[str, dict[str, tuple[Point, ...]]] = field(default_factory=dict)

    def means(self, policy: str) -> dict[str, dict[str, float]]:
        """``arithmetic`` and ``geometric`` means over the traces; of the latter each factor counts at least 0.01."""
        rows = [of[policy] for of in self.figures.values()]
        return {
            "arithmetic": {name: sum(row[name] for row in rows) / len(rows) for name in MEANT},
            "geometric": {name: geometric([row[name] for row in rows]) for name in MEANT},
        }

    def at_cost_of(self, policy: str, other: str) -> dict[str, tuple[float, float]]:
        """Of each trace, lack of ``policy`` as it is set, and of ``other`` where it is tuned to cost the same; traces
        on which no target of the sweep makes it cost that are left out."""
        found = {}
        for trace, of in self.curves.items():
            mine = self.figures[trace][policy]
            theirs = lack_at(of[other], mine["cost"])
            if theirs is not None:
                found[trace] = (mine["theta_u"], theirs)
        return found


def geometric(values: Sequence[float]) -> float:
    """The geometric mean, each value at least 0.01."""
    return math.exp(sum(math.log(max(value, metrics.FLOOR)) for value in values) / len(values))


def lack_at(curve: Sequence[Point], cost: float) -> float | None:
    """Lack at a cost, between the two nearest points of a sweep; None beyond its ends."""
    points = sorted(curve, key=lambda point: point.cost)
    for low, high in itertools.pairwise(points):
        if low.cost <= cost <= high.cost:
            share = (cost - low.cost) / (high.cost - low.cost) if high.cost > low.cost else 0.0
            return low.theta_u + share * (high.theta_u - low.theta_u)
    return None


def compare(
    loads: Sequence[Load],
    policies: Sequence[str],
    setting: Setting,
    *,
    options: Mapping[str, Options] | None = None,
    sweep: Sequence[float] = (),
    told: Told | None = None,
) -> Comparison:
    """Simulate every policy on every load; ``sweep``: each policy once more for each of those targets."""
    found = Comparison(setting, tuple(policies))
    targets = [setting.target, *(target for target in sweep if target != setting.target)]
    whole, done = len(loads) * len(policies) * len(targets), 0
    for load in loads:
        figures: dict[str, Figures] = {}
        for policy in policies:
            points = []
            for target in targets:
                progress = _of_whole(told, f"{load.name}: {policy} at {target:g}", done, whole)
                given = (options or {}).get(policy)
                run = run_policy(policy, load, replace(setting, target=target), given, progress=progress)
                of = run.figures()
                points.append(Point(target, of["cost"], of["theta_u"]))
                if target == setting.target:
                    figures[policy] = of
                    found.runs.setdefault(load.name, {})[policy] = run
                done += 1
            if sweep:
                found.curves.setdefault(load.name, {})[policy] = tuple(points)
        found.figures[load.name] = figures
    if told is not None:
        told("", 1.0)
    return found


def _of_whole(told: Told | None, words: str, done: int, whole: int) -> Progress | None:
    """What tells how far one run is, as a part of all."""
    if told is None:
        return None
    told(words, done / whole)
    return lambda share: told(words, (done + share) / whole)
