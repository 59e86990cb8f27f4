"""What stands against an action, from a service's state and the last evaluation of its policies. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoscaler.cli.phrases import age_text, until_text
from autoscaler.core.combination import combine, vote_of
from autoscaler.core.deployments import rollback_bound
from autoscaler.core.facts import ProposalNote
from autoscaler.core.freezing import scaling_frozen, updates_frozen
from autoscaler.core.going_back import rollback_target
from autoscaler.core.rollout import Halted, Held, Idle, Preflight, Retired, Retiring, RollingBack, Running, is_unproven
from autoscaler.core.scheduling import plan_clamps
from autoscaler.core.settings import Scaling, ServiceSettings
from autoscaler.core.spending import GUARD
from autoscaler.core.state import ServiceState

ACTIONS = ("scale-down", "scale-up", "update", "rollback")

Evaluation = Mapping[str, Any]
"""``data`` of the audit record of an evaluation."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One reason against: a code (a guard's name where a guard stands against) and words."""

    code: str
    text: str


def obstacles(
    action: str,
    state: ServiceState,
    settings: ServiceSettings | None,
    evaluation: Evaluation | None,
    now: float,
    spent: Sequence[str] = (),
) -> list[Obstacle]:
    """Everything known that stands against ``action`` now, the most final first; empty where nothing does.

    ``spent``: what budgets say against one replica more.
    """
    if isinstance(state.rollout, Retiring | Retired):
        return [Obstacle("retired", "the service is retired; it takes no event until it is configured again")]
    if settings is None:
        return [Obstacle("not_configured", "the service is not configured any more, so nobody decides for it")]
    if state.revision == 0 and action != "update":
        return [Obstacle("no_revision", "nothing was deployed yet, so there is nothing to run")]
    if action == "update":
        return _against_update(state, settings, now)
    if action == "rollback":
        return _against_rollback(state, settings, evaluation)
    if action == "scale-down":
        return _against_scaling(state, settings, evaluation, now, up=False)
    budgets = [Obstacle(GUARD, text) for text in spent]
    return [*budgets, *_against_scaling(state, settings, evaluation, now, up=True)]


def _against_scaling(
    state: ServiceState, settings: ServiceSettings, evaluation: Evaluation | None, now: float, *, up: bool
) -> list[Obstacle]:
    found = _standing_against_scaling(state, settings, now, up=up)
    if evaluation is None:
        never = "no policy has been evaluated yet; scaling needs samples of the policies' metrics"
        return [*found, Obstacle("no_evaluation", never)]
    # What budgets granted then, the books have as it is now.
    codes = {GUARD, *(one.code for one in found)}
    clamps = [
        Obstacle(str(clamp["guard"]), f"{clamp['before']} -> {clamp['after']}: {clamp['text']}")
        for clamp in evaluation["clamps"]
        if (clamp["after"] < clamp["before"] if up else clamp["after"] > clamp["before"])
    ]
    found += [one for one in clamps if one.code not in codes]
    return [*found, *_no_wish(state, evaluation, settings.scaling, up=up)]


def _standing_against_scaling(
    state: ServiceState, settings: ServiceSettings, now: float, *, up: bool
) -> list[Obstacle]:
    """What the state and the configuration alone say, whatever the policies wish."""
    found = []
    bounds, scaling = settings.bounds, settings.scaling
    if scaling_frozen(state, now) and state.freeze is not None:
        ends = until_text(state.freeze.until, now, "until unfreeze")
        found.append(Obstacle("freeze", f"scaling is frozen {ends}, by {state.freeze.event.source}"))
    if state.override is not None:
        ends = until_text(state.override.until, now, "until scale auto")
        found.append(Obstacle("override", f"an operator holds it at {state.override.replicas} {ends}"))
    if state.override is None:
        clamps = plan_clamps(settings, now, state.demand + (1 if up else -1))
        found += [Obstacle("schedule", f"{clamp.text} holds it at {clamp.after}") for clamp in clamps]
    if up and state.demand >= bounds.max:
        found.append(Obstacle("max", f"{state.demand} replicas are the most that replicas.max allows"))
    if not up and state.demand <= bounds.min:
        found.append(Obstacle("min", f"{state.demand} replicas are the least that replicas.min allows"))
    if not up and not scaling.down_while_unproven and is_unproven(state.rollout):
        found.append(Obstacle("unproven", "a rollout is under way; scaling.down_while_unproven is false"))
    last, wait_s = (state.last_up_at, scaling.up_cooldown_s) if up else (state.last_down_at, scaling.down_cooldown_s)
    if last is not None and now < last + wait_s:
        code = "up_cooldown" if up else "down_cooldown"
        found.append(Obstacle(code, f"{age_text(last + wait_s - now)} of {wait_s:g} s of cooldown are left"))
    return found


def _no_wish(state: ServiceState, evaluation: Evaluation, scaling: Scaling, *, up: bool) -> list[Obstacle]:
    """What the policies said, unless together they wish a change in that direction: an unknown one keeps today's
    demand."""
    notes = [ProposalNote(n["policy"], n["kind"], n["to"], n["text"]) for n in evaluation["proposals"]]
    together = combine(map(vote_of, notes), state.asking, scaling, told=state.demand)
    if together is not None and (together.to > state.demand if up else together.to < state.demand):
        return []
    found = []
    for note in notes:
        if note.kind == "unknown":
            found.append(Obstacle("unknown", f"{note.policy} is unknown and wishes today's demand: {note.text}"))
        elif note.kind == "hold":
            found.append(Obstacle("hold", f"{note.policy} holds: {note.text}"))
        elif note.kind == "scale" and not _wishes(note, state.demand, up=up):
            found.append(Obstacle("wish", f"{note.policy} wishes {note.to} for {state.demand}: {note.text}"))
    if together is not None and together.code in {"wish", "no_quorum"} and scaling.combine in {"priority", "quorum"}:
        found.insert(0, Obstacle(scaling.combine, f"{together.winner or 'nobody'} decides: {together.text}"))
    return found


def _wishes(note: ProposalNote, demand: int, *, up: bool) -> bool:
    return note.to is not None and (note.to > demand if up else note.to < demand)


def _against_update(state: ServiceState, settings: ServiceSettings, now: float) -> list[Obstacle]:
    found = []
    frozen = updates_frozen(state, settings, now)
    if frozen is not None:
        found.append(Obstacle("freeze", f"{frozen[0]}, {until_text(frozen[1], now, 'until unfreeze')}"))
    bound = rollback_bound(state, settings, now)
    if bound:
        found.append(Obstacle("rollback_limit", f"{bound}: a deployment waits for `autoscaler approve`"))
    match state.rollout:
        case RollingBack(target=target):
            found.append(
                Obstacle("rollback", f"a rollback to revision {target} is under way; a deployment waits for it")
            )
        case Held(why=why):
            found.append(
                Obstacle("held", f"the rollout is held ({why}); `autoscaler resume` or `approve` lets it go on")
            )
        case Halted(why=why):
            found.append(Obstacle("halted", f"{why.text}; `autoscaler approve`, or deploy another revision"))
        case Preflight(lacks=lacks) if lacks:
            found.append(Obstacle("no_room", f"the update under way waits for {lacks}"))
        case phase if isinstance(phase, Preflight | Running):
            found.append(Obstacle("in_flight", "an update is under way already; a later deployment supersedes it"))
        case _:
            if not found:
                found.append(Obstacle("no_deployment", "no deployment event waits; the newest one has its verdict"))
    return found


def _against_rollback(state: ServiceState, settings: ServiceSettings, evaluation: Evaluation | None) -> list[Obstacle]:
    found = []
    if isinstance(state.rollout, RollingBack):
        return [Obstacle("in_flight", f"a rollback to revision {state.rollout.target} is under way already")]
    if rollback_target(state, state.revision) is None:
        found.append(Obstacle("no_revision", "no earlier revision that was healthy is kept"))
    if isinstance(state.rollout, Idle | Halted | Preflight):
        settled = f"revision {state.revision} is settled; only a rollout in flight is taken back by itself"
        found.append(Obstacle("no_rollout", f"{settled} (`autoscaler rollback` does it by hand)"))
    if settings.update.on_failure != "rollback":
        found.append(Obstacle("on_failure", f"update.on_failure is {settings.update.on_failure}"))
    notes = evaluation["proposals"] if evaluation is not None else ()
    unknown = [note for note in notes if note["kind"] == "unknown"]
    return [*found, *(Obstacle("unknown", f"{note['policy']} is unknown: {note['text']}") for note in unknown)]
