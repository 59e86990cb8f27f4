"""What the policies that vote on revisions say of a step, and what follows from it. Called by `decide`. Pure.

One check passes, fails, cannot decide or cannot tell; all of them together are the worst: fail, unknown, undecided,
inconclusive, pass. Unknown never rolls back: the step waits for it, then is held; data back, it is judged again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from autoscaler.core.draft import Draft, because
from autoscaler.core.holding import held, resume
from autoscaler.core.proposals import Hold, Rollback
from autoscaler.core.replacing import counts_wanted
from autoscaler.core.rollout import Advancing, Held, Judging
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.steps import Step
from autoscaler.core.stimuli import PolicyVote

Finding = Literal["pass", "inconclusive", "undecided", "unknown", "fail"]
_ORDER: tuple[Finding, ...] = ("pass", "inconclusive", "undecided", "unknown", "fail")


@dataclass(frozen=True, slots=True)
class Judgement:
    """The worst of the checks, and in whose words."""

    finding: Finding
    text: str = ""


def judgement_of(votes: Iterable[PolicyVote], at: float) -> Judgement:
    """What the votes come to at ``at``: `Rollback` fails, no usable answer is unknown, a `Hold` that is to wake later
    asks for time, any other `Hold` cannot decide; `Update` and no opinion pass."""
    worst = Judgement("pass")
    for vote in votes:
        if not vote.rollback:
            continue
        found = _finding_of(vote, at)
        if _ORDER.index(found.finding) > _ORDER.index(worst.finding):
            worst = found
    return worst


def _finding_of(vote: PolicyVote, at: float) -> Judgement:
    proposal = vote.proposal
    if vote.unknown:
        return Judgement("unknown", f"{vote.policy}: {vote.unknown}")
    if isinstance(proposal, Rollback):
        return Judgement("fail", f"{vote.policy}: {proposal.reason}")
    if isinstance(proposal, Hold):
        waits = proposal.wake_at is not None and proposal.wake_at > at
        return Judgement("undecided" if waits else "inconclusive", f"{vote.policy}: {proposal.reason}")
    return Judgement("pass")


def begin_judging(draft: Draft, rollout: Advancing) -> None:
    """The step is reached and available: its pause begins."""
    step, at = rollout.steps[rollout.step], draft.at
    judging = Judging(
        target=rollout.target,
        base=rollout.base,
        event=rollout.event,
        started_at=rollout.started_at,
        demand=draft.state.demand,
        touched=rollout.touched,
        since=at,
        until=None if step.pause_s is None else at + step.pause_s,
        failed=rollout.failed,
        steps=rollout.steps,
        step=rollout.step,
        blue_green=rollout.blue_green,
    )
    lasts = "until it is let go on" if step.pause_s is None else f"for {step.pause_s:g} s at least"
    text = f"{step_text(rollout)} is reached and available; judged {lasts}"
    draft.add("decided", "update", because("judging", text, step=rollout.step + 1), rollout=judging)


def step_text(rollout: Advancing | Judging) -> str:
    """``step 2 of 3 (25 %)``; past the last one ``the last step``."""
    step = rollout.current_step
    if step is None:
        return "the last step"
    return f"step {rollout.step + 1} of {len(rollout.steps)} ({size_text(step)})"


def size_text(step: Step) -> str:
    """``25 %`` or ``2 replicas``."""
    if step.count is not None:
        return f"{step.count} replica{'' if step.count == 1 else 's'}"
    return f"{step.weight} %"


def go_on(
    draft: Draft, settings: ServiceSettings, judging: Advancing | Judging, why: str, *, to: int | None = None
) -> None:
    """Begin the next step, or step number ``to``; the clock of progress begins anew."""
    step = judging.step + 1 if to is None else to
    advancing = Advancing(
        target=judging.target,
        base=judging.base,
        event=judging.event,
        started_at=judging.started_at,
        progress_by=draft.at + settings.update.deadline_s,
        demand=draft.state.demand,
        touched=judging.touched,
        failed=judging.failed,
        steps=judging.steps,
        step=step,
        blue_green=judging.blue_green,
    )
    text = f"{step_text(judging)} {why}; on to {step_text(advancing)}"
    draft.add("decided", "update", because("step", text[:1000], step=step + 1), rollout=advancing)


def is_due(rollout: object, patience_s: float, at: float) -> bool:
    """Whether a step waits for its policies to be asked now: its pause is over, or they could not tell for long."""
    if not isinstance(rollout, Judging):
        return False
    over = rollout.until is not None and rollout.until <= at
    return over or (rollout.unknown_since is not None and rollout.unknown_since + patience_s <= at)


def judge_step(draft: Draft, settings: ServiceSettings, judgement: Judgement) -> None:
    """Go on, wait or hold, by what the policies said just now; a failure has been acted upon already."""
    rollout = draft.state.rollout
    if isinstance(rollout, Held):
        if rollout.why != "unknown" or judgement.finding == "unknown":
            return
        resume(draft, settings, "the checks have data again")
        rollout = draft.state.rollout
        if isinstance(rollout, Judging):
            rollout = replace(rollout, unknown_since=draft.at)
    if not isinstance(rollout, Judging):
        return
    if counts_wanted(draft.state, settings, rollout).new == 0:
        judgement = Judgement("pass", "no replica to judge")
    at, patience_s = draft.at, settings.update.analysis_patience_s
    if judgement.finding == "unknown":
        _wait_for_data(draft, rollout, judgement, patience_s)
        return
    if rollout.unknown_since is not None:
        rollout = _known_again(rollout, judgement, at)
        draft.add("observed", "update", because("known", "the checks of the step have data again"), rollout=rollout)
    if rollout.until is None or at < rollout.until:
        return
    if judgement.finding == "pass":
        go_on(draft, settings, rollout, "passed")
    elif judgement.finding == "inconclusive":
        _hold_inconclusive(draft, rollout, judgement.text)
    elif at >= rollout.until + patience_s:
        _hold_inconclusive(draft, rollout, f"{judgement.text}; undecided for {patience_s:g} s past the step's end")


def _known_again(rollout: Judging, judgement: Judgement, at: float) -> Judging:
    """The step with data again: checks that cannot decide yet have its whole pause before them once more."""
    pause_s = rollout.current_step.pause_s if rollout.current_step is not None else 0.0
    if judgement.finding != "pass" and pause_s is not None and rollout.until is not None and rollout.until <= at:
        rollout = replace(rollout, until=at + pause_s)
    return replace(rollout, unknown_since=None)


def _wait_for_data(draft: Draft, rollout: Judging, judgement: Judgement, patience_s: float) -> None:
    if rollout.unknown_since is None:
        text = f"{step_text(rollout)} cannot be judged: {judgement.text}"
        waiting = replace(rollout, unknown_since=draft.at)
        draft.add("observed", "update", because("unknown", text[:1000]), rollout=waiting)
    elif draft.at >= rollout.unknown_since + patience_s:
        text = f"alarm: {step_text(rollout)} held, unknown for {patience_s:g} s: {judgement.text}"
        moved = held(draft.state, "unknown", rollout, draft.at)
        draft.add("decided", "update", because("held_unknown", text[:1000]), rollout=moved)


def _hold_inconclusive(draft: Draft, rollout: Judging, text: str) -> None:
    moved = held(draft.state, "inconclusive", rollout, draft.at)
    words = f"{step_text(rollout)} held, inconclusive: {text}"[:1000]
    draft.add("decided", "update", because("inconclusive", words), rollout=moved)
