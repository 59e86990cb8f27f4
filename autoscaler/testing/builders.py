"""Builders: the facts that a plugin is given, with defaults for all that a test does not care about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autoscaler.core.observation import ServiceFacts
from autoscaler.core.signals import ServiceSignals

NOW = 1_763_900_000.0
"""The moment of a test that names none, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class GivenSignal:
    """Samples of one metric: (seconds before the moment, value), oldest first; none: never seen."""

    name: str
    samples: tuple[tuple[float, float], ...] = ()
    revision: int | None = None
    source: str = "/test"


def signal(name: str, *values: float, every: float = 1.0, age: float = 0.0, revision: int | None = None) -> GivenSignal:
    """Samples of ``values``, oldest first, ``every`` seconds apart, the newest ``age`` seconds old."""
    newest = len(values) - 1
    return GivenSignal(name, tuple((age + (newest - i) * every, value) for i, value in enumerate(values)), revision)


def unknown(name: str) -> GivenSignal:
    """A metric that was never seen."""
    return GivenSignal(name)


def a_service(  # noqa: PLR0913 - one name for each fact
    name: str = "web",
    *,
    demand: int = 1,
    minimum: int = 0,
    maximum: int = 10,
    ready: int | None = None,
    revision: int = 1,
    base: int | None = None,
    phase: str = "idle",
    phase_since: float | None = None,
    phase_until: float | None = None,
) -> ServiceFacts:
    """The facts of a service; all its replicas are ready unless ``ready`` says otherwise."""
    available = demand if ready is None else ready
    return ServiceFacts(
        name,
        demand,
        minimum,
        maximum,
        available,
        max(0, demand - available),
        revision,
        base,
        phase,
        phase_since,
        phase_until,
    )


def signals_of(given: Iterable[GivenSignal], now: float, max_age_s: float) -> ServiceSignals:
    """The signals of a service that got the samples, in the order of their times."""
    signals = ServiceSignals(max_age_s)
    samples = [
        (now - before_s, one.name, value, one.source, one.revision) for one in given for before_s, value in one.samples
    ]
    for at, name, value, source, revision in sorted(samples, key=lambda sample: sample[0]):
        signals.fold(name, at, value, source, revision)
    return signals
