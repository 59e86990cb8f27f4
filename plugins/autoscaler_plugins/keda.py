"""`keda`: a service that is switched on and off by triggers, and scaled as HPA does between one and its maximum.

A trigger without a known value fails once a ``polling``; after ``fallback.failure_threshold`` failures in a row a
fallback stands in for it, before that the demand is held. An error never scales to zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

import autoscaler
from autoscaler_plugins.rules import hpa, remembered
from autoscaler_plugins.rules import keda as rules
from autoscaler_plugins.rules.fields import Count, Duration, Finite, Name, Positive, Strict, bounded

AFTER_S = 0.001
"""Windows include their end, cooldowns end strictly after it."""


class Trigger(Strict):
    """A ``metric`` with its ``threshold`` a replica, and the ``activation`` above which the service has to run."""

    metric: Name
    type: Literal["AverageValue", "Value"] = "AverageValue"
    threshold: Positive
    activation: Finite = 0.0


class Fallback(Strict):
    """``replicas`` (at least 1) after more than ``failure_threshold`` failures in a row."""

    failure_threshold: Annotated[int, Field(ge=0)] = 3
    replicas: Annotated[Count, Field(ge=1)]
    behavior: rules.Fallback = "static"


class Options(Strict):
    """``cooldown``: how long no trigger may be active before the service stops, or shrinks to ``idle`` replicas.
    ``polling``: how often an unknown metric counts as one more failure."""

    triggers: Annotated[list[Trigger], Field(min_length=1, max_length=16)]
    cooldown: Annotated[Duration, Field(ge=0)] = rules.COOLDOWN_S
    polling: Annotated[Duration, Field(gt=0)] = 30.0
    idle: Count | None = None
    fallback: Fallback | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """What one trigger says: its value (None: failed), and whether a fallback stands in."""

    trigger: Trigger
    value: float | None
    fallen_back: bool


@autoscaler.hookimpl
def propose(
    service: autoscaler.ServiceFacts,
    signals: autoscaler.SignalsView,
    now: float,
    options: Options,
    memory: dict[str, Any],
) -> autoscaler.Scale | autoscaler.Hold:
    """On or off by activity; between one and the maximum the highest count of the triggers."""
    reads = [read(service, signals[trigger.metric], trigger, now, options, memory) for trigger in options.triggers]
    active = any(
        one.fallen_back or (one.value is not None and rules.is_active(one.value, one.trigger.activation))
        for one in reads
    )
    failed = [one.trigger.metric for one in reads if one.value is None]
    demand = service.demand
    active_at = memory.get("active_at")
    quiet_s = None if active_at is None else now - active_at
    fallback = options.fallback.replicas if options.fallback else None
    switch = rules.Switch(service.minimum, options.cooldown, options.idle, fallback)
    count = rules.switched(demand, switch, active=active, error=bool(failed), quiet_s=quiet_s)
    if active and not (failed and count == demand):
        memory["active_at"] = now
    wakes = [at + options.polling for _, at in memory.get("failed", {}).values()]
    if failed and count == demand:
        return autoscaler.Hold(f"{', '.join(failed)} unknown", min(wakes, default=None))
    if count != demand:
        memory.pop("recs", None)
        return autoscaler.Scale(count, f"{'active' if active else 'inactive'}: {demand} becomes {count}")
    if not active and active_at is not None and demand > service.minimum:
        wakes.append(active_at + options.cooldown + AFTER_S)
    if demand == 0:
        return autoscaler.Scale(0, "inactive", min(wakes, default=None))
    return between(service, reads, now, wakes, memory)


def read(
    service: autoscaler.ServiceFacts,
    signal: autoscaler.Signal,
    trigger: Trigger,
    now: float,
    options: Options,
    memory: dict[str, Any],
) -> Read:
    """The trigger's value, or its fallback's where it failed too often; counts failures in ``memory``."""
    failures: dict[str, list[Any]] = memory.setdefault("failed", {})
    if signal.latest is not None:
        failures.pop(trigger.metric, None)
        return Read(trigger, signal.latest, fallen_back=False)
    count, last_at = failures.get(trigger.metric, (0, None))
    if last_at is None or now - last_at >= options.polling:
        count, last_at = count + 1, now
        failures[trigger.metric] = [count, last_at]
    fallback = options.fallback
    if fallback is None:
        return Read(trigger, None, fallen_back=False)
    replicas = rules.fallback_count(fallback.replicas, service.demand, fallback.behavior)
    ready = service.ready if trigger.type == "Value" else None
    try:
        value = rules.fallback_metric(count, fallback.failure_threshold, replicas, trigger.threshold, ready)
    except rules.MetricFailedError:
        return Read(trigger, None, fallen_back=False)
    return Read(trigger, value, fallen_back=True)


def between(
    service: autoscaler.ServiceFacts, reads: list[Read], now: float, wakes: list[float], memory: dict[str, Any]
) -> autoscaler.Scale:
    """The highest count of the triggers, as HPA without ``behavior`` lets it through."""
    demand = service.demand
    counts = []
    for one in reads:
        value, threshold = one.value or 0.0, one.trigger.threshold
        if one.trigger.type == "Value":
            count = hpa.by_value(demand, service.ready, threshold, value)
        else:
            count = hpa.by_average_value(demand, threshold, value)
        words = "fallback" if one.fallen_back else f"{value:.6g}"
        counts.append((bounded(count), f"{words} {one.trigger.metric} over {threshold:g} = {count}"))
    wish, reason = max(counts, key=lambda found: found[0])
    recs = memory.get("recs") or [[now, demand]]
    bounds = max(1, service.minimum), max(1, service.maximum)
    final, limit = hpa.plain(demand, wish, bounds, remembered.aged(recs, now))
    memory["recs"] = recs = remembered.with_newest(recs, now, wish, hpa.PLAIN_WINDOW_S)
    if final != wish:
        wakes += [at + hpa.PLAIN_WINDOW_S + AFTER_S for at, _ in recs]
        reason = f"{reason}; {'highest of 5m' if limit == 'DesiredWithinRange' else limit}: {final}"
    return autoscaler.Scale(bounded(final), reason, min((wake for wake in wakes if wake > now), default=None))
