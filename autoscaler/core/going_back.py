"""Taking a revision back: where to, when, and what is left when there is no way back. Called by `decide`'s parts. Pure.

Loop guard: a rollback never starts a rollback; content that failed by its own fault is rejected; at most so many
automatic rollbacks an hour; no revision to go back to means Halted, and what serves is left alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autoscaler.core.draft import Draft
from autoscaler.core.facts import EventRef, Reason
from autoscaler.core.holding import held
from autoscaler.core.revision import Revision, Standing
from autoscaler.core.rollout import Halted, Held, Idle, RollingBack, Running, running_of
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.core.verifying import begin_verification

HOUR_S = 3600.0


def rollback_target(state: ServiceState, failing: int) -> Revision | None:
    """The newest stable revision of other content that is not rejected; without one the newest that was healthy once.

    Of equals the base of the rollout comes first: an operator may have gone back to an older one before.
    """
    bad = state.revision_numbered(failing)
    running = running_of(state.rollout)
    base = running.base if isinstance(running, Running) else None
    usable = [
        r
        for r in state.revisions
        if r.number != failing and r.standing != "rejected" and (bad is None or r.content != bad.content)
    ]
    for standing in ("stable", "healthy"):
        found = [r for r in usable if r.standing == standing]
        if found:
            return max(found, key=lambda r: (r.number == base, r.number))
    return None


def with_standing(state: ServiceState, number: int, standing: Standing) -> tuple[Revision, ...]:
    """The revisions with that one's standing changed."""
    return tuple(replace(r, standing=standing) if r.number == number else r for r in state.revisions)


def fail_rollout(draft: Draft, settings: ServiceSettings, reason: Reason, *, own_fault: bool) -> None:
    """The revision under way has failed: roll back, hold or go on, as ``on_failure`` says."""
    rollout = draft.state.rollout
    running = running_of(rollout)
    if not isinstance(running, Running):
        return
    if settings.update.on_failure == "hold":
        if not isinstance(rollout, Held) or rollout.why != "failure":
            moved = held(draft.state, "failure", running, draft.at)
            draft.add("decided", "update", Reason("held", f"held: {reason.text}", reason.numbers), rollout=moved)
        return
    if settings.update.on_failure == "continue" and reason.code != "policy":
        return
    start_rollback(draft, settings, reason, own_fault=own_fault, event=running.event)


def start_rollback(
    draft: Draft,
    settings: ServiceSettings,
    reason: Reason,
    *,
    own_fault: bool,
    event: EventRef | None = None,
    command: EventRef | None = None,
    to: Revision | None = None,
) -> None:
    """Want the former revision again, at today's demand; without one, halt and leave what serves alone."""
    state = draft.state
    failing = state.revision
    target = to or rollback_target(state, failing)
    revisions = with_standing(state, failing, "rejected") if own_fault else state.revisions
    if target is None:
        text = f"{reason.text}; no earlier revision to go back to: what serves is left alone, approve or deploy another"
        halted = Halted(Reason(reason.code, text, reason.numbers), draft.at)
        draft.settle(event or command, "failed", "rollback", halted.why, rollout=halted, revisions=revisions)
        return
    rollout = RollingBack(
        target.number, failing, event, command, reason, draft.at, draft.at + settings.update.deadline_s
    )
    changes: dict[str, Any] = {"rollout": rollout, "revision": target.number, "revisions": revisions}
    if command is None:
        changes["rollbacks"] = (*(at for at in state.rollbacks if at > draft.at - HOUR_S), draft.at)
    if event is not None or command is not None:
        draft.causes = tuple(ref for ref in (event, command) if ref is not None)
    text = f"rolling back revision {failing} to {target.number}: {reason.text}"
    draft.add("decided", "rollback", Reason(reason.code, text[:1000], reason.numbers), **changes)


def finish_rollback(draft: Draft, rollout: RollingBack) -> None:
    """Every wanted replica runs the former revision and is available: settle who waited for it."""
    draft.causes = tuple(ref for ref in (rollout.event, rollout.command) if ref is not None)
    before = replace(draft.standpoint, revision=rollout.rejected)
    reason = rollout.reason
    if reason.code == "policy" and rollout.command is None:
        begin_verification(draft, rollout.target, reason)
    if rollout.event is not None:
        draft.add(
            "decided",
            "rollback",
            reason,
            verdict="rolled_back",
            terminal=True,
            event=rollout.event,
            before=before,
            rollout=Idle(),
        )
    if rollout.command is not None:
        done = Reason("rolled_back", f"revision {rollout.target} runs again", reason.numbers)
        draft.add(
            "decided",
            "rollback",
            done,
            verdict="applied",
            terminal=True,
            event=rollout.command,
            before=before,
            rollout=Idle(),
        )
    if rollout.event is None and rollout.command is None:
        draft.add("decided", "rollback", reason, before=before, rollout=Idle())


def halt_rollback(draft: Draft, rollout: RollingBack, reason: Reason) -> None:
    """The way back failed as well: stop, keep what serves, say so; never roll back a rollback."""
    text = f"rollback to revision {rollout.target} failed: {reason.text}; after {rollout.reason.text}"[:1000]
    why = Reason("rollback_failed", text, reason.numbers)
    halted = Halted(why, draft.at)
    if rollout.event is not None:
        draft.settle(rollout.event, "failed", "rollback", why, rollout=halted)
    if rollout.command is not None:
        draft.settle(rollout.command, "failed", "rollback", why, rollout=halted)
    if rollout.event is None and rollout.command is None:
        draft.add("decided", "rollback", why, rollout=halted)
