"""Asks the policies of one service and prepares the `Evaluate` for the core. The hot path: once per service and batch.

Called by the shard. Most evaluations change nothing, and that must be cheap: where the wish is what was concluded last
and nothing can differ, no stimulus is made at all. No clock: ``at`` is the broker's time of the newest folded sample.
"""

from __future__ import annotations

from typing import Protocol

from autoscaler.core.activation import idle_since
from autoscaler.core.combination import Wish, combine
from autoscaler.core.facts import SignalReading
from autoscaler.core.observation import ServiceFacts
from autoscaler.core.rollout import Advancing, Idle, Judging, RollingBack, Soaking, running_of
from autoscaler.core.settings import PolicyUse, ServiceSettings
from autoscaler.core.sightings import is_available, observed_by_identity
from autoscaler.core.state import ServiceState
from autoscaler.core.stimuli import Evaluate, GuardNote, PolicyVote
from autoscaler.core.world import World
from autoscaler.engine.volatile import Judge
from autoscaler.plugin_host.evaluation import EvaluationRequest


class Voter(Protocol):
    """The part of the plugin host that a shard asks; the simulator has its own."""

    def runs_in_process(self, uses: tuple[PolicyUse, ...]) -> bool:
        """Whether all of them can be asked synchronously."""

    def votes(self, request: EvaluationRequest) -> tuple[PolicyVote, ...]:
        """The policies' votes, in order."""

    def guard_notes(self, request: EvaluationRequest, wish: int) -> tuple[GuardNote, ...]:
        """What guard plugins say to the combined wish."""


def facts_of(state: ServiceState, settings: ServiceSettings, world: World) -> ServiceFacts:
    """What policies are told about the service."""
    ready = 0
    if state.replicas:
        seen = observed_by_identity(world)
        ready = sum(1 for r in state.replicas if is_available(r, seen.get((r.slot, r.revision, r.attempt))))
    running = running_of(state.rollout)
    since: float | None = None
    until: float | None = None
    base: int | None = None
    step = steps = 0
    if isinstance(running, Advancing):
        since, base = running.started_at, running.base
    elif isinstance(running, Judging | Soaking):
        since, until, base = running.since, running.until, running.base
    elif isinstance(running, RollingBack):
        since, base = running.started_at, running.target
    if isinstance(running, Advancing | Judging) and running.steps:
        steps = len(running.steps)
        step = min(running.step + 1, steps)
    return ServiceFacts(
        name=state.service,
        demand=state.demand,
        minimum=settings.bounds.min,
        maximum=settings.bounds.max,
        ready=ready,
        starting=len(state.replicas) - ready,
        revision=state.revision,
        base=base,
        phase=state.rollout.phase,
        phase_since=since,
        phase_until=until,
        step=step,
        steps=steps,
    )


def request_for(settings: ServiceSettings, judge: Judge, facts: ServiceFacts, at: float) -> EvaluationRequest:
    """What the plugin host needs to ask the service's policies."""
    return EvaluationRequest(facts, settings.policies, judge.signals, at, settings.scaling.max_age_s, judge.memory)


def stimulus_for(
    state: ServiceState,
    settings: ServiceSettings,
    judge: Judge,
    votes: tuple[PolicyVote, ...],
    at: float,
    *,
    sampled: bool,
) -> Evaluate | None:
    """The stimulus, or None where the conclusion stands and nothing is in flight that a vote could touch."""
    scaling = settings.scaling
    judge.note_evaluation(at, scaling.max_age_s)
    wish = combine(votes, state.asking, scaling, told=state.demand)
    _remember_names(judge, votes)
    wishes_max = judge.wishes.highest(at - scaling.down_window_s)
    wishes_min = judge.wishes.lowest(at - scaling.up_window_s) if scaling.up_window_s > 0 else None
    if wish is not None and wish.code != "unknown":
        judge.wishes.push(at, wish.to, scaling.down_window_s, scaling.up_window_s)
    if _stands(state, settings, wish):
        return None
    covered = zero = None
    if wish is not None and wish.to < state.asking and not judge.metrics:
        # Policies that look at no metric, such as `cron` alone: nothing is unknown, and no sample is to be waited for.
        sampled, covered = True, judge.judged_since
        zero = idle_since(settings.route, judge.signals, covered)
    elif wish is not None and wish.to < state.asking:
        covered, zero = judge.signals.coverage(judge.metrics, at, scaling.max_age_s)
        # Samples read again after a take-over cover a time whose wishes nobody remembers.
        covered = None if covered is None else max(covered, judge.judged_since)
        if zero is None and covered is not None and scaling.idle_s == 0:
            zero = at  # with no idle time to wait for, what counts as no load is the policies' word
        zero = idle_since(settings.route, judge.signals, zero)
    return Evaluate(
        at=at,
        sampled=sampled,
        votes=votes,
        wishes_max=wishes_max,
        wishes_min=wishes_min,
        covered_since=covered,
        zero_since=zero,
        soak_unknown=soak_unknown(judge, at, scaling.max_age_s),
    )


def _stands(state: ServiceState, settings: ServiceSettings, wish: Wish | None) -> bool:
    if not isinstance(state.rollout, Idle) or state.pending is not None or state.override is not None:
        return False
    if wish is None:
        return True
    last = state.conclusion
    return (
        last is not None
        and not last.clamps
        and wish.to == state.demand == state.asking == last.to
        and (wish.code, wish.winner) == (last.code, last.winner)
        and settings.bounds.min <= wish.to <= settings.bounds.max
        and not settings.guards.plugins
    )


def _remember_names(judge: Judge, votes: tuple[PolicyVote, ...]) -> None:
    """Which signals scaling stands on, and which ones vote on revisions; both only ever grow by what was looked at."""
    for vote in votes:
        if vote.rollback:
            if not judge.vetting.issuperset(vote.metrics):
                seen = {name for name in vote.metrics if judge.signals.series(name) is not None}
                judge.vetting |= seen
        elif not vote.floor and vote.metrics is not judge.metrics and not set(vote.metrics) <= set(judge.metrics):
            judge.metrics = tuple(dict.fromkeys((*judge.metrics, *vote.metrics)))


def soak_unknown(judge: Judge, at: float, max_age_s: float) -> tuple[str, ...]:
    """Signals of rollback policies that were seen since the service began and are unknown now."""
    unknown = []
    for name in judge.vetting:
        series = judge.signals.series(name)
        if series is None or at - series.at > judge.signals.max_age_of(name, max_age_s):
            unknown.append(name)
    return tuple(sorted(unknown))


def readings_of(judge: Judge, votes: tuple[PolicyVote, ...], at: float) -> tuple[SignalReading, ...]:
    """The inputs of a decision that is worth a record: every signal that a policy looked at, with its age."""
    names = dict.fromkeys(name for vote in votes for name in vote.metrics)
    return judge.signals.readings(at, names)
