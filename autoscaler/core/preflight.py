"""What is proven before a revision touches anything: how it is to go, and that there is room beside what runs. Pure.

Called by deployments and phases. The image is asked of the hosts first; what fails as a plain answer refuses at once,
what the hosts lack for the moment is waited for until the deadline, and then refused with check, host and number.
"""

from __future__ import annotations

from autoscaler.core.edit import room_for
from autoscaler.core.placement import Asked, Placer, reason_for_none
from autoscaler.core.revision import RevisionSpec
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.sightings import observed_by_identity
from autoscaler.core.split import goes_first, surge_and_unavailable
from autoscaler.core.state import ServiceState
from autoscaler.core.steps import WHOLE, Step, preview_counts, step_counts
from autoscaler.core.world import World


def steps_of(
    state: ServiceState, settings: ServiceSettings, content: str, base: int | None
) -> tuple[tuple[Step, ...], int]:
    """The steps of a rollout that begins now and the first one to go to, from 0; none for a rolling update, or where
    there is nothing to compare with or to go back to."""
    rules = settings.update
    if rules.strategy == "rolling" or base is None:
        return (), 0
    steps = rules.steps
    if rules.strategy == "blue_green":
        steps = steps[:1] or (Step(weight=WHOLE),)
    return steps, len(steps) if is_proven_ground(state, content, rules.fast_window) else 0


def is_proven_ground(state: ServiceState, content: str, window: int) -> bool:
    """Whether the content is that of an older stable revision with fewer than ``window`` revisions strictly between it
    and the present stable one: it needs no steps. Never forwards."""
    stable = [r for r in state.revisions if r.standing == "stable"]
    if not stable:
        return False
    present = max(r.number for r in stable)
    older = [r.number for r in stable if r.content == content and r.number < present]
    return bool(older) and present - max(older) - 1 < window


def extra_wanted(
    state: ServiceState, settings: ServiceSettings, spec: RevisionSpec, content: str, base: int | None
) -> int:
    """How many replicas of the new revision must fit beside those that run: the surge, the canaries, or a second D.

    0 where nothing runs, or where old ones may go first.
    """
    demand, rules = state.demand, settings.update
    if not state.replicas or not demand:
        return 0
    surge, unavailable = surge_and_unavailable(settings, demand, stop_first=goes_first(settings, spec))
    extra = 0 if unavailable else surge
    steps, first = steps_of(state, settings, content, base)
    if rules.strategy == "blue_green" and steps:
        return preview_counts(None, demand).new
    routed = settings.route is not None
    for step in steps[first:]:
        if step.count is not None or routed:
            counts = step_counts(step, demand, surge, routed=routed)
            extra = max(extra, counts.new + counts.old - demand)
    return extra


def room_lacking(state: ServiceState, settings: ServiceSettings, spec: RevisionSpec, extra: int, world: World) -> str:
    """Why the hosts have no room for ``extra`` replicas beside what runs, counted by filter; empty where they have."""
    if not extra:
        return ""
    shown = observed_by_identity(world)
    room = room_for(state, [r for r in state.replicas if (r.slot, r.revision, r.attempt) not in shown])
    asked = Asked(state.service, spec, settings.placement, state.demand)
    placer = Placer(world.hosts, asked, room)
    for placed in range(extra):
        if placer.place() is None:
            why = reason_for_none(world.hosts, asked, room)
            return f"room for {placed} of {extra} replicas beside the {len(state.replicas)} that run: {why}"
    return ""
