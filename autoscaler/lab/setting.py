"""`Setting`: what is the same for all policies that are compared, and the options that each of them needs to stand in
it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autoscaler.core.settings import Scaling
from autoscaler.errors import ConfigurationError, Problem

LOAD = "requests_per_second"
"""The metric's name: the load of the whole service."""
LOAD_EACH = "requests_per_second_per_replica"
"""The same load over the ready replicas, for policies that look at one of them."""

Options = Mapping[str, Any]

_NUMBERS = ("capacity", "startup", "period", "lag", "window", "target")
_ABOVE_ZERO = frozenset({"capacity", "period", "target"})


def finite(value: Any) -> float | None:
    """A caller's number, of whatever kind, as a plain one; None where it is none, or not finite."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


@dataclass(frozen=True, slots=True)
class Setting:
    """``capacity``: load that one replica carries at all, in requests/s. ``startup``: seconds from wanted to ready.
    ``period``: seconds between looks. ``lag``: seconds by which the metric comes late, ``window``: over how many it is
    a mean. ``target``: the share of a replica that a plain target aims at."""

    capacity: float = 50.0
    startup: float = 30.0
    period: float = 15.0
    lag: float = 15.0
    window: float = 15.0
    target: float = 0.7
    minimum: int = 0
    maximum: int = 1000

    def __post_init__(self) -> None:
        """Whatever kind of numbers a caller has, options get plain ones. Raises `ConfigurationError`."""
        problems: list[Problem] = []
        for name in _NUMBERS:
            number = finite(getattr(self, name))
            if number is None or number < 0 or (number == 0 and name in _ABOVE_ZERO):
                wanted = "above 0" if name in _ABOVE_ZERO else "of at least 0"
                problems.append(Problem(name, f"{getattr(self, name)!r} is no number {wanted}"))
            else:
                object.__setattr__(self, name, number)
        for name in ("minimum", "maximum"):
            number = finite(getattr(self, name))
            if number is None or number < 0 or number != int(number):
                problems.append(Problem(name, f"{getattr(self, name)!r} is no whole number of at least 0"))
            else:
                object.__setattr__(self, name, int(number))
        if not problems and self.minimum > self.maximum:
            what = f"{self.maximum} is below a minimum of {self.minimum}"
            problems.append(Problem("maximum", what, "Raise maximum or lower minimum."))
        if problems:
            raise ConfigurationError(problems)

    @property
    def per_replica(self) -> float:
        """Load that one replica is meant to carry."""
        return self.capacity * self.target


USUAL = Setting()


def options_for(policy: str, given: Options, setting: Setting, fields: frozenset[str]) -> dict[str, Any]:
    """The options ``given``, and for what they leave out, what the setting says.

    ``fields``: the names that the policy's `Options` know; empty where it has none. A policy that does not ship gets
    whatever of ``metric``, ``per_replica``, ``target``, ``capacity``, ``startup`` and the like it has a field for.
    """
    known = _SHIPPED.get(policy)
    if known is not None:
        return {**known(setting), **given}
    offered = {
        "metric": LOAD,
        "per_replica": setting.per_replica,
        "target": setting.per_replica,
        "capacity": setting.capacity,
        **{name: getattr(setting, name) for name in ("startup", "period", "lag", "window")},
    }
    return {**{name: value for name, value in offered.items() if name in fields}, **given}


def _hpa_v2(setting: Setting) -> dict[str, Any]:
    return {"metrics": [{"metric": LOAD, "target": setting.per_replica}]}


def _keda(setting: Setting) -> dict[str, Any]:
    return {"triggers": [{"metric": LOAD, "threshold": setting.per_replica}]}


def _kpa(setting: Setting) -> dict[str, Any]:
    return {
        "metric": LOAD,
        "target": setting.capacity,
        "utilization": 100 * setting.target,
        "zero": setting.minimum == 0,
    }


def _nomad(setting: Setting) -> dict[str, Any]:
    return {"metric": LOAD_EACH, "target": setting.per_replica}


def _target_value(setting: Setting) -> dict[str, Any]:
    return {"metric": LOAD, "per_replica": setting.per_replica}


def _quantile_headroom(setting: Setting) -> dict[str, Any]:
    return {
        "metric": LOAD,
        "per_replica": setting.capacity,
        "guard": setting.target,
        "startup": setting.startup,
        "period": max(1.0, min(setting.period, 60.0)),
        "lag": setting.lag,
        "window": setting.window,
    }


_SHIPPED: Mapping[str, Callable[[Setting], dict[str, Any]]] = {
    "hpa_v2": _hpa_v2,
    "keda": _keda,
    "kpa": _kpa,
    "nomad_target_value": _nomad,
    "quantile_headroom": _quantile_headroom,
    "target_value": _target_value,
}

_AS_UPSTREAM = Scaling(down_window_s=0.0, idle_s=0.0)
SCALING: Mapping[str, Scaling] = {
    "hpa_v2": Scaling(down_window_s=0.0),
    "keda": _AS_UPSTREAM,
    "kpa": _AS_UPSTREAM,
    "nomad_target_value": Scaling(down_window_s=0.0),
}
"""How the pages on coming from elsewhere set ``scaling:``, so that a policy's own windows are the only ones."""
TICKS: Mapping[str, float] = {"kpa": 2.0}
"""Seconds between looks of a policy that looks more often than others."""
