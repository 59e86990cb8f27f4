"""Asking `score_host` plugins about the hosts of one service. Used by `PluginHost` only.

A silent plugin, a failing or late one, and one that answers with what is no number from 0 to 1 has no score for that
host; the last three are counted as its failures.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from time import perf_counter

from autoscaler.core.observation import ServiceFacts
from autoscaler.core.revision import RevisionSpec
from autoscaler.core.settings import PolicyUse
from autoscaler.core.world import HostView
from autoscaler.plugin_host.answers import describe_error
from autoscaler.plugin_host.binding import Binding, elsewhere
from autoscaler.plugin_host.foreign import ForeignPlugins
from autoscaler.plugin_host.voting import DEADLINE_S, skip_reason

MICRO = 1_000_000
Scores = dict[str, dict[str, int]]
"""Label of the plugin's use -> host -> millionths."""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One service and revision, the hosts to be scored, and the plugins to ask."""

    facts: ServiceFacts
    spec: RevisionSpec
    hosts: Sequence[HostView]
    uses: tuple[PolicyUse, ...]
    now: float


def judge_score(answer: object) -> tuple[int | None, str]:
    """The score in millionths, None for no opinion; and "" or what is wrong with the answer."""
    if answer is None:
        return None, ""
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        return None, f"returned {type(answer).__name__} for a score"
    if not isfinite(answer) or not 0 <= answer <= 1:
        return None, "returned a score that is not from 0 to 1"
    return int(answer * MICRO + 0.5), ""


def ask_here(binding: Binding, request: ScoreRequest, host: HostView) -> tuple[object, str]:
    """One answer of a plugin of this process, and "" or why there is none."""
    started = perf_counter()
    try:
        answer = binding.call((request.facts, request.spec, host, binding.options))
    except KeyboardInterrupt:  # the operator's, not the plugin's
        raise
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, SystemExit included
        binding.standing.took(perf_counter() - started)
        return None, f"raised {describe_error(error)}"
    seconds = perf_counter() - started
    binding.standing.took(seconds)
    late = seconds > DEADLINE_S and not binding.shipped
    return (None, f"took {seconds:.2f} s, over {DEADLINE_S:g}") if late else (answer, "")


def context_of(request: ScoreRequest, host: HostView) -> bytes:
    """What a foreign plugin is told of one host; its list of images stays here."""
    plain = replace(host, labels=dict(host.labels), images={})
    return pickle.dumps({"service": request.facts, "revision": request.spec, "host": plain})


async def host_scores(bindings: Sequence[Binding], request: ScoreRequest, foreign: ForeignPlugins) -> Scores:
    """What the plugins say of the hosts; one that has nothing to say of a host has no entry for it."""
    scores: Scores = {}
    for binding in bindings:
        found = scores[binding.label] = {}
        if skip_reason(binding, request.now):
            continue
        inside = binding.call is not elsewhere
        if inside:
            answers = [ask_here(binding, request, host) for host in request.hosts]
        else:
            asks = [(binding, context_of(request, host)) for host in request.hosts]
            answers = await foreign.scores(asks, request.now)
        for host, (answer, why) in zip(request.hosts, answers, strict=True):
            score, problem = (None, why if inside else "") if why else judge_score(answer)
            if problem:  # what went wrong in the worker was counted when it came
                binding.standing.failed(request.now, problem)
            if score is not None:
                found[host.name] = score
    return scores
