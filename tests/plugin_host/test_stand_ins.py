"""What stands in for an unknown signal reaches policies in the worker process as it does those in this one."""

from __future__ import annotations

import pytest

from autoscaler.core.proposals import Scale
from autoscaler.core.settings import PolicyUse, SignalRule
from autoscaler.core.signals import ServiceSignals
from autoscaler.plugin_host import EvaluationRequest
from autoscaler.testing import NOW, a_service
from tests.plugin_host.conftest import Loader

SOURCE = """
import autoscaler

@autoscaler.hookimpl
def propose(signals, memory):
    memory["seen"] = signals["load"].latest
    return autoscaler.Scale(round(signals["load"].latest)) if signals["load"].known else None
"""


def a_request(rule: SignalRule) -> EvaluationRequest:
    """A service whose only sample is older than the rule allows."""
    signals = ServiceSignals(60.0, rules={"load": rule})
    signals.fold("load", NOW - 90, 8.0, "/test")
    return EvaluationRequest(a_service(demand=2), (PolicyUse("foreign"),), signals, NOW)


@pytest.mark.parametrize("trusted", [True, False], ids=["here", "in the worker"])
async def test_stand_ins_are_the_same_in_the_worker_and_here(load: Loader, *, trusted: bool) -> None:
    host = load(trusted=trusted, foreign=SOURCE)
    rules = [
        SignalRule(30.0, "value", 5),
        SignalRule(30.0, "decay", 60.0),
        SignalRule(30.0, "floor", 7),
        SignalRule(30.0),
    ]
    requests = [a_request(rule) for rule in rules]
    value, decay, floor, hold = [vote for (vote,) in await host.foreign_votes(requests)]
    assert value.proposal == Scale(5)
    assert value.stand_in == "load unknown for 60 s, taken as 5"
    assert decay.proposal == Scale(4)
    assert decay.stand_in == "load unknown for 60 s, taken as 4"
    assert (floor.proposal, floor.at_least) == (None, 7)
    assert floor.unknown == hold.unknown == "load unknown: newest sample 90 s old, over 30"
    assert (hold.stand_in, hold.at_least) == ("", 0)
    assert "foreign" not in requests[0].memory
