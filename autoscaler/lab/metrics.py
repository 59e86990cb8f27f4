"""How well supply followed demand, on a grid of one second: the elasticity metrics of SPEC RG, and a queue. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Seconds = Sequence[float] | NDArray[Any]
"""One value for each second."""
FLAP_S = 600.0
GRID_S = 60
GRID_FROM_S = 600
"""From so many seconds on, instability is measured on the coarser grid."""
FLOOR = 0.01
"""Of a factor of a geometric mean."""
DUST = 1e-6
"""Of a replica's capacity: what the sums of a long time leave behind."""


class Change(NamedTuple):
    """A change of the number of replicas."""

    at: float
    before: int
    after: int


class Queue(NamedTuple):
    """Percent of the seconds that break the objective, and of the load that exceeds what there was."""

    violations: float
    lost: float


def elasticity(demand: Seconds, supply: Seconds) -> dict[str, float]:
    """Percentages of lack and excess (``theta_u``, ``theta_o``), the time in them (``tau_u``, ``tau_o``), and
    ``upsilon``, the share of changes of supply and demand that do not go together."""
    wanted, given = np.asarray(demand, float), np.asarray(supply, float)
    per_cent = 100 / len(wanted) if len(wanted) else 0.0
    short, least = wanted - given, np.maximum(wanted, 1)
    return {
        "theta_u": per_cent * float((np.maximum(short, 0) / least).sum()),
        "theta_o": per_cent * float((np.maximum(-short, 0) / least).sum()),
        "tau_u": per_cent * int((short > 0).sum()),
        "tau_o": per_cent * int((short < 0).sum()),
        "upsilon": instability(wanted, given),
    }


def instability(demand: Seconds, supply: Seconds) -> float:
    """Percent of the steps in which supply and demand do not move the same way."""
    step = GRID_S if len(demand) >= GRID_FROM_S else 1
    wanted, given = (np.sign(np.diff(np.asarray(of, float)[::step])) for of in (demand, supply))
    return 100 * float((wanted != given).mean()) if len(wanted) else 0.0


def flaps(changes: Sequence[Change]) -> int:
    """How many changes undo the direction of the one before within ten minutes."""
    moves = [(change.at, change.after > change.before) for change in changes if change.after != change.before]
    return sum(
        way != before and at - before_at <= FLAP_S for (before_at, before), (at, way) in itertools.pairwise(moves)
    )


def queue(load: Seconds, supply: Seconds, capacity: float, slo_s: float = 1.0) -> Queue:
    """A fluid queue before the replicas: when it takes longer than ``slo_s`` to empty, the objective is broken.

    What waits is the load that came less what was carried, counted from the last moment at which nothing waited.
    """
    arriving, carried = np.asarray(load, float), capacity * np.asarray(supply, float)
    if not len(arriving):
        return Queue(0.0, 0.0)
    missing = arriving - carried
    total = np.cumsum(missing)
    waiting = total - np.minimum(np.minimum.accumulate(total), 0.0)
    dust = DUST * capacity
    broken = (waiting > dust) & (waiting > slo_s * carried + dust)
    lost, came = float(np.maximum(missing, 0.0).sum()), float(arriving.sum())
    return Queue(100 * float(broken.mean()), 100 * lost / came if came else 0.0)


def oracle_seconds(demand: Seconds, startup_s: float) -> float:
    """Replica seconds of the cheapest plan that never lacks: each start is paid for ``startup_s``, and a replica that
    is wanted again before that would be over is kept."""
    wanted = np.asarray(demand, int)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(wanted)) + 1)) if len(wanted) else np.zeros(0, int)
    levels, ends = wanted[starts], np.append(starts, len(wanted))
    paid = float((levels * np.diff(ends)).sum())
    for level in range(1, int(levels.max(initial=0)) + 1):
        used = np.concatenate(([False], levels >= level, [False]))
        moments = ends[np.flatnonzero(np.diff(used.astype(int)))]
        gaps = moments[2::2] - moments[1:-1:2]
        paid += startup_s * bool(moments[0]) + float(np.minimum(gaps, startup_s).sum())
    return paid


def speed_up(figures: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """How much better than a reference, as the geometric mean over lack, excess and the time in them."""
    names = ("theta_u", "theta_o", "tau_u", "tau_o")
    return math.prod(max(reference[name], FLOOR) / max(figures[name], FLOOR) for name in names) ** 0.25
