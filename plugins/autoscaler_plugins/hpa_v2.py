"""`hpa_v2`: the counts of the Horizontal Pod Autoscaler (autoscaling/v2), for those who come from it.

What differs is safer: nothing is forgotten over a restart, the rates count whoever changed the demand, and replicas
that are still starting count as unready. Without ``behavior``: the highest of five minutes, and at most double.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field

import autoscaler
from autoscaler_plugins.rules import hpa, remembered
from autoscaler_plugins.rules.behavior import Behavior, Tolerance, kept_for, next_expiry, through, tolerance_of
from autoscaler_plugins.rules.fields import Name, PositiveAmount, Strict, bounded

PERCENT = 100.0


class Metric(Strict):
    """``target`` of a ``metric``: as a total shared out (`AverageValue`), one value for the service (`Value`), or
    percent of each replica's ``request``, of a metric that is a mean over the replicas (`Utilization`). Both also as
    Kubernetes writes amounts, ``500m`` or ``1k``."""

    metric: Name
    type: Literal["AverageValue", "Value", "Utilization"] = "AverageValue"
    target: PositiveAmount
    request: PositiveAmount = PERCENT


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
        remembered.note_wish(memory, now, demand, at_once)
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
    bounds = service.minimum, service.maximum
    final, limit = through((demand, wish), bounds, now, options.behavior, memory)
    memory["recs"] = remembered.with_newest(recs, now, wish, keep_s)
    remembered.note_wish(memory, now, demand, final)
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
    demand, target, band = service.demand, metric.target, tolerance_of(options.behavior, options.tolerance)
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
