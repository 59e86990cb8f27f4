"""`kafka_lag`: consumers by the lag of their group, no more of them than there are partitions to read.

The policy works on a metric that carries the group's total lag. Whatever publishes that metric may be its source; the
one that ships, `metrics: {kafka: [...]}`, asks the broker, and tells beside it of the partitions.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

import autoscaler
from autoscaler_plugins.rules import hpa, keda
from autoscaler_plugins.rules.fields import Duration, Name, NotNegative, Ratio, Strict, bounded


class Options(Strict):
    """``metric``: the group's total lag. ``per_replica``: messages of lag that one consumer may have. ``partitions``
    of the topics: the most consumers that can work, unless ``allow_idle``; where it is left out, what the metric
    ``<metric>_partitions`` says. ``even``: only counts that divide them. ``with_lag``: a metric of how many partitions
    have any lag, which is then the most. ``activation``: lag up to it
    starts nothing. ``cooldown``: time without more lag than that before the last consumer stops."""

    metric: Name
    partitions: Annotated[int, Field(ge=1, le=100_000)] | None = None
    per_replica: Annotated[int, Field(ge=1)] = keda.LAG_THRESHOLD
    activation: NotNegative = 0.0
    allow_idle: bool = False
    even: bool = False
    with_lag: Name | None = None
    tolerance: Annotated[Ratio, Field(ge=0, lt=1)] = hpa.TOLERANCE
    cooldown: Annotated[Duration, Field(ge=0)] = keda.COOLDOWN_S


@autoscaler.hookimpl
def propose(
    service: autoscaler.ServiceFacts,
    signals: autoscaler.SignalsView,
    now: float,
    options: Options,
    memory: dict[str, Any],
) -> autoscaler.Scale | autoscaler.Hold | None:
    """As many consumers as share the lag; one is kept until the cooldown is over."""
    lag = signals[options.metric].latest
    if lag is None:
        return None
    if lag < 0:
        return autoscaler.Hold(f"{lag:.6g} {options.metric} is no lag")
    with_lag = None
    if options.with_lag is not None:
        with_lag = signals[options.with_lag].latest
        if with_lag is None:
            return None
    demand = service.demand
    said = f"{lag:.6g} {options.metric} over {options.per_replica} a replica"
    if keda.is_active(lag, options.activation):
        memory["active_at"] = now
        partitions: float | None = options.partitions
        if partitions is None:
            partitions = signals[f"{options.metric}_partitions"].latest
            if partitions is None:
                return None
        count = shared(lag, demand, max(1, int(partitions)), with_lag, options)
        return autoscaler.Scale(bounded(count), f"{said} = {count}")
    active_at = memory.setdefault("active_at", now)
    ends_at = active_at + options.cooldown
    if demand == 0:
        return autoscaler.Scale(0, f"{said}: inactive")
    if now <= ends_at:
        return autoscaler.Scale(1, f"{said}: the last one stays for the cooldown", ends_at + 0.001)
    return autoscaler.Scale(0, f"{said}: inactive for {autoscaler.format_duration(now - active_at)}")


def shared(lag: float, demand: int, partitions: int, with_lag: float | None, options: Options) -> int:
    """The consumers that share an active lag; at least one."""
    most = None if with_lag is None else max(1, int(with_lag))
    rules = keda.LagRules(options.per_replica, options.allow_idle, options.even, most)
    reported = keda.kafka_lag(int(lag), partitions, rules)
    band = hpa.Tolerance(options.tolerance, options.tolerance)
    count = hpa.by_average_value(demand, options.per_replica, reported, band)
    if options.even and count == demand and partitions % max(demand, 1):
        count = hpa.by_average_value(0, options.per_replica, reported)
    limit = partitions if most is None else min(most, partitions)
    return max(1, count if options.allow_idle and most is None else min(count, limit))
