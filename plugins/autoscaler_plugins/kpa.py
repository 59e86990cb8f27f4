"""`kpa`: Knative's autoscaler, for those who come from it: a calm reading of the load, and one that panics.

Means are of the samples that came within a window, as a load is sampled here and not counted by a proxy: a gap is
unknown, never zero.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import Field

import autoscaler
from autoscaler_plugins.rules import kpa as rules
from autoscaler_plugins.rules.fields import Count, Duration, Finite, Name, Positive, Strict, bounded

REACH_S = 300.0
"""The longest window: what is remembered stays small."""
EACH = 3
"""Numbers that are kept of a second."""
CONCURRENCY_TOTAL = 100.0


class Options(Strict):
    """``metric``: the service's total load, concurrency or requests a second. ``target``: what one replica carries,
    ``limit``: what it can at all, ``utilization``: the share of it that is aimed at. ``window``: of the calm
    reading; ``panic_window``: percent of it; ``panic_threshold``: percent of today's replicas that start a panic.
    ``zero``: whether the service may stop, after ``grace`` without load, at least ``retention``."""

    metric: Name
    target: Positive | None = None
    limit: Positive | None = None
    utilization: Annotated[Finite, Field(gt=0, le=100)] = 70.0
    window: Annotated[Duration, Field(ge=6, le=REACH_S)] = 60.0
    panic_window: Annotated[Finite, Field(ge=1, le=100)] = 10.0
    panic_threshold: Annotated[Finite, Field(ge=110, le=1000)] = 200.0
    max_scale_up_rate: Annotated[Finite, Field(gt=1)] = 1000.0
    max_scale_down_rate: Annotated[Finite, Field(gt=1)] = 2.0
    activation_scale: Annotated[Count, Field(ge=1)] = 1
    scale_down_delay: Annotated[Duration, Field(ge=0, le=3600)] = 0.0
    initial_scale: Count = 1
    zero: bool = True
    grace: Annotated[Duration, Field(ge=0)] = 30.0
    retention: Annotated[Duration, Field(ge=0)] = 0.0
    burst: Annotated[Finite, Field(ge=-1)] = 211.0


@autoscaler.hookimpl
def propose(
    service: autoscaler.ServiceFacts,
    signals: autoscaler.SignalsView,
    now: float,
    options: Options,
    memory: dict[str, Any],
) -> autoscaler.Scale | None:
    """The calm count, or in a panic the highest one since it began."""
    signal = signals[options.metric]
    latest = signal.latest
    if latest is None:
        return None
    seconds = noted(latest, signal.at, now, options.window, memory)
    stable = mean_of(seconds, now, options.window, latest)
    panic = mean_of(seconds, now, rules.panic_window(options.window, options.panic_window), latest)
    total, target = rules.per_replica(options.target, options.limit, options.utilization / 100, CONCURRENCY_TOTAL)
    rate = rules.Rules(
        target,
        options.max_scale_up_rate,
        options.max_scale_down_rate,
        options.panic_threshold / 100,
        options.window,
        options.activation_scale,
        options.scale_down_delay,
    )
    count, state = rules.step(now, (stable, panic), service.ready, rate, state_of(service, now, memory))
    memory["panic"] = [state.since, state.peak]
    memory["wishes"] = [list(wish) for wish in state.wishes]
    if count is None:
        return None
    wish, wakes = within(service, count, now, options, memory)
    spare = rules.spare_capacity(service.ready, total, options.burst, panic)
    said = f"{stable:.6g} {options.metric} calm, {panic:.6g} hasty, target {target:g}, spare {spare}"
    if state.since is not None:
        said += f", panic since {autoscaler.format_duration(now - state.since)}"
        wakes.append(state.since + options.window + 0.001)
    wakes += [at + options.scale_down_delay for at, _ in state.wishes]
    return autoscaler.Scale(bounded(wish), f"{said}: {wish}", min((at for at in wakes if at > now), default=None))


def noted(latest: float, at: float | None, now: float, window_s: float, memory: dict[str, Any]) -> list[Any]:
    """The seconds of the window that had a sample, the newest one added: number, sum and count of each in turn.

    Kept in ``memory``, as the windows of a signal are too coarse for six seconds.
    """
    seconds: list[Any] = memory.setdefault("seconds", [])
    if at is not None and at != memory.get("seen_at"):
        memory["seen_at"], second = at, math.floor(at)
        if seconds and seconds[-EACH] == second:
            seconds[-2] += latest
            seconds[-1] += 1
        else:
            seconds += (second, latest, 1)
    while seconds and seconds[0] <= math.floor(now) - window_s:
        del seconds[:EACH]
    return seconds


def mean_of(seconds: list[Any], now: float, window_s: float, latest: float) -> float:
    """The mean of the seconds within the window; the newest sample where none is."""
    begin = math.floor(now) - window_s
    means = [seconds[i + 1] / seconds[i + 2] for i in range(0, len(seconds), EACH) if seconds[i] > begin]
    return sum(means) / len(means) if means else latest


def state_of(service: autoscaler.ServiceFacts, now: float, memory: dict[str, Any]) -> rules.State:
    """What was remembered; at the first sight of several ready replicas a panic keeps them for a window."""
    if "panic" not in memory:
        return rules.State(now, service.ready) if service.ready > 1 else rules.State()
    since, peak = memory["panic"]
    return rules.State(since, peak, tuple((at, count) for at, count in memory["wishes"]))


def within(
    service: autoscaler.ServiceFacts, count: int, now: float, options: Options, memory: dict[str, Any]
) -> tuple[int, list[float]]:
    """The count within bounds, zero only when it is due, and when that can change."""
    if not memory.get("reached"):
        memory["reached"] = service.ready >= options.initial_scale
        if not memory["reached"]:
            count = max(count, options.initial_scale)
    count = max(service.minimum, min(count, service.maximum))
    wakes: list[float] = []
    if count > 0:
        memory.setdefault("active_at", now)
        memory.pop("idle_at", None)
        return count, wakes
    active_at = memory.setdefault("active_at", now)
    grace_s = max(options.grace, options.retention)
    if service.demand == 0:
        memory.pop("active_at", None)
        memory.pop("idle_at", None)
        return 0, wakes
    if now - active_at >= options.window:
        memory.setdefault("idle_at", now)
    if options.zero and rules.to_zero(now, active_at, memory.get("idle_at"), (options.window, grace_s)):
        return 0, wakes
    wakes.append(memory["idle_at"] + grace_s if "idle_at" in memory else active_at + options.window)
    return 1, wakes
