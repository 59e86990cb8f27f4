"""The pytest plugin of authors: fixtures named ``autoscaler_*``. Every pytest run beside us loads it, so it imports
late."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture
def autoscaler_propose() -> Callable[..., Any]:
    """`autoscaler.testing.propose`: a policy on its own."""
    from autoscaler.testing import propose  # noqa: PLC0415 - see above

    return propose


@pytest.fixture
def autoscaler_scenario() -> Callable[..., Any]:
    """`autoscaler.testing.Scenario`: events in, decisions out, on virtual time."""
    from autoscaler.testing import Scenario  # noqa: PLC0415 - see above

    return Scenario


@pytest.fixture
def autoscaler_plugins() -> Iterator[Callable[..., Any]]:
    """Loads plugins as the product does (``autoscaler_plugins("./mine.py", base=...)``) and ends their worker
    afterwards."""
    from autoscaler.plugin_host import PluginHost  # noqa: PLC0415 - see above

    hosts: list[PluginHost] = []

    def load(*plugins: str, **named: Any) -> PluginHost:
        hosts.append(PluginHost.load(plugins, **named))
        return hosts[-1]

    yield load
    for host in hosts:
        host.kill()
