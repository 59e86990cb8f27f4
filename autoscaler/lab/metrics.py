"""How well supply followed demand, on a grid of one second: the elasticity metrics of SPEC RG, and a queue. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

FLAP_S = 600.0
GRID_S = 60
GRID_FROM_S = 600
"""From so many seconds on, instability is measured on the coarser grid."""
FLOOR = 0.01
"""Of a factor of a geometric mean."""


class Change(NamedTuple):
    """A change of the number of replicas."""

    at: float
    before: int
    after: int


class Queue(NamedTuple):
    """Percent of the seconds that break the objective, and of the load that exceeds what there was."""

    violations: float
    lost: float


def elasticity(demand: Sequence[float], supply: Sequence[float]) -> dict[str, float]:
    """Percentages of lack and excess (``theta_u``, ``theta_o``), the time in them (``tau_u``, ``tau_o``), and
    ``upsilon``, the share of changes of supply and demand that do not go together."""
    pairs = list(zip(demand, supply, strict=True))
    per_cent = 100 / len(pairs) if pairs else 0.0
    return {
        "theta_u": per_cent * sum(max(d - s, 0) / max(d, 1) for d, s in pairs),
        "theta_o": per_cent * sum(max(s - d, 0) / max(d, 1) for d, s in pairs),
        "tau_u": per_cent * sum(d > s for d, s in pairs),
        "tau_o": per_cent * sum(s > d for d, s in pairs),
        "upsilon": instability(demand, supply),
    }


def instability(demand: Sequence[float], supply: Sequence[float]) -> float:
    """Percent of the steps in which supply and demand do not move the same way."""
    step = GRID_S if len(demand) >= GRID_FROM_S else 1
    wanted, given = demand[::step], supply[::step]
    steps = len(wanted) - 1
    if steps < 1:
        return 0.0
    apart = sum(_sign(given[i + 1] - given[i]) != _sign(wanted[i + 1] - wanted[i]) for i in range(steps))
    return 100 * apart / steps


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def flaps(changes: Sequence[Change]) -> int:
    """How many changes undo the direction of the one before within ten minutes."""
    moves = [(change.at, _sign(change.after - change.before)) for change in changes if change.after != change.before]
    return sum(
        way != before and at - before_at <= FLAP_S for (before_at, before), (at, way) in itertools.pairwise(moves)
    )


def queue(load: Sequence[float], supply: Sequence[float], capacity: float, slo_s: float = 1.0) -> Queue:
    """A fluid queue before the replicas: when it takes longer than ``slo_s`` to empty, the objective is broken."""
    waiting = lost = 0.0
    broken = 0
    for arriving, ready in zip(load, supply, strict=True):
        carried = capacity * ready
        waiting = max(0.0, waiting + arriving - carried)
        lost += max(arriving - carried, 0.0)
        broken += waiting > 0 and waiting > slo_s * carried
    total = sum(load)
    return Queue(100 * broken / len(load) if load else 0.0, 100 * lost / total if total else 0.0)


def speed_up(figures: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """How much better than a reference, as the geometric mean over lack, excess and the time in them."""
    names = ("theta_u", "theta_o", "tau_u", "tau_o")
    return math.prod(max(reference[name], FLOOR) / max(figures[name], FLOOR) for name in names) ** 0.25
