"""`keda`: a service that is switched on and off by triggers, and scaled as HPA does between one and its maximum.

A trigger without a known value fails once a ``polling``; after ``fallback.failure_threshold`` failures in a row a
fallback stands in for it, before that the demand is held. An error never scales to zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

import autoscaler
from autoscaler_plugins.rules import hpa, remembered
from autoscaler_plugins.rules import keda as rules
from autoscaler_plugins.rules.behavior import Behavior, kept_for, next_expiry, through, tolerance_of
from autoscaler_plugins.rules.fields import Count, Duration, Finite, Name, PositiveAmount, Strict, bounded

AFTER_S = 0.001
"""Windows include their end, cooldowns end strictly after it."""


class Trigger(Strict):
    """A ``metric`` with its ``threshold`` a replica, and the ``activation`` above which the service has to run."""

    metric: Name
    type: Literal["AverageValue", "Value"] = "AverageValue"
    threshold: PositiveAmount
    activation: Finite = 0.0


class Fallback(Strict):
    """``replicas`` (at least 1) after more than ``failure_threshold`` failures in a row."""

    failure_threshold: Annotated[int, Field(ge=0)] = 3
    replicas: Annotated[Count, Field(ge=1)]
    behavior: rules.Fallback = "static"


class Options(Strict):
    """``cooldown``: how long no trigger may be active before the service stops, or shrinks to ``idle`` replicas.
    ``minimum``: while a trigger is active, where ``idle`` is lower than that; the service's own minimum is then the
    idle count. ``polling``: how often an unknown metric counts as one more failure. ``behavior``: as of `hpa_v2`,
    between one replica and the maximum."""

    triggers: Annotated[list[Trigger], Field(min_length=1, max_length=16)]
    cooldown: Annotated[Duration, Field(ge=0)] = rules.COOLDOWN_S
    polling: Annotated[Duration, Field(gt=0)] = 30.0
    idle: Count | None = None
    minimum: Count | None = None
    fallback: Fallback | None = None
    behavior: Behavior | None = None

    @model_validator(mode="after")
    def _idle_is_lower(self) -> Self:
        if self.minimum is not None and (self.idle is None or self.idle >= self.minimum):
            raise ValueError("minimum needs an idle count below it; else write replicas.min of the service")
        return self


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
    if options.behavior is not None:
        remembered.note_demand(memory, now, demand, kept_for(options.behavior))
    active_at = memory.get("active_at")
    quiet_s = None if active_at is None else now - active_at
    fallback = options.fallback.replicas if options.fallback else None
    switch = rules.Switch(minimum_of(service, options), options.cooldown, options.idle, fallback)
    count = rules.switched(demand, switch, active=active, error=bool(failed), quiet_s=quiet_s)
    if active and not (failed and count == demand):
        memory["active_at"] = now
    wakes = [at + options.polling for _, at in memory.get("failed", {}).values()]
    if failed and count == demand:
        return autoscaler.Hold(f"{', '.join(failed)} unknown", min(wakes, default=None))
    if count != demand:
        memory.pop("recs", None)
        if options.behavior is not None:
            remembered.note_wish(memory, now, demand, count)
        return autoscaler.Scale(count, f"{'active' if active else 'inactive'}: {demand} becomes {count}")
    if not active and active_at is not None and demand > service.minimum:
        wakes.append(active_at + options.cooldown + AFTER_S)
    if demand == 0 or (not active and demand == options.idle):
        return autoscaler.Scale(demand, "inactive", min(wakes, default=None))
    return between(service, reads, now, wakes, options, memory)


def minimum_of(service: autoscaler.ServiceFacts, options: Options) -> int:
    """Replicas at least, while a trigger is active."""
    return service.minimum if options.minimum is None else max(service.minimum, options.minimum)


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
    service: autoscaler.ServiceFacts,
    reads: list[Read],
    now: float,
    wakes: list[float],
    options: Options,
    memory: dict[str, Any],
) -> autoscaler.Scale:
    """The highest count of the triggers, as HPA lets it through."""
    behavior = options.behavior
    demand, band = service.demand, tolerance_of(behavior)
    counts = []
    for one in reads:
        value, threshold = one.value or 0.0, one.trigger.threshold
        if one.trigger.type == "Value":
            count = hpa.by_value(demand, service.ready, threshold, value, band)
        else:
            count = hpa.by_average_value(demand, threshold, value, band)
        words = "fallback" if one.fallen_back else f"{value:.6g}"
        counts.append((bounded(count), f"{words} {one.trigger.metric} over {threshold:g} = {count}"))
    wish, reason = max(counts, key=lambda found: found[0])
    memory["recs"] = recs = memory.get("recs") or [[now, demand]]
    bounds = max(1, minimum_of(service, options)), max(1, service.maximum)
    final, limit = through((demand, wish), bounds, now, behavior, memory)
    memory["recs"] = remembered.with_newest(recs, now, wish, kept_for(behavior))
    if behavior is not None:
        remembered.note_wish(memory, now, demand, final)
    if final != wish:
        if (expiry := next_expiry(now, behavior, memory)) is not None:
            wakes.append(expiry + AFTER_S)
        reason = f"{reason}; {limit}: {final}"
    return autoscaler.Scale(bounded(final), reason, min((wake for wake in wakes if wake > now), default=None))
