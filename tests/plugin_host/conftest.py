"""Plugins written to files and loaded as an operator would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from autoscaler.core.observation import ServiceFacts
from autoscaler.core.settings import PolicyUse
from autoscaler.core.signals import ServiceSignals
from autoscaler.plugin_host import EvaluationRequest, PluginHost
from autoscaler.testing import NOW, a_service
from tests.plugin_host import bad

Loader = Callable[..., PluginHost]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Loader]:
    """Loads modules given as name=source; ``trusted=True`` into this process."""
    hosts = []

    def load_sources(*, trusted: bool = False, environ: dict[str, str] | None = None, **sources: str) -> PluginHost:
        for name, text in sources.items():
            (tmp_path / f"{name}.py").write_text(text)
        names = tuple(f"./{name}.py" for name in sources)
        trust = frozenset(sources) if trusted else frozenset()
        hosts.append(PluginHost.load(names, tmp_path, trusted=trust, environ=environ))
        return hosts[-1]

    yield load_sources
    for host in hosts:
        host.kill()


@pytest.fixture
def load_bad(load: Loader) -> Loader:
    """Loads the named modules of `bad.BODIES`."""

    def load_named(*names: str, **how: Any) -> PluginHost:
        return load(**how, **{name: bad.source(bad.BODIES[name]) for name in names})

    return load_named


def a_request(*uses: str, now: float = NOW, facts: ServiceFacts | None = None, load: float = 5.0) -> EvaluationRequest:
    """A service with one known signal, ``load``, that uses the policies."""
    signals = ServiceSignals()
    signals.fold("load", now - 1, load, "/test")
    policies = tuple(PolicyUse(use) for use in uses)
    return EvaluationRequest(facts or a_service(demand=2), policies, signals, now)
