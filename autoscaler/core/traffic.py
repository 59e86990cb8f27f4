"""How new requests are shared between the revisions of a rollout. Called by the engine's traffic. Pure.

Only new requests: what is in flight ends where it began. Up: start, available, shift: a part grows only once the phase
says that its replicas are available. Down: shift, drain, stop: a part shrinks with the decision that wants less of it.
"""

from __future__ import annotations

from autoscaler.core.rollout import Advancing, Judging, Preflight, RollingBack, Soaking, running_of
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.core.steps import WHOLE, Step

Shares = tuple[tuple[int, int], ...]


def shares(state: ServiceState, settings: ServiceSettings) -> Shares | None:
    """(revision, percent) of new requests that the phase wants at this moment, or None: share by count.

    Ordered by revision; the percents add up to 100. A revision that is not listed, or that is listed with 0, gets no
    new request, though replicas of it run. What a revision gets is for the caller to spread evenly over its *available*
    replicas; where a listed revision has none, its percent goes to the others in proportion, and where none of them has
    any, by count over whatever is available. None for a service without a route and wherever the phase has no opinion:
    each available replica then weighs the same, whatever it runs.
    """
    if settings.route is None:
        return None
    match running_of(state.rollout):
        case Preflight(base=base) if base is not None and settings.update.strategy != "rolling":
            return _all_to(state, base)
        case RollingBack(target=target) if settings.update.strategy != "rolling":
            return _all_to(state, target)
        case Soaking(target=target, standby=True):
            return _all_to(state, target)
        case Advancing() | Judging() as rollout if rollout.steps and rollout.base is not None:
            weight = 0 if rollout.blue_green else _weight(state, rollout)
            return None if weight is None else _parted(state, rollout.target, rollout.base, weight)
        case _:
            return None


def _proven(state: ServiceState, revision: int) -> int:
    """How many wanted replicas of the revision have been available."""
    return sum(1 for r in state.replicas if r.revision == revision and r.available_at is not None)


def _all_to(state: ServiceState, revision: int) -> Shares | None:
    """All to one revision, where enough of it stands to bear that."""
    return ((revision, WHOLE),) if _proven(state, revision) >= max(1, state.demand) else None


def _parted(state: ServiceState, target: int, base: int, weight: int) -> Shares | None:
    if not _proven(state, base):
        return None
    part = weight if _proven(state, target) else 0
    return tuple(sorted(((base, WHOLE - part), (target, part))))


def _weight(state: ServiceState, rollout: Advancing | Judging) -> int | None:
    """The new revision's percent; None where the step is one of counts.

    On the way to a step it is the lesser of the step before and this one. Past the last one it grows with what is
    available of the new revision, from the last step's on.
    """
    number, steps = rollout.step, rollout.steps
    if isinstance(rollout, Judging):
        return steps[number].weight
    before = steps[number - 1] if number else Step(weight=0)
    if number < len(steps):
        here = steps[number].weight
        return None if here is None or before.weight is None else min(before.weight, here)
    if before.weight is None:
        return None
    new = _proven(state, rollout.target)
    whole = sum(1 for r in state.replicas if r.available_at is not None)
    return max(before.weight, WHOLE * new // whole) if whole else None
