"""Demand that is planned: an operator's override that begins later, and the configuration's own windows. Pure.

Called by `decide` after every stimulus, so that a begin is a deadline of the state and needs no sample. Rules: what an
operator asked for now comes before both; a freeze of all holds them back until it ends; nothing follows at the end of a
window but that the policies decide again.
"""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.core.draft import Draft, because
from autoscaler.core.facts import Clamp
from autoscaler.core.freezing import scaling_frozen, window_begins_at, window_covers, window_ends_at
from autoscaler.core.rollout import Retired, Retiring
from autoscaler.core.settings import Planned, ServiceSettings
from autoscaler.core.state import Override, ServiceState

SCHEDULED_MAX = 16
"""Overrides of one service that may wait for their beginning."""


def covers(planned: Planned, at: float) -> bool:
    """Whether the moment lies in it, its end excluded."""
    if planned.window is not None:
        return window_covers(planned.window, at)
    return planned.begins_at <= at < planned.ends_at


def ends_at(planned: Planned, at: float) -> float:
    """When the one that covers ``at`` ends."""
    return planned.ends_at if planned.window is None else window_ends_at(planned.window, at)


def plan_clamps(settings: ServiceSettings, at: float, to: int) -> tuple[Clamp, ...]:
    """What the windows that cover ``at`` make of a demand: the first exact number, else the highest least one over the
    lowest most one; never past the service's bounds."""
    active = [planned for planned in settings.overrides if covers(planned, at)]
    if not active:
        return ()
    bounds = settings.bounds
    clamps: list[Clamp] = []
    steps: list[tuple[Planned, int]] = []
    exact = next((planned for planned in active if planned.exact is not None), None)
    if exact is not None:
        steps.append((exact, exact.exact or 0))
    else:
        most = min((p for p in active if p.most is not None), key=lambda p: p.most or 0, default=None)
        least = max((p for p in active if p.least is not None), key=lambda p: p.least or 0, default=None)
        after = to if most is None else min(to, most.most or 0)
        if most is not None:
            steps.append((most, after))
        if least is not None:
            steps.append((least, max(after, least.least or 0)))
    for planned, wanted in steps:
        after = bounds.nearest(wanted)
        if after != to:
            clamps.append(Clamp("schedule", to, after, planned.text))
            to = after
    return tuple(clamps)


def keep_plan(draft: Draft, settings: ServiceSettings) -> None:
    """Begin what is due, and keep the demand within the windows that cover this moment."""
    state = draft.state
    if not state.scheduled and not settings.overrides:
        return
    if state.revision == 0 or isinstance(state.rollout, Retiring | Retired) or scaling_frozen(state, draft.at):
        return
    _begin(draft, settings)
    state = draft.state
    if state.override is not None:
        return
    clamps = plan_clamps(settings, draft.at, state.asking)
    if clamps:
        to = clamps[-1].after
        text = f"{state.asking} -> {to} replicas: {clamps[-1].text}"
        draft.add("decided", "scale", because("schedule", text, demand=to), clamps=clamps, **draft.moved(to))


def _begin(draft: Draft, settings: ServiceSettings) -> None:
    """Overrides whose moment has come, in order; one whose end has come as well is let go."""
    for one in draft.state.scheduled:
        if one.begins_at > draft.at:
            continue
        left = tuple(other for other in draft.state.scheduled if other is not one)
        if one.until is not None and one.until <= draft.at:
            text = f"the override of {one.replicas} was not begun before its end"
            draft.add("decided", "control", because("expired", text), scheduled=left)
            continue
        to = settings.bounds.nearest(one.replicas)
        text = f"{draft.state.asking} -> {to} replicas, as scheduled by {one.event.source}"
        draft.causes = (one.event,)
        draft.add(
            "decided",
            "scale",
            because("scheduled", f"{text}: {one.reason}" if one.reason else text, demand=to),
            scheduled=left,
            override=Override(to, one.until, one.event),
            **draft.moved(to),
        )


def plan_deadlines(state: ServiceState, settings: ServiceSettings, at: float) -> Iterator[float]:
    """When something planned begins or ends, by what is known at ``at``."""
    for one in state.scheduled:
        yield one.begins_at
        if one.until is not None:
            yield one.until
    for planned in settings.overrides:
        if planned.window is None:
            yield planned.begins_at
            yield planned.ends_at
        elif window_covers(planned.window, at):
            yield window_ends_at(planned.window, at)
        else:
            yield window_begins_at(planned.window, at)
