"""P9, judged by what the engines themselves say: none of our stops leaves fewer serving replicas than is promised.

Neither our records nor our counters are asked which replicas serve: one does that was made of a serving image and has
run for ``min_healthy_s``, whether or not its host can be reached at the moment. A stop of ours is a TERM, but for those
of an engine that starts again after it was killed: it ends what it finds running before it hears anybody. Whatever else
ends a container is a fault, which a stop that was decided just before it cannot know.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.system.engine_watch import EngineEvent

UNKNOWN_S = 3.0
"""So long after a death, a stop may still be carried out that was decided before it."""
SETTLED_S = 2.0
"""A replica that is younger may not have been found healthy yet: its stop takes nothing away."""


@dataclass(frozen=True)
class Promise:
    """``images`` serve, from ``min_healthy_s`` after their start on; ``least(at)`` of them have to be left."""

    images: frozenset[str]
    min_healthy_s: float
    least: Callable[[float], int]


@dataclass(frozen=True)
class Away:
    """``engine`` heard nobody from ``since`` until ``until``, in seconds since the epoch."""

    engine: str
    since: float
    until: float


@dataclass(frozen=True)
class Kept:
    """How many stops of serving replicas were judged, and those that broke the promise, in words."""

    stops: int
    broken: tuple[str, ...]


def judge_stops(events: Sequence[EngineEvent], promise: Promise, away: Sequence[Away] = ()) -> Kept:
    """Over all ``start``, ``kill`` and ``die`` events of one service, in order of time."""
    up: dict[tuple[str, str], float] = {}
    stopped: set[tuple[str, str]] = set()
    died: list[float] = []
    stops, broken = 0, []
    for event in events:
        replica = (event.engine, event.name)
        if event.action == "start" and event.image in promise.images:
            up[replica] = event.at
        elif event.action == "die" and up.pop(replica, None) is not None and replica not in stopped:
            died.append(event.at)
        elif event.action == "kill" and event.signal == signal.SIGTERM and replica in up and replica not in stopped:
            if any(one.engine == event.engine and one.since <= event.at <= one.until for one in away):
                died.append(event.at)
                del up[replica]
                continue
            stopped.add(replica)
            if event.at - up[replica] < SETTLED_S:
                continue
            stops += 1
            left = sum(
                event.at - at >= promise.min_healthy_s for other, at in up.items() if other not in stopped
            ) + sum(event.at - at < UNKNOWN_S for at in died)
            least = promise.least(event.at)
            if left < least:
                broken.append(f"{event.name} was stopped at {event.at:.3f} with {left} left that serve, not {least}")
    return Kept(stops, tuple(broken))
