"""What authors of plugins test with: builders, a policy on its own, a scenario over virtual time.

    from autoscaler.testing import a_service, propose, signal
    assert propose(my_policy, a_service(demand=2), [signal("queue_length", 950)]).to == 10

Every pytest run beside us loads this package for its plugin, so what is heavy is imported where it is used.
"""

from __future__ import annotations

from autoscaler.testing.builders import NOW, GivenSignal, a_service, signal, unknown
from autoscaler.testing.policies import propose, vote
from autoscaler.testing.scenario import Scenario

__all__ = [  # noqa: RUF022 - plain order, which a test holds
    "GivenSignal",
    "NOW",
    "Scenario",
    "a_service",
    "propose",
    "signal",
    "unknown",
    "vote",
]
