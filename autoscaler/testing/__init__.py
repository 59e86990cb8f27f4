"""What authors of plugins test with: builders, a policy on its own, a scenario over virtual time.

from autoscaler.testing import a_service, propose, signal
assert propose(my_policy, a_service(demand=2), [signal("queue_length", 950)]).to == 10
"""

from __future__ import annotations

from autoscaler.testing.builders import NOW, GivenSignal, a_service, signal, unknown
from autoscaler.testing.policies import propose, vote

__all__ = ["NOW", "GivenSignal", "a_service", "propose", "signal", "unknown", "vote"]
