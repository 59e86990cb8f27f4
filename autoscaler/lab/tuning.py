"""`tune`: the options of a policy that cost least, where a replica that lacks costs so many idle ones.

Cross-validated over time: a load is cut into as many parts as there are folds, options are chosen on all parts but one
and judged on that one, so that what is told is what a service would have got, and not what fits its past.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autoscaler.lab.comparison import Told
from autoscaler.lab.setting import Options, Setting
from autoscaler.lab.simulation import run_policy
from autoscaler.lab.traces import Load

Choice = Mapping[str, Any]
"""Names of options, or ``target``, and the values that are tried."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """``chosen``: the cheapest on the whole. ``costs``: of each choice, in idle-replica seconds for each second.
    ``judged``: what the choices cost on parts that they were not made on, ``usual``: what the defaults cost there."""

    chosen: Choice
    costs: tuple[tuple[Choice, float], ...]
    judged: float
    usual: float
    folds: int


def choices(space: Mapping[str, Sequence[Any]]) -> list[Choice]:
    """Every combination of the values."""
    names = list(space)
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*space.values())]


def tune(
    load: Load,
    policy: str,
    setting: Setting,
    space: Mapping[str, Sequence[Any]],
    *,
    options: Options | None = None,
    lack_cost: float = 49.0,
    folds: int = 4,
    told: Told | None = None,
) -> Tuned:
    """Try every combination of ``space`` on the load. Each is simulated once, and its cost is told by part."""
    tried = choices(space)
    parts = []
    for index, choice in enumerate(({}, *tried)):
        if told is not None:
            told(", ".join(f"{name}={value}" for name, value in choice.items()) or "defaults", index / (len(tried) + 1))
        parts.append(_by_part(load, policy, setting, {**(options or {}), **choice}, lack_cost, folds))
    if told is not None:
        told("", 1.0)
    costs = np.array(parts[1:])
    judged = []
    for fold in range(folds):
        seen = [part for part in range(folds) if part != fold] or [fold]
        judged.append(float(costs[int(np.argmin(costs[:, seen].mean(axis=1))), fold]))
    whole = costs.mean(axis=1)
    order = np.argsort(whole, kind="stable")
    return Tuned(
        tried[int(order[0])],
        tuple((tried[int(i)], float(whole[i])) for i in order),
        float(np.mean(judged)),
        float(np.mean(parts[0])),
        folds,
    )


def _by_part(load: Load, policy: str, setting: Setting, given: Options, lack_cost: float, folds: int) -> list[float]:
    rest = dict(given)
    target = rest.pop("target", setting.target)
    run = run_policy(policy, load, replace(setting, target=target), rest)
    short = run.load.demand - run.ready
    cost = np.maximum(run.paid - run.load.demand, 0) + lack_cost * np.maximum(short, 0)
    return [float(part.mean()) for part in np.array_split(cost, folds)]
