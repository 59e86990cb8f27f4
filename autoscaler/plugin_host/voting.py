"""Asking a policy or guard that runs in this process: the hot path of evaluation.

No pluggy machinery, no lookups: a `Binding` holds the function, its arguments and its options. An in-process call
cannot be interrupted; one of a trusted plugin that comes back late is *unknown* all the same.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from autoscaler.core.proposals import Hold, Proposal, Rollback, Scale, Veto
from autoscaler.core.signals import SignalsView
from autoscaler.core.stimuli import GuardNote, PolicyVote
from autoscaler.plugin_host.answers import (
    describe_error,
    is_plain_scale,
    judge_guard,
    judge_proposal,
    unknown_signals,
)
from autoscaler.plugin_host.binding import Binding
from autoscaler.plugin_host.evaluation import EvaluationRequest
from autoscaler.plugin_host.memories import copied, judged

DEADLINE_S = 0.25


def unknown_vote(binding: Binding, why: str, metrics: tuple[str, ...] = ()) -> PolicyVote:
    """The vote of a policy that has no usable answer."""
    return PolicyVote(binding.label, None, why or "unknown", metrics, binding.rollback)


def skip_reason(binding: Binding, now: float) -> str:
    """Why a binding is not called at ``now``; "" where it is. Counts the skip."""
    if binding.problem:
        return binding.problem
    standing = binding.standing
    if standing.quarantined_until > now:
        standing.skipped += 1
        left_s = standing.quarantined_until - now
        return f"quarantined for {left_s:.0f} s more after {standing.failures_in_a_row} failures: {standing.last_error}"
    return ""


def ask_policy(binding: Binding, request: EvaluationRequest) -> PolicyVote:
    """One policy's vote; never raises what the plugin raised."""
    if binding.problem or binding.standing.quarantined_until > request.now:
        return unknown_vote(binding, skip_reason(binding, request.now))
    now = request.now
    view = SignalsView(request.signals, now, request.max_age_s)
    memory = copied(request.memory.get(binding.label)) if binding.remembers else None
    standing = binding.standing
    started = perf_counter()
    try:
        answer = binding.call((request.facts, view, now, binding.options, memory))
    except KeyboardInterrupt:  # the operator's, not the plugin's
        raise
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, SystemExit included
        standing.took(perf_counter() - started)
        standing.failed(now, describe_error(error))
        return unknown_vote(binding, f"raised {standing.last_error}", tuple(view.looked_at))
    seconds = perf_counter() - started
    standing.calls += 1
    standing.seconds += seconds
    if seconds > standing.seconds_max:  # noqa: PLR1730 - max() costs a call on the hot path
        standing.seconds_max = seconds
    if seconds > DEADLINE_S and not binding.shipped:
        standing.failed(now, f"took {seconds:.2f} s, over {DEADLINE_S:g}", late=True)
        return unknown_vote(binding, standing.last_error, tuple(view.looked_at))
    if binding.scales and not view.ruled and is_plain_scale(answer):  # the usual answer, judged with few calls
        kept, problem = (None, "") if memory is None else judged(memory, request.memory.get(binding.label))
        if not problem:
            if kept is not None:
                request.memory[binding.label] = kept
            if standing.failures_in_a_row:
                standing.succeeded()
            return PolicyVote(binding.label, answer, "", tuple(view.looked_at), binding.rollback)
    return conclude_vote(binding, request, answer, view, memory)


def conclude_vote(
    binding: Binding,
    request: EvaluationRequest,
    answer: object,
    view: SignalsView,
    memory: dict[str, Any] | None,
) -> PolicyVote:
    """Judge an answer that came in time, keep the memory, and make the vote."""
    metrics = tuple(view.looked_at)
    proposal, problem = judge_proposal(answer)
    if not problem and isinstance(proposal, Scale) and not binding.scales:
        problem = "declares PROPOSES without scale, and returned Scale"
    kept: dict[str, Any] | None = None
    if memory is not None and not problem:
        kept, problem = judged(memory, request.memory.get(binding.label))
    if problem:
        binding.standing.failed(request.now, problem)
        return unknown_vote(binding, problem, metrics)
    binding.standing.succeeded()
    stand_in, at_least = view.stand_ins(metrics) if view.ruled else ("", 0)
    if kept is not None and not stand_in:  # nothing is learnt from what stands in for a signal
        request.memory[binding.label] = kept
    unknown = unknown_signals(view, list(metrics), request.max_age_s) if proposal is None else ""
    if isinstance(proposal, Hold) and proposal.unknown:
        unknown = proposal.reason or "no reason given"
    rollback = binding.rollback or isinstance(proposal, Rollback)
    if stand_in and (rollback or not isinstance(proposal, Scale | Hold)):
        # A revision is judged by samples alone.
        proposal, unknown = None, unknown or stand_in
    return PolicyVote(
        binding.label, proposal, unknown, metrics, rollback, stand_in=stand_in, at_least=0 if rollback else at_least
    )


def ask_guard(binding: Binding, request: EvaluationRequest, proposal: Proposal) -> tuple[object, str]:
    """One guard's answer, or None and why there is none; never raises what the plugin raised."""
    standing = binding.standing
    view = SignalsView(request.signals, request.now, request.max_age_s)
    started = perf_counter()
    try:
        answer = binding.call((request.facts, view, proposal, request.now, binding.options))
    except KeyboardInterrupt:  # the operator's, not the plugin's
        raise
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, SystemExit included
        standing.took(perf_counter() - started)
        standing.failed(request.now, describe_error(error))
        return None, f"raised {standing.last_error}"
    seconds = perf_counter() - started
    standing.took(seconds)
    if seconds > DEADLINE_S and not binding.shipped:
        standing.failed(request.now, f"took {seconds:.2f} s, over {DEADLINE_S:g}", late=True)
        return None, standing.last_error
    return answer, ""


def conclude_guard(
    binding: Binding, request: EvaluationRequest, answer: object, why: str, wish: int
) -> GuardNote | None:
    """The note of a guard's answer about ``wish``; None where it lets the wish pass."""
    if why:
        return GuardNote(binding.label, None, why, unknown=True)
    judged, problem = judge_guard(answer)
    if problem or not isinstance(judged, Scale | Veto):
        problem = problem or f"returned {type(judged).__name__} for a Scale"
        binding.standing.failed(request.now, problem)
        return GuardNote(binding.label, None, problem, unknown=True)
    binding.standing.succeeded()
    if isinstance(judged, Veto):
        return GuardNote(binding.label, None, judged.reason)
    return None if judged.to == wish else GuardNote(binding.label, judged.to, judged.reason)
