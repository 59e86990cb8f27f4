"""`hpa_v2`: the counts of the Horizontal Pod Autoscaler (autoscaling/v2), for those who come from it.

What differs is safer: nothing is forgotten over a restart, the rates count whoever changed the demand, and replicas
that are still starting count as unready. Without ``behavior``: the highest of five minutes, and at most double.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field

import autoscaler
from autoscaler_plugins.rules import hpa, hpa_behavior, remembered
from autoscaler_plugins.rules.fields import Duration, Name, Positive, Ratio, Strict, bounded

HOUR_S = 3600.0
Tolerance = Annotated[Ratio, Field(ge=0, lt=1)]
Window = Annotated[Duration, Field(ge=0, le=HOUR_S)]
PERCENT = 100.0


class Metric(Strict):
    """``target`` of a ``metric``: as a total shared out (`AverageValue`), one value for the service (`Value`), or
    percent of each replica's ``request``, of a metric that is a mean over the replicas (`Utilization`)."""

    metric: Name
    type: Literal["AverageValue", "Value", "Utilization"] = "AverageValue"
    target: Positive
    request: Positive = PERCENT


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


class Options(Strict):
    """The highest count of all ``metrics`` wins. ``tolerance``: how far off a target changes nothing."""

    metrics: Annotated[list[Metric], Field(min_length=1, max_length=16)]
    tolerance: Tolerance = hpa.TOLERANCE
    behavior: Behavior | None = None


@autoscaler.hookimpl
def propose(
    service: autoscaler.ServiceFacts,
    signals: autoscaler.SignalsView,
    now: float,
    options: Options,
    memory: dict[str, Any],
) -> autoscaler.Scale | autoscaler.Hold | None:
    """The highest count of the metrics, through windows, rates and bounds; a failed metric never lowers it."""
    demand = service.demand
    at_once = hpa.by_bounds(demand, service.minimum, service.maximum)
    if at_once is None:
        return autoscaler.Hold(f"switched off: no replica, with a minimum of {service.minimum}")
    keep_s = kept_for(options.behavior)
    remembered.note_demand(memory, now, demand, keep_s)
    memory.setdefault("recs", [[now, demand]])
    if at_once != demand:
        return autoscaler.Scale(at_once, f"{demand} is out of bounds")
    counts = [(count_of(service, signals[metric.metric], metric, options), metric) for metric in options.metrics]
    known = [(found[0], found[1]) for found, _ in counts if found is not None]
    if not known:
        return None
    wish, reason = max(known, key=lambda found: found[0])
    failed = [metric.metric for found, metric in counts if found is None]
    if failed and wish < demand:
        return autoscaler.Hold(f"{reason}, but {', '.join(failed)} unknown")
    recs = memory["recs"]
    final, limit = through(service, wish, now, options.behavior, memory)
    memory["recs"] = remembered.with_newest(recs, now, wish, keep_s)
    if final == wish:
        return autoscaler.Scale(wish, reason)
    return autoscaler.Scale(bounded(final), f"{reason}; {limit}: {final}", next_expiry(now, options.behavior, memory))


def count_of(
    service: autoscaler.ServiceFacts, signal: autoscaler.Signal, metric: Metric, options: Options
) -> tuple[int, str] | None:
    """The count that one metric asks for and its words; None where it is not known."""
    value = signal.latest
    if value is None:
        return None
    demand, target, band = service.demand, metric.target, tolerance_of(options)
    said = f"{value:.6g} {metric.metric}"
    if metric.type == "AverageValue":
        count = hpa.by_average_value(demand, target, value, band)
        return bounded(count), f"{said} over {target:g} a replica = {count}"
    if metric.type == "Value":
        count = hpa.by_value(demand, service.ready, target, value, band)
        return bounded(count), f"{said} to {target:g} by {service.ready} ready = {count}"
    each = PERCENT * value / metric.request
    use: list[float | None] = [each] * service.ready
    replicas = hpa.Replicas(use, range(service.ready, demand), count=max(demand, service.ready))
    try:
        count, percent = hpa.by_utilization(
            demand, math.ceil(target), replicas, [PERCENT] * max(demand, service.ready), band
        )
    except hpa.NoMetricsError:
        return None
    return bounded(count), f"{said} is {percent}% of {metric.request:g}, target {target:g}% = {count}"


def tolerance_of(options: Options) -> hpa.Tolerance:
    """The band around a target, one width a direction."""
    behavior = options.behavior or Behavior()
    up, down = behavior.scale_up.tolerance, behavior.scale_down.tolerance
    return hpa.Tolerance(options.tolerance if up is None else up, options.tolerance if down is None else down)


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
    service: autoscaler.ServiceFacts, wish: int, now: float, behavior: Behavior | None, memory: dict[str, Any]
) -> tuple[int, str]:
    """The count that windows, rates and bounds let through, and what limited it."""
    bounds = service.minimum, service.maximum
    recs = remembered.aged(memory["recs"], now)
    if behavior is None:
        final, limit = hpa.plain(service.demand, wish, bounds, recs)
        return final, "highest of 5m" if limit == "DesiredWithinRange" else limit
    up, down = directions_of(behavior)
    steady = hpa_behavior.stabilized(service.demand, wish, up.window_s, down.window_s, recs)
    history = hpa_behavior.History(remembered.aged(memory["added"], now), remembered.aged(memory["removed"], now))
    final, limit = hpa_behavior.limited(service.demand, steady, bounds, (up, down), history)
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
    ends += [at + period for name in ("added", "removed") for at, _ in memory[name] for period in periods]
    return min((end for end in ends if end > now), default=None)
