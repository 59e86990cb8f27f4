"""Knative's pod autoscaler: a calm and a panicked reading of the same load. Pure.

A step takes the load averaged over the stable and the panic window and says how many replicas it wants; `State` is what
it remembers from one step to the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

LOAD_MIN = 0.01


@dataclass(frozen=True, slots=True)
class Rules:
    """``target``: load that one replica is meant to carry. ``reachable`` False: a revision that gets no traffic."""

    target: float
    max_up: float = 1000.0
    max_down: float = 2.0
    threshold: float = 2.0
    window_s: float = 60.0
    activation: int = 1
    delay_s: float = 0.0
    reachable: bool = True


@dataclass(frozen=True, slots=True)
class State:
    """Since when it panics (None: it does not), the highest wish of that time, and recent wishes (time, count)."""

    since: float | None = None
    peak: int = 0
    wishes: tuple[tuple[float, int], ...] = ()


def step(
    now: float, loads: tuple[float | None, float | None], ready: int | None, rules: Rules, state: State
) -> tuple[int | None, State]:
    """The count for the mean loads of the (stable, panic) window; None where one of them or ``ready`` is not known."""
    stable, panic = loads
    if stable is None or panic is None or ready is None:
        return None, state
    count = max(1, ready)
    most = math.ceil(rules.max_up * count)
    least = math.floor(count / rules.max_down) if rules.reachable else 0
    calm_raw = math.ceil(stable / rules.target)
    panic_raw = math.ceil(panic / rules.target)
    calm, hasty = (min(max(raw, least), most) for raw in (calm_raw, panic_raw))
    if rules.activation > 1:
        calm = max(calm, rules.activation) if calm_raw > 0 else calm
        hasty = max(hasty, rules.activation) if panic_raw > 0 else hasty
    if panic_raw / count >= rules.threshold:
        state = replace(state, since=now)
    elif state.since is not None and state.since + rules.window_s < now:
        state = replace(state, since=None, peak=0)
    wish = calm
    if state.since is not None:
        wish = max(calm, hasty, state.peak)
        state = replace(state, peak=wish)
    if rules.delay_s > 0 and rules.reachable:
        recent = [(at, count) for at, count in state.wishes if now - at < rules.delay_s]
        # a wish that a later one reaches says nothing any more
        recent = [(at, count) for at, count in recent if count > wish]
        state = replace(state, wishes=(*recent, (now, wish)))
        wish = max(count for _, count in state.wishes)
    return wish, state


def spare_capacity(ready: int, total: float, burst: float, panic: float) -> int:
    """How much of a burst fits beside the present load; a burst of 0 or -1 is the answer itself."""
    if burst <= 0:
        return int(burst)
    return math.floor(ready * total - burst - panic)


def per_replica(own: float | None, limit: float | None, share: float, default: float) -> tuple[float, float]:
    """(total, target): what one replica can carry, at most its own ``limit``, and the share of it that is aimed at."""
    given = [amount for amount in (own, limit) if amount is not None]
    total = min(given, default=default)
    return total, max(LOAD_MIN, total * share)


def panic_window(window_s: float, percent: float = 10.0) -> int:
    """The panic window in whole seconds, at least one."""
    return max(1, int(window_s * percent / 100))


def to_zero(now: float, active_since: float | None, idle_since: float | None, waits: tuple[float, float]) -> bool:
    """Whether a wish of 0 counts: after having been active for the stable window, and then inactive for the grace.

    ``waits``: (window, grace) in seconds.
    """
    window_s, grace_s = waits
    if active_since is None or idle_since is None:
        return False
    return now - active_since >= window_s and now - idle_since >= grace_s
