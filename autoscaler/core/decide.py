"""`decide`: from a service's state and one stimulus to the records that follow. The heart of the program. Pure.

Rules: time comes with the stimulus; nothing is read but the arguments; an answer always exists (no exception on valid
input); each change has a record with its reason; order of precedence: operator override, safety rollback, rollback
proposal, update, scale.
"""

from __future__ import annotations

from collections.abc import Sequence

from autoscaler.core.actions import Outcome
from autoscaler.core.commands import obey
from autoscaler.core.convergence import converge
from autoscaler.core.deployments import accept_deployment, configured_event, edited_later, note_resolution
from autoscaler.core.displacing import fulfil_claims
from autoscaler.core.draft import Draft, because, known_event
from autoscaler.core.facts import EventRef, Reason
from autoscaler.core.freezing import updates_frozen
from autoscaler.core.going_back import fail_rollout
from autoscaler.core.history import note_pruned
from autoscaler.core.judging import judge_step, judgement_of
from autoscaler.core.outcomes import note_outcomes
from autoscaler.core.phases import begin_waiting, expire, hold_or_resume, judge_failures, progress
from autoscaler.core.proposals import Rollback
from autoscaler.core.records import Record
from autoscaler.core.rollout import Held, Idle, Judging, Retired, Retiring, Running, running_of
from autoscaler.core.scaling import evaluate
from autoscaler.core.scheduling import keep_plan
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.sightings import Failure, note_sightings
from autoscaler.core.spending import keep_budget
from autoscaler.core.state import ServiceState
from autoscaler.core.stimuli import (
    Configured,
    ControlArrived,
    DeadlineReached,
    DeploymentArrived,
    Evaluate,
    ImagesPruned,
    Observed,
    OutcomeArrived,
    OutcomesArrived,
    Stimulus,
)
from autoscaler.core.verifying import note_unverified, verify_rollback
from autoscaler.core.world import World

CASCADE_MAX = 6
"""Phases that may follow one another within one decision; more would be a loop, and the next stimulus goes on."""


def decide(state: ServiceState, settings: ServiceSettings, stimulus: Stimulus, world: World) -> tuple[Record, ...]:
    """The records that ``stimulus`` leads to, in order; empty where nothing changes. `fold` of them is the new
    state."""
    draft = Draft(state, world.now)
    soak_unknown: tuple[str, ...] = ()
    failures: list[Failure] = []
    match stimulus:
        case Evaluate():
            soak_unknown = stimulus.soak_unknown
            _vote_down(draft, settings, stimulus)
            _judge(draft, settings, stimulus)
            verify_rollback(draft, stimulus)
            evaluate(draft, settings, stimulus, world.grants)
            if not draft.records and isinstance(state.rollout, Idle) and state.pending is None:
                return ()
        case DeploymentArrived():
            if not _repeated(draft, stimulus.event, "deployment"):
                accept_deployment(draft, settings, stimulus)
        case ControlArrived():
            if not _repeated(draft, stimulus.event, "control"):
                obey(draft, settings, stimulus, world)
        case OutcomeArrived() | OutcomesArrived():
            failures = _note(draft, settings, stimulus.outcomes)
        case Configured():
            _configure(draft, settings)
        case DeadlineReached():
            soak_unknown = stimulus.soak_unknown
        case ImagesPruned():
            note_pruned(draft, stimulus)
        case Observed():
            pass
    _settle(draft, settings, world, soak_unknown, failures)
    return tuple(draft.records)


def _settle(
    draft: Draft, settings: ServiceSettings, world: World, soak_unknown: tuple[str, ...], failures: Sequence[Failure]
) -> None:
    """Let everything follow that follows: expiries, failures, phases, and edits of the wanted replicas."""
    expire(draft)
    note_unverified(draft)
    fulfil_claims(draft, world)
    keep_plan(draft, settings)
    keep_budget(draft, world.grants)
    lost = [*failures, *note_sightings(draft, settings, world)]
    judge_failures(draft, settings, lost)
    for _ in range(CASCADE_MAX):
        before = draft.state
        hold_or_resume(draft, settings)
        progress(draft, settings, world, soak_unknown)
        begin_waiting(draft, settings, world)
        if draft.state.revision != before.revision:
            # A launch brings a first demand, or larger replicas, and nothing of it is started before it is granted.
            keep_budget(draft, world.grants)
        hold_or_resume(draft, settings)
        converge(draft, settings, world, lost)
        lost = []
        if draft.state is before:
            return


def _repeated(draft: Draft, event: EventRef, kind: str) -> bool:
    known = known_event(draft.state, event)
    if known is None:
        return False
    verdict = known.verdict or "undecided so far"
    text = f"seen before: {verdict}"
    draft.add("refused", kind, Reason("duplicate", text), verdict="duplicate", event=event)
    return True


def _vote_down(draft: Draft, settings: ServiceSettings, stimulus: Evaluate) -> None:
    """A policy's Rollback counts against the revision under way; a stable one is not taken back by a vote."""
    rollout = draft.state.rollout
    if not isinstance(running_of(rollout), Running):
        return
    for vote in stimulus.votes:
        if isinstance(vote.proposal, Rollback) and not vote.unknown:
            draft.causes = stimulus.causes
            reason = because("policy", f"{vote.policy}: {vote.proposal.reason}")
            fail_rollout(draft, settings, reason, own_fault=True)
            return


def _judge(draft: Draft, settings: ServiceSettings, stimulus: Evaluate) -> None:
    """What the policies say of the step that is judged, or of the one that is held for want of data."""
    rollout = draft.state.rollout
    waits = isinstance(rollout, Held) and rollout.why == "unknown" and isinstance(rollout.resumed, Judging)
    judged = running_of(rollout)
    if not isinstance(judged, Judging) or not (waits or rollout is judged):
        return
    if stimulus.told_since is not None and stimulus.told_since != judged.since:
        return
    if updates_frozen(draft.state, settings, draft.at) is None:
        draft.causes = stimulus.causes
        judge_step(draft, settings, judgement_of(stimulus.votes, stimulus.at))


def _note(draft: Draft, settings: ServiceSettings, outcomes: Sequence[Outcome]) -> list[Failure]:
    for outcome in outcomes:
        if outcome.action.kind == "resolve":
            note_resolution(draft, settings, outcome)
    return note_outcomes(draft, settings, outcomes)


def _configure(draft: Draft, settings: ServiceSettings) -> None:
    """Bring the configuration's own first revision if the service never had one, and today's demand within changed
    bounds."""
    state, bounds = draft.state, settings.bounds
    if isinstance(state.rollout, Retiring | Retired):
        _configure_again(draft, settings, state.rollout)
        return
    event = configured_event(state, settings)
    if event is not None and settings.revision is not None:
        fields = frozenset({"image", "command"}) if settings.revision.image else frozenset({"command", "env"})
        arrived = DeploymentArrived(draft.at, event, settings.revision, fields, "configured")
        accept_deployment(draft, settings, arrived, configured=True)
        return
    asking, demand = bounds.nearest(state.asking), bounds.nearest(state.demand)
    if state.initialised and state.revision and (asking, demand) != (state.asking, state.demand):
        # What a budget withholds is not given here: that would be past it, and past a freeze of all.
        text = f"the configured bounds are {bounds.min}..{bounds.max} now"
        reason = because("bounds", text, demand=demand)
        draft.add("decided", "scale", reason, demand=demand, asked=asking if asking != demand else None)


def _configure_again(draft: Draft, settings: ServiceSettings, rollout: Retiring | Retired) -> None:
    """A retired service whose configuration is another one now runs again what it ran last, at its initial demand."""
    if isinstance(rollout, Retiring) or rollout.settings == settings.fingerprint:
        return
    bounds = settings.bounds
    demand = bounds.nearest(bounds.initial) if draft.state.revision else 0
    text = "the service is configured again"
    if edited_later(draft.state, settings):
        text += f", and revision {draft.state.revision} runs: the changed one counts once it is deployed"
    reason = because("configured", text, demand=demand)
    draft.add("decided", "service", reason, rollout=Idle(), demand=demand, setbacks=())
