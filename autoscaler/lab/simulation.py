"""`simulate`: a policy on a load, with a model of replicas, on a grid of one second.

The model: a replica is paid from the moment it is wanted and serves after the start-up time; removal is instant,
starting ones go first; a metric is the mean over its window, and comes late. What is left out: queues that feed back
into metrics, and starts that fail.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoscaler.core.settings import Scaling
from autoscaler.lab import metrics
from autoscaler.lab.setting import TICKS, Setting
from autoscaler.lab.stepping import Stepper, scaling_of
from autoscaler.lab.traces import Load

Progress = Callable[[float], None]
"""Told how much of the time is simulated, from 0 to 1."""
TOLD_EVERY = 2000
HOUR_S = 3600.0


class Decision(NamedTuple):
    """A change of the demand: when, from how many, to how many, why, and which guards had a hand in it."""

    at: float
    before: int
    after: int
    reason: str
    clamps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """What came of it, in each second: ``ready`` replicas, and ``paid`` ones (those that start, too). ``bounds``: at
    each look the load that the policy reckons with, not a number where it says none. ``unknown``: looks at which the
    policy failed or knew nothing, so that today's count stood; ``why``: at the last of them."""

    policy: str
    load: Load
    setting: Setting
    ready: NDArray[np.int64]
    paid: NDArray[np.int64]
    decisions: tuple[Decision, ...]
    bounds: tuple[tuple[float, float], ...]
    looks: int
    unknown: int = 0
    why: str = ""

    def figures(self, slo_s: float = 1.0) -> dict[str, float]:
        """The figures of the run; every name is explained in docs/policies.md."""
        demand = self.load.demand
        hours = len(demand) / HOUR_S
        queue = metrics.queue(self.load.per_second, self.ready, self.load.capacity, slo_s)
        changes = [metrics.Change(d.at, d.before, d.after) for d in self.decisions]
        cost = float(self.paid.sum())
        oracle = metrics.oracle_seconds(demand, self.setting.startup)
        return {
            **metrics.elasticity(demand, self.ready),
            "slo": queue.violations,
            "lost": queue.lost,
            "cost_hours": cost / HOUR_S,
            "cost": 1 + (cost - oracle) / max(oracle, HOUR_S),  # of next to nothing, what it is more counts in hours
            "changes_per_hour": len(changes) / hours,
            "flaps_per_hour": metrics.flaps(changes) / hours,
        }


class _Replicas:
    """Those of one run. Changes are noted where they happen and summed up at the end, so that a second costs nothing
    by itself."""

    def __init__(self, seconds: int, startup_s: float, ready: int) -> None:
        self.ready = ready
        self.starting: deque[list[int]] = deque()
        self._startup_s = math.ceil(startup_s)
        self._ready_change = np.zeros(seconds + self._startup_s + 2, np.int64)
        self._paid_change = np.zeros_like(self._ready_change)
        self._ready_change[0] = self._paid_change[0] = ready
        self._seconds = seconds

    @property
    def on_the_way(self) -> int:
        return sum(count for _, count in self.starting)

    def advance(self, second: int) -> None:
        while self.starting and self.starting[0][0] <= second:
            self.ready += self.starting.popleft()[1]

    def become(self, second: int, wanted: int) -> None:
        more = wanted - self.ready - self.on_the_way
        self._paid_change[second] += more
        if more > 0:
            due = second + self._startup_s
            self._ready_change[due] += more
            self.starting.append([due, more])
            self.advance(second)
            return
        less = -more
        while less and self.starting:
            due, count = self.starting[-1]
            gone = min(less, count)
            self._ready_change[due] -= gone
            less -= gone
            if gone == count:
                self.starting.pop()
            else:
                self.starting[-1][1] -= gone
        self._ready_change[second] -= less
        self.ready -= less

    def seconds(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ready, paid = np.cumsum(self._ready_change), np.cumsum(self._paid_change)
        return ready[: self._seconds], paid[: self._seconds]


def seen_at(load: Load, setting: Setting, ticks: NDArray[np.int64]) -> NDArray[np.float64]:
    """What the metric shows at each tick: the mean of its window, which ended ``lag`` seconds ago."""
    sums = np.concatenate(([0.0], np.cumsum(load.per_second)))
    ends = np.clip(ticks - round(setting.lag), 1, len(load.per_second))
    begins = np.clip(ends - max(1, round(setting.window)), 0, None)
    values: NDArray[np.float64] = (sums[ends] - sums[begins]) / (ends - begins)
    return np.maximum(values, 0.0)


def run_policy(
    policy: str,
    load: Load,
    setting: Setting,
    options: Mapping[str, Any] | None = None,
    scaling: Scaling | None = None,
    progress: Progress | None = None,
) -> Run:
    """Simulate one policy. Raises `ConfigurationError` where it cannot be had or its options are wrong.

    A policy that stands for another product's looks as often as that one does, with no window beside its own, unless
    ``scaling`` says otherwise.
    """
    period = min(setting.period, TICKS.get(policy, setting.period))
    setting = replace(setting, capacity=load.capacity, minimum=load.minimum, period=period)
    scaling = scaling or scaling_of(policy, setting)
    driven = Stepper(policy, options or {}, setting, scaling)
    seconds = len(load.per_second)
    ticks = np.arange(0, seconds, max(1, round(period)))
    seen = seen_at(load, setting, ticks).tolist()
    first = max(load.minimum, math.ceil(seen[0] / setting.per_replica - metrics.DUST))
    replicas = _Replicas(seconds, setting.startup, min(first, setting.maximum))
    decisions: list[Decision] = []
    bounds: list[tuple[float, float]] = []
    demand, unknown, why = replicas.ready, 0, ""
    for index, second in enumerate(ticks.tolist()):
        replicas.advance(second)
        wanted = driven.step(float(second), seen[index], replicas.ready, replicas.on_the_way)
        if wanted != demand:
            record = driven.record
            clamps = () if record is None else tuple(f"{c.guard}: {c.before} -> {c.after}" for c in record.clamps)
            decisions.append(Decision(float(second), demand, wanted, driven.reason, clamps))
            replicas.become(second, wanted)
            demand = wanted
        if driven.vote is not None and driven.vote.unknown:
            unknown, why = unknown + 1, driven.vote.unknown
        bound = driven.bound
        if bound is not None:
            bounds.append((float(second), bound))
        if progress is not None and index % TOLD_EVERY == 0:
            progress(index / len(ticks))
    ready, paid = replicas.seconds()
    told = (tuple(decisions), tuple(bounds), len(ticks), unknown, why)
    return Run(driven.policy, load, setting, ready, paid, *told)
