"""A service at zero whose requests are held wants a first replica. Called by the engine beside the policies. Pure.

What is held comes as samples of `METRIC`, like any other fact; no policy has to look at it. The vote is a floor,
whatever `combine` says, and passes the guards as any wish does.
"""

from __future__ import annotations

from autoscaler.core.proposals import Scale
from autoscaler.core.settings import Route
from autoscaler.core.signals import ServiceSignals
from autoscaler.core.stimuli import PolicyVote

METRIC = "requests_held"
"""Requests that wait at a router for the first replica of the service."""
LABEL = "activation"


def activation(route: Route | None, signals: ServiceSignals, at: float, max_age_s: float) -> tuple[PolicyVote, ...]:
    """At least one replica while requests are held; nothing otherwise, so that it never keeps one."""
    if route is None or not route.hold or signals.series(METRIC) is None:
        return ()
    waiting = signals.view(at, max_age_s)[METRIC].latest
    if not waiting or waiting <= 0:
        return ()
    text = f"{waiting:.0f} {'request is' if waiting == 1 else 'requests are'} held for a first replica"
    return (PolicyVote(LABEL, Scale(1, text), "", (METRIC,), floor=True),)


def idle_since(route: Route | None, signals: ServiceSignals, zero_since: float | None) -> float | None:
    """``zero_since`` of the policies' metrics, and no earlier than the last held request."""
    held = signals.series(METRIC) if route is not None and route.hold else None
    if held is None or zero_since is None:
        return zero_since
    return None if held.zero_since is None else max(zero_since, held.zero_since)
