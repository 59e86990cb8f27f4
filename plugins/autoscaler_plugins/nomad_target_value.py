"""`nomad_target_value`: the `target-value` strategy of the Nomad Autoscaler, for those who come from it.

During a cooldown, which any change of demand starts, nothing is proposed but today's demand.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

import autoscaler
from autoscaler_plugins.rules import nomad, remembered
from autoscaler_plugins.rules.fields import Count, Duration, Name, NotNegative, Strict, bounded


class Options(Strict):
    """``target`` of the ``metric`` as the whole service shows it; ``threshold``: the share around it that changes
    nothing. ``max_scale_up``, ``max_scale_down``: replicas in one step. ``cooldown_up``: after a step up, where that
    is another one. ``count_starting``: while replicas start, the ratio is of those that are ready, so that what is on
    its way is not ordered twice; upstream takes it of all. ``grouped``: no change is no opinion, and so does not hold
    back what others wish, as in a group of checks."""

    metric: Name
    target: NotNegative
    threshold: Annotated[NotNegative, Field(lt=1)] = nomad.THRESHOLD
    max_scale_up: Count | None = None
    max_scale_down: Count | None = None
    cooldown: Annotated[Duration, Field(ge=0)] = 300.0
    cooldown_up: Annotated[Duration, Field(ge=0)] | None = None
    count_starting: bool = False
    grouped: bool = False


@autoscaler.hookimpl
def propose(
    service: autoscaler.ServiceFacts,
    signals: autoscaler.SignalsView,
    now: float,
    options: Options,
    memory: dict[str, Any],
) -> autoscaler.Scale | autoscaler.Hold | None:
    """Today's demand times the newest value over the target."""
    demand = service.demand
    up_at, down_at = remembered.changed_at(memory, now, demand)
    value = signals[options.metric].latest
    if value is None:
        return None
    up_s = options.cooldown if options.cooldown_up is None else options.cooldown_up
    until = max(up_at + up_s if up_at is not None else 0.0, down_at + options.cooldown if down_at is not None else 0.0)
    said = f"{value:.6g} {options.metric} to {options.target:g}"
    if until > now:
        return autoscaler.Hold(f"{said}: cooldown for {autoscaler.format_duration(until - now)} more", until)
    target = nomad.Target(options.target, options.threshold, options.max_scale_up, options.max_scale_down)
    changed = nomad.changed(demand, (value,), target)
    if changed is None or changed[0] == "none":
        if options.grouped:
            return None
        return autoscaler.Scale(demand, f"{said}: no change")
    if options.count_starting and changed[0] == "up" and service.starting:
        ready = nomad.changed(min(demand, service.ready), (value,), target) if service.ready else None
        changed = ("up", max(demand, ready[1] if ready is not None and ready[0] == "up" else demand))
    wish = min(max(changed[1], service.minimum), service.maximum)
    remembered.note_wish(memory, now, demand, wish)
    capped = f", capped from {changed[1]}" if wish != changed[1] else ""
    return autoscaler.Scale(bounded(wish), f"{said}: {changed[0]} from {demand} to {wish}{capped}")
