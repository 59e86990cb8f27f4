"""What authors of plugins test with: builders, a policy on its own, a scenario over virtual time.

    from autoscaler.testing import a_service, propose, signal
    assert propose(my_policy, a_service(demand=2), [signal("queue_length", 950)]).to == 10

Names are looked up when they are used: pytest loads this package for its plugin in every run beside us.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoscaler.testing.builders import NOW, GivenSignal, a_service, signal, unknown
    from autoscaler.testing.policies import propose, vote
    from autoscaler.testing.scenario import Scenario

__all__ = ["NOW", "GivenSignal", "Scenario", "a_service", "propose", "signal", "unknown", "vote"]

_HOMES = {"Scenario": "scenario", "propose": "policies", "vote": "policies"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'builders')}"), name)
