"""A policy on its own: asked as the plugin host asks it, options and answer checked as there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from autoscaler.core.observation import ServiceFacts
from autoscaler.core.proposals import Proposal
from autoscaler.core.settings import PolicyUse
from autoscaler.core.signals import ServiceSignals
from autoscaler.core.stimuli import PolicyVote
from autoscaler.testing.builders import NOW, GivenSignal, signals_of

if TYPE_CHECKING:
    from autoscaler.plugin_host import PluginHost


def vote(
    policy: ModuleType,
    service: ServiceFacts,
    signals: Iterable[GivenSignal] = (),
    options: Mapping[str, Any] | None = None,
    *,
    now: float = NOW,
    max_age: float = 60.0,
    memory: dict[str, Any] | None = None,
) -> PolicyVote:
    """The policy's vote as the core would get it; ``unknown`` says why where it raised, answered nonsense or knew
    nothing.

    A changed memory is written back into ``memory``. Raises AssertionError where the module or the options are wrong.
    """
    host = _host_of(policy)
    return _ask(host, service, signals_of(signals, now, max_age), options or {}, now, max_age, memory)


def propose(
    policy: ModuleType,
    service: ServiceFacts,
    signals: Iterable[GivenSignal] = (),
    options: Mapping[str, Any] | None = None,
    *,
    now: float = NOW,
    max_age: float = 60.0,
    memory: dict[str, Any] | None = None,
) -> Proposal | None:
    """What the policy proposes; None where it has no opinion. Raises AssertionError where it raised or answered
    nonsense."""
    host = _host_of(policy)
    cast = _ask(host, service, signals_of(signals, now, max_age), options or {}, now, max_age, memory)
    assert not host.stats()["policy"].failures, cast.unknown  # noqa: S101 - this is an assertion of a test
    return cast.proposal


def _host_of(policy: ModuleType) -> PluginHost:
    from autoscaler.plugin_host import PluginHost  # noqa: PLC0415 - heavy: see the package

    return PluginHost.of_modules(policy=policy)


def _ask(
    host: PluginHost,
    service: ServiceFacts,
    signals: ServiceSignals,
    options: Mapping[str, Any],
    now: float,
    max_age: float,
    memory: dict[str, Any] | None,
) -> PolicyVote:
    from autoscaler.plugin_host import EvaluationRequest  # noqa: PLC0415 - heavy: see the package

    _, problems = host.validate_options("policy", options)
    assert not problems, "\n".join(str(problem) for problem in problems)  # noqa: S101 - this is an assertion of a test
    kept = {"policy": memory} if memory is not None else {}
    request = EvaluationRequest(service, (PolicyUse("policy", options),), signals, now, max_age, kept)
    (cast,) = host.votes(request)
    if memory is not None and kept["policy"] is not memory:
        memory.clear()
        memory.update(kept["policy"])
    return cast
