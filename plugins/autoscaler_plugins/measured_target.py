"""`measured_target`: `target_value` with a target that is corrected by what replicas were measured to carry.

A second metric, ``saturation``, tells when they carry as much as they can: a latency, a share of errors, a queue. Each
sample of the load at rest (all replicas ready for a while, one revision) counts for its revision as carried or not;
once both kinds are known and lie apart, the target follows, at most by ``within``. A revision of which that is not
known is taken for what is configured. While two revisions run, the lesser of both counts, and nothing is learnt.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import Field

import autoscaler
from autoscaler_plugins.rules import capacity
from autoscaler_plugins.rules.fields import Duration, Finite, Name, Ratio, Strict, bounded

DUST = 1e-9
"""Of a replica: 3.0000000001 replicas are 3."""
AT_REST = frozenset({"idle", "soaking", "halted"})
"""Phases in which one revision takes all of the load."""


class Options(Strict):
    """``metric``: whose total is shared. ``per_replica``: how much of it one replica carries, as far as is known
    beforehand. ``saturation`` over ``above``: it does not carry what it has. ``within``: the most that the target is
    corrected by, either way. ``settle``: how long a change of the replicas makes measurements worthless.
    ``tolerance``: as of `target_value`, but none above a target that was measured."""

    metric: Name
    per_replica: Annotated[Finite, Field(gt=0)]
    saturation: Name
    above: Finite
    within: Annotated[Ratio, Field(gt=0, le=0.5)] = 0.3
    settle: Annotated[Duration, Field(ge=0)] = 30.0
    tolerance: Annotated[Ratio, Field(ge=0, lt=1)] = 0.1


@autoscaler.hookimpl
def propose(
    service: autoscaler.ServiceFacts,
    signals: autoscaler.SignalsView,
    now: float,
    options: Options,
    memory: dict[str, Any],
) -> autoscaler.Scale | autoscaler.Hold | None:
    """As many replicas as share the total at what one was measured to carry."""
    load = signals[options.metric]
    total = load.total()
    if total is None:
        return None
    if total < 0:
        return autoscaler.Hold(f"{total:.6g} {options.metric} is no load")
    if at_rest(service, now, options, memory):
        learn(service, load, signals[options.saturation], options, memory)
    per_replica, words = corrected(service, now, options, memory)
    demand = service.demand
    said = f"{total:.6g} {options.metric} over {per_replica:.4g} a replica{words}"
    carries = per_replica * demand
    band = options.tolerance * carries
    # What is measured is the most that a replica carries: there is no band above it.
    if demand and -band - DUST <= total - carries <= (0.0 if words else band) + DUST:
        return autoscaler.Scale(demand, f"{said} is within {options.tolerance:.0%} of {demand}")
    wish = bounded(math.ceil(total / per_replica - DUST))
    return autoscaler.Scale(wish, f"{said} = {wish}")


def at_rest(service: autoscaler.ServiceFacts, now: float, options: Options, memory: dict[str, Any]) -> bool:
    """Whether the same replicas, all ready and of one revision, have shared the load for ``settle``."""
    standing = [service.revision, service.demand, service.ready, service.phase in AT_REST]
    if memory.get("standing") != standing:
        memory["standing"], memory["since"] = standing, now
    whole = service.phase in AT_REST and service.demand > 0 and service.ready == service.demand
    return whole and not service.starting and now - float(memory["since"]) >= options.settle


def learn(
    service: autoscaler.ServiceFacts,
    load: autoscaler.Signal,
    saturation: autoscaler.Signal,
    options: Options,
    memory: dict[str, Any],
) -> None:
    """Count the newest load, once, where both metrics are known."""
    if load.latest is None or load.at is None or saturation.latest is None or load.at <= memory.get("counted_at", 0.0):
        return
    memory["counted_at"] = load.at
    share = load.latest / service.ready / options.per_replica
    broke = saturation.latest > options.above
    capacity.note(capacity.levels_of(memory, service.revision), share, load.at, broke=broke)


def corrected(
    service: autoscaler.ServiceFacts, now: float, options: Options, memory: dict[str, Any]
) -> tuple[float, str]:
    """How much of the load one replica is to have, and why it is not what is configured."""
    running = [service.revision]
    if service.phase not in AT_REST and service.base is not None:
        running.append(service.base)
    best, words = math.inf, ""
    for revision in running:
        known = capacity.carried(memory.get("levels", {}).get(str(revision), {}), now)
        share, why = 1.0, ""
        if known is not None:
            share = max(1 - options.within, min(1 + options.within, known.share))
            why = (
                f" ({options.per_replica:g} corrected by {share - 1:+.0%}: revision {revision} carried"
                f" {known.held:.0f} loads and {known.broke:.0f} not, as {options.saturation} tells)"
            )
        if share < best:
            best, words = share, why
    return options.per_replica * best, words
