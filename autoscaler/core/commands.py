"""What each operator command does. Called by `decide` for a `ControlArrived`. Pure.

A command gets exactly one terminal verdict: at once when it is in force, or for rollback, abort and retire when it is
done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from autoscaler.core.deployments import supersede
from autoscaler.core.draft import Draft, because
from autoscaler.core.facts import Reason
from autoscaler.core.freezing import scaling_frozen, updates_frozen
from autoscaler.core.going_back import rollback_target, start_rollback
from autoscaler.core.holding import held, resume
from autoscaler.core.judging import go_on, step_text
from autoscaler.core.phases import all_available, available_count
from autoscaler.core.replacing import counts_wanted
from autoscaler.core.revision import Revision
from autoscaler.core.rollout import (
    Advancing,
    Halted,
    Held,
    Idle,
    Judging,
    Preflight,
    Retired,
    Retiring,
    RollingBack,
    Running,
    Soaking,
    is_stepping,
    running_of,
)
from autoscaler.core.scheduling import SCHEDULED_MAX
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import Freeze, Override, Scheduled, ServiceState
from autoscaler.core.stimuli import ControlArrived
from autoscaler.core.world import World


def obey(draft: Draft, settings: ServiceSettings, command: ControlArrived, world: World) -> None:
    """Carry the command out, or refuse it with the reason."""
    draft.causes = (command.event,)
    if command.refusal is not None:
        _refuse(draft, command, *command.refusal)
    elif isinstance(draft.state.rollout, Retiring | Retired):
        _refuse(draft, command, "retired", "the service is retired. Configure it again first")
    else:
        _COMMANDS[command.command](draft, settings, command, world)


def _refuse(draft: Draft, command: ControlArrived, code: str, text: str) -> None:
    draft.settle(command.event, "refused", "control", Reason(code, text))


def _applied(draft: Draft, command: ControlArrived, code: str, text: str, **changes: Any) -> None:
    words = f"{text}: {command.reason}" if command.reason else text
    draft.settle(command.event, "applied", "control", Reason(code, words), **changes)


def _unchanged(draft: Draft, command: ControlArrived, text: str) -> None:
    draft.settle(command.event, "unchanged", "control", Reason("unchanged", text))


def _scale(draft: Draft, settings: ServiceSettings, command: ControlArrived, world: World) -> None:
    state, bounds = draft.state, settings.bounds
    if scaling_frozen(state, draft.at):
        _refuse(draft, command, "freeze", "scaling is frozen. Unfreeze first")
        return
    if command.replicas is None:
        if command.begins_at is not None:
            _refuse(draft, command, "schedule", "auto begins at once. Leave out at, or give an end by for")
        elif command.scheduled:
            _unschedule(draft, command)
        elif state.override is None:
            _unchanged(draft, command, "no override is in force")
        else:
            _applied(draft, command, "auto", "the policies decide again", override=None)
        return
    if not bounds.min <= command.replicas <= bounds.max:
        text = (
            f"{command.replicas} is outside {bounds.min}..{bounds.max}. Choose within, or change replicas.min or .max"
        )
        _refuse(draft, command, "bounds", text)
        return
    if state.revision == 0:
        _refuse(draft, command, "no_revision", "nothing to run yet. Deploy a revision first")
        return
    begins_at = draft.at if command.begins_at is None else command.begins_at
    until = begins_at + command.for_s if command.for_s is not None else None
    if begins_at > draft.at:
        _schedule(draft, command, Scheduled(command.replicas, begins_at, until, command.event, command.reason))
        return
    if until is not None and until <= draft.at:
        _refuse(draft, command, "expired", "it would have ended already. Give a later --at, or a longer --for")
        return
    override = Override(command.replicas, until, command.event)
    same = state.override is not None and (state.override.replicas, state.override.until) == (override.replicas, until)
    if same and state.asking == command.replicas:
        _unchanged(draft, command, f"{command.replicas} replicas are wanted already")
        return
    ends = f" for {command.for_s:g} s" if command.for_s is not None else " until scale auto"
    _applied(
        draft,
        command,
        "override",
        f"{state.asking} -> {command.replicas} replicas{ends}",
        override=override,
        **draft.moved(command.replicas),
    )


def _schedule(draft: Draft, command: ControlArrived, one: Scheduled) -> None:
    """It waits in the state; its verdict is that it does."""
    waiting = draft.state.scheduled
    if len(waiting) >= SCHEDULED_MAX:
        text = f"{SCHEDULED_MAX} overrides wait already. Take them back with scale auto --scheduled"
        _refuse(draft, command, "too_many", text)
        return
    ordered = tuple(sorted((*waiting, one), key=lambda known: known.begins_at))
    ends = f" for {command.for_s:g} s" if command.for_s is not None else " until scale auto"
    text = f"{one.replicas} replicas in {one.begins_at - draft.at:.0f} s{ends}"
    _applied(draft, command, "scheduled", text, scheduled=ordered)


def _unschedule(draft: Draft, command: ControlArrived) -> None:
    waiting = len(draft.state.scheduled)
    if waiting:
        text = f"taken back what waited: {waiting} override{'s' if waiting > 1 else ''}"
        _applied(draft, command, "unscheduled", text, scheduled=())
    else:
        _unchanged(draft, command, "no override waits")


def _rollback(draft: Draft, settings: ServiceSettings, command: ControlArrived, world: World) -> None:
    state = draft.state
    target = (
        state.revision_numbered(command.revision)
        if command.revision is not None
        else rollback_target(state, state.revision)
    )
    if target is None:
        asked = (
            f"revision {command.revision} is not kept"
            if command.revision is not None
            else "no earlier revision was healthy"
        )
        _refuse(draft, command, "no_revision", f"{asked}. See status for the kept ones")
    elif target.number == state.revision and isinstance(state.rollout, RollingBack):
        _unchanged(draft, command, f"revision {target.number} is being brought back already")
    elif target.number == state.revision and not isinstance(state.rollout, Preflight):
        _unchanged(draft, command, f"revision {target.number} is the wanted one already")
    else:
        _go_back(draft, settings, command, target, "rollback")


def _go_back(draft: Draft, settings: ServiceSettings, command: ControlArrived, target: Revision, code: str) -> None:
    running = running_of(draft.state.rollout)
    text = f"asked by {command.event.source}{': ' + command.reason if command.reason else ''}"
    if target.standing == "rejected":
        draft.add("decided", "control", Reason("approved", f"revision {target.number} is wanted again: {text}"),
            revisions=tuple(_forgiven(r) if r.number == target.number else r for r in draft.state.revisions),
        )  # fmt: skip
    event = running.event if isinstance(running, Running) else None
    if isinstance(running, Preflight):
        stopped = Reason(code, f"{text}; nothing had been touched")
        draft.settle(running.deployment.event, "rolled_back", "rollback", stopped, rollout=Idle())
        if target.number == draft.state.revision:
            _applied(draft, command, code, "the deployment was stopped before anything changed")
            return
    if isinstance(running, RollingBack):
        event = running.event
        if running.command is not None:
            draft.settle(
                running.command, "superseded", "control", Reason("superseded", f"by command {command.event.id}")
            )
    draft.add("decided", "control", Reason("accepted", text), verdict="accepted", event=command.event)
    start_rollback(draft, settings, Reason(code, text), own_fault=False, event=event, command=command.event, to=target)


def _abort(draft: Draft, settings: ServiceSettings, command: ControlArrived, world: World) -> None:
    state = draft.state
    running = running_of(state.rollout)
    if not isinstance(running, Preflight | Running) and state.waiting is not None:
        stopped = Reason("abort", "stopped while it waited")
        draft.settle(state.waiting.event, "rolled_back", "rollback", stopped, waiting=None)
        _applied(draft, command, "abort", "the deployment that waited was stopped before anything changed")
        return
    if not isinstance(running, Preflight | Running):
        _refuse(draft, command, "no_rollout", "no rollout is in flight")
        return
    if isinstance(running, Preflight):
        base = state.revision_numbered(running.base if running.base is not None else state.revision)
    else:
        base = (
            state.revision_numbered(running.base)
            if running.base is not None
            else rollback_target(state, state.revision)
        )
    if base is None and isinstance(running, Preflight):
        stopped = Reason("abort", "stopped before anything changed")
        draft.settle(running.deployment.event, "rolled_back", "rollback", stopped, rollout=Idle())
        _applied(draft, command, "abort", "the deployment was stopped before anything changed")
    elif base is None:
        _refuse(draft, command, "no_revision", "there is no earlier revision to go back to. Deploy another or retire")
    else:
        _go_back(draft, settings, command, base, "abort")


def _pause(draft: Draft, settings: ServiceSettings, command: ControlArrived, world: World) -> None:
    rollout = draft.state.rollout
    if isinstance(rollout, Held) and rollout.why == "operator":
        _unchanged(draft, command, "the rollout is paused already")
    elif isinstance(rollout, Running | Held):
        until = draft.at + command.for_s if command.for_s is not None else None
        if isinstance(rollout, Held):
            paused = replace(rollout, why="operator", until=until)
        else:
            paused = held(draft.state, "operator", rollout, draft.at, until)
        _applied(draft, command, "paused", "the rollout stands still", rollout=paused)
    else:
        _refuse(draft, command, "no_rollout", "no rollout is under way that could be paused")


def _resume(draft: Draft, settings: ServiceSettings, command: ControlArrived, world: World) -> None:
    rollout = draft.state.rollout
    waits = isinstance(rollout, Judging) and rollout.until is None
    if not isinstance(rollout, Held) and not waits:
        _unchanged(draft, command, "nothing is paused")
        return
    frozen = updates_frozen(draft.state, settings, draft.at)
    if frozen is not None:
        _refuse(draft, command, "freeze", f"{frozen[0]}. Resume after it, or unfreeze")
        return
    if isinstance(rollout, Judging):
        ended = replace(rollout, until=draft.at)
        _applied(draft, command, "resumed", f"{step_text(rollout)} goes on where its checks pass", rollout=ended)
        return
    resume(draft, settings, "resumed by the operator")
    again = draft.state.rollout
    if isinstance(again, Judging) and isinstance(rollout, Held) and rollout.why == "inconclusive":
        pause_s = again.steps[again.step].pause_s
        again = replace(again, since=draft.at, until=None if pause_s is None else draft.at + pause_s)
        _applied(draft, command, "resumed", f"{step_text(again)} is judged anew", rollout=again)
    else:
        _applied(draft, command, "resumed", "the rollout goes on")


def _promote(draft: Draft, settings: ServiceSettings, command: ControlArrived, world: World) -> None:
    state = draft.state
    running = running_of(state.rollout)
    frozen = updates_frozen(state, settings, draft.at)
    if frozen is not None:
        _refuse(draft, command, "freeze", f"{frozen[0]}. Promote after it, or unfreeze")
    elif not isinstance(running, Running):
        _refuse(draft, command, "no_rollout", "no rollout is in flight")
    elif isinstance(running, Advancing | Judging) and running.current_step is not None:
        _promote_step(draft, settings, command, world, running)
    elif isinstance(running, Advancing) and is_stepping(running):
        ready = available_count(state, world, running.target)
        _refuse(draft, command, "not_available", f"{ready} of {state.demand} available; switched when all are")
    elif not _is_promotable(state, world, running):
        ready = available_count(state, world, running.target)
        _refuse(draft, command, "not_available", f"{ready} of {state.demand} available")
    else:
        done = because("promoted", f"promoted by {command.event.source} before its soak ended")
        revisions = tuple(r if r.number != running.target else _as_stable(r) for r in state.revisions)
        draft.settle(running.event, "applied", "update", done, rollout=Idle(), revisions=revisions)
        _applied(draft, command, "promoted", f"revision {running.target} is stable")


def _is_promotable(state: ServiceState, world: World, running: Running) -> bool:
    """Whether the demand runs the new revision and is available; in the soak others may stand by."""
    if isinstance(running, Soaking):
        return available_count(state, world, running.target) >= state.demand
    return all_available(state, world, running.target)


def _promote_step(
    draft: Draft, settings: ServiceSettings, command: ControlArrived, world: World, running: Advancing | Judging
) -> None:
    """Skip the steps and checks that are left, never health: what the step wants of the new revision is available."""
    state = draft.state
    ready, wanted = available_count(state, world, running.target), counts_wanted(state, settings, running).new
    if ready < wanted:
        _refuse(draft, command, "not_available", f"{ready} of {wanted} available")
        return
    go_on(draft, settings, running, f"promoted by {command.event.source}", to=len(running.steps))
    _applied(draft, command, "promoted", f"revision {running.target} goes on to all replicas")


def _as_stable(revision: Revision) -> Revision:
    return replace(revision, standing="stable")


def _approve(draft: Draft, settings: ServiceSettings, command: ControlArrived, world: World) -> None:
    state, rollout = draft.state, draft.state.rollout
    changes: dict[str, Any] = {}
    if any(r.standing == "rejected" for r in state.revisions):
        changes["revisions"] = tuple(_forgiven(r) for r in state.revisions)
    if state.rollbacks:
        changes["rollbacks"] = ()
    if isinstance(rollout, Halted):
        changes["rollout"] = Idle()
    if isinstance(rollout, Held) and rollout.why in {"inconclusive", "unknown"}:
        _approve_step(draft, settings, command, rollout, changes)
    elif isinstance(rollout, Held) and rollout.why == "failure":
        resume(draft, settings, "approved by the operator")
        _applied(draft, command, "approved", "the rollout goes on", **changes)
    elif changes:
        _applied(draft, command, "approved", "what was rejected or halted may go on", **changes)
    else:
        _unchanged(draft, command, "nothing waits for approval")


def _approve_step(
    draft: Draft, settings: ServiceSettings, command: ControlArrived, rollout: Held, changes: dict[str, Any]
) -> None:
    """The step that its checks could not decide counts as passed."""
    frozen = updates_frozen(draft.state, settings, draft.at)
    if frozen is not None:
        _refuse(draft, command, "freeze", f"{frozen[0]}. Approve after it, or unfreeze")
    elif isinstance(rollout.resumed, Judging):
        go_on(draft, settings, rollout.resumed, f"approved by {command.event.source}")
        _applied(draft, command, "approved", "the step counts as passed", **changes)


def _forgiven(revision: Revision) -> Revision:
    return replace(revision, standing="unproven") if revision.standing == "rejected" else revision


def _freeze(draft: Draft, settings: ServiceSettings, command: ControlArrived, world: World) -> None:
    scope: Literal["update", "all"] = "all" if command.scope == "all" else "update"
    until = draft.at + command.for_s if command.for_s is not None else None
    freeze = draft.state.freeze
    if freeze is not None and (freeze.scope, freeze.until) == (scope, until):
        _unchanged(draft, command, "frozen already")
    else:
        covered = "updates and scaling stand" if scope == "all" else "updates stand"
        _applied(draft, command, "frozen", f"{covered} still", freeze=Freeze(scope, until, command.event))


def _unfreeze(draft: Draft, settings: ServiceSettings, command: ControlArrived, world: World) -> None:
    if draft.state.freeze is None:
        _unchanged(draft, command, "not frozen")
    else:
        _applied(draft, command, "unfrozen", "updates and scaling go on", freeze=None)


def _retire(draft: Draft, settings: ServiceSettings, command: ControlArrived, world: World) -> None:
    supersede(draft, "by retire")
    if draft.state.waiting is not None:
        draft.settle(
            draft.state.waiting.event, "superseded", "deployment", because("superseded", "by retire"), waiting=None
        )
    rollout = draft.state.rollout
    if isinstance(rollout, RollingBack):
        for ref in (rollout.event, rollout.command):
            if ref is not None:
                draft.settle(ref, "superseded", "rollback", because("superseded", "by retire"))
    draft.add(
        "decided", "control", Reason("accepted", "stopping all replicas"), verdict="accepted", event=command.event
    )
    draft.add(
        "decided",
        "scale",
        because("retire", f"{draft.state.demand} -> 0 replicas", demand=0),
        demand=0,
        override=None,
        scheduled=(),
        rollout=Retiring(command.event, draft.at),
    )


_COMMANDS: dict[str, Callable[[Draft, ServiceSettings, ControlArrived, World], None]] = {
    "scale": _scale,
    "rollback": _rollback,
    "abort": _abort,
    "pause": _pause,
    "resume": _resume,
    "promote": _promote,
    "approve": _approve,
    "freeze": _freeze,
    "unfreeze": _unfreeze,
    "retire": _retire,
}
COMMANDS = frozenset(_COMMANDS)
"""The commands that a control event may carry."""
