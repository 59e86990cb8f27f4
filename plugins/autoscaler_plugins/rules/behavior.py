"""What ``behavior`` of autoscaling/v2 is as an option, and its way through windows, rates and bounds: of `hpa_v2`, and
of `keda`, which hands the counts between one and the maximum to HPA."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from autoscaler_plugins.rules import hpa, hpa_behavior, remembered
from autoscaler_plugins.rules.fields import Duration, Ratio, Strict

HOUR_S = 3600.0
Tolerance = Annotated[Ratio, Field(ge=0, lt=1)]
Window = Annotated[Duration, Field(ge=0, le=HOUR_S)]


class Policy(Strict):
    """At most ``value`` replicas, or percent of them, within ``period``."""

    type: hpa_behavior.Kind
    value: Annotated[int, Field(ge=1)]
    period: Annotated[Duration, Field(gt=0, le=1800)]


class Direction(Strict):
    """``window``: how long the mildest recommendation counts. ``select``: which of the ``policies`` limits."""

    window: Window | None = None
    select: hpa_behavior.Select = "Max"
    policies: Annotated[list[Policy], Field(min_length=1, max_length=16)] | None = None
    tolerance: Tolerance | None = None


class Behavior(Strict):
    """Both directions; what is not given is as upstream."""

    scale_up: Direction = Direction()
    scale_down: Direction = Direction()


def tolerance_of(behavior: Behavior | None, usual: float = hpa.TOLERANCE) -> hpa.Tolerance:
    """The band around a target, one width a direction."""
    given = behavior or Behavior()
    up, down = given.scale_up.tolerance, given.scale_down.tolerance
    return hpa.Tolerance(usual if up is None else up, usual if down is None else down)


def directions_of(behavior: Behavior) -> tuple[hpa_behavior.Direction, hpa_behavior.Direction]:
    """The rules of both directions, with upstream's defaults."""

    def one(given: Direction, default: hpa_behavior.Direction) -> hpa_behavior.Direction:
        window_s = default.window_s if given.window is None else given.window
        rules = tuple(hpa_behavior.Rule(rule.type, rule.value, rule.period) for rule in given.policies or ())
        return hpa_behavior.Direction(window_s, rules or default.rules, given.select)

    return one(behavior.scale_up, hpa_behavior.UP), one(behavior.scale_down, hpa_behavior.DOWN)


def kept_for(behavior: Behavior | None) -> float:
    """How long the past matters."""
    if behavior is None:
        return hpa.PLAIN_WINDOW_S
    return max(max(way.window_s, *(rule.period_s for rule in way.rules)) for way in directions_of(behavior))


def through(
    counts: tuple[int, int], bounds: tuple[int, int], now: float, behavior: Behavior | None, memory: dict[str, Any]
) -> tuple[int, str]:
    """The count that windows, rates and bounds let through, and what limited it. ``counts``: today's and the wish."""
    demand, wish = counts
    recs = remembered.aged(memory["recs"], now)
    if behavior is None:
        final, limit = hpa.plain(demand, wish, bounds, recs)
        return final, "highest of 5m" if limit == "DesiredWithinRange" else limit
    up, down = directions_of(behavior)
    steady = hpa_behavior.stabilized(demand, wish, up.window_s, down.window_s, recs)
    history = hpa_behavior.History(remembered.aged(memory["added"], now), remembered.aged(memory["removed"], now))
    final, limit = hpa_behavior.limited(demand, steady, bounds, (up, down), history)
    return final, "stabilization window" if limit == "DesiredWithinRange" else limit


def next_expiry(now: float, behavior: Behavior | None, memory: dict[str, Any]) -> float | None:
    """When the first thing that is remembered stops to count."""
    if behavior is None:
        windows, periods = [hpa.PLAIN_WINDOW_S], []
    else:
        ways = directions_of(behavior)
        windows = [way.window_s for way in ways]
        periods = [rule.period_s for way in ways for rule in way.rules]
    ends = [at + window for at, _ in memory["recs"] for window in windows]
    ends += [at + period for name in ("added", "removed") for at, _ in memory.get(name, ()) for period in periods]
    return min((end for end in ends if end > now), default=None)
