"""`keda` as a policy: on and off, failures, fallback, and the loop between."""

from __future__ import annotations

from typing import Any

import pytest

import autoscaler
from autoscaler.testing import NOW, a_service, propose, signal, unknown
from autoscaler_plugins import keda

OPTIONS: dict[str, Any] = {"triggers": [{"metric": "queue", "threshold": 10, "activation": 5}]}
FALLBACK = {"failure_threshold": 2, "replicas": 6}


def ask(value: float | None, demand: int, memory: dict[str, Any], at: float = 0.0, **more: Any) -> Any:
    given = unknown("queue") if value is None else signal("queue", value)
    minimum = more.pop("minimum", 0)
    service = a_service(demand=demand, minimum=minimum, maximum=100)
    return propose(keda, service, [given], {**OPTIONS, **more}, now=NOW + at, memory=memory)


def test_it_starts_above_the_activation_and_grows_from_there() -> None:
    memory: dict[str, Any] = {}
    assert ask(5.0, 0, memory).to == 0
    assert [ask(200.0, demand, memory, 15 * demand).to for demand in (0, 1, 4, 8, 16)] == [1, 4, 8, 16, 20]


def test_it_stops_from_any_number_strictly_after_the_cooldown() -> None:
    memory: dict[str, Any] = {}
    ask(50.0, 5, memory)
    waiting = ask(0.0, 5, memory, 290)
    assert (waiting.to, waiting.wake_at) == (5, pytest.approx(NOW + 300.001))
    assert ask(0.0, 5, memory, 300).to == 5
    assert ask(0.0, 5, memory, 300.001).to == 0


def test_it_shrinks_to_the_idle_count() -> None:
    memory: dict[str, Any] = {}
    ask(50.0, 5, memory, idle=1, minimum=3)
    assert ask(0.0, 5, memory, 301, idle=1, minimum=3).to == 1
    assert ask(50.0, 1, memory, 302, idle=1, minimum=3).to == 3


def test_an_error_holds_and_is_counted_once_a_polling() -> None:
    memory: dict[str, Any] = {}
    ask(50.0, 5, memory)
    for at, failures in ((400, 1), (410, 1), (430, 2)):
        held = ask(None, 5, memory, at)
        assert isinstance(held, autoscaler.Hold)
        assert held.wake_at is not None
        assert memory["failed"]["queue"][0] == failures
    assert ask(50.0, 5, memory, 431).to == 5
    assert memory["failed"] == {}


@pytest.mark.parametrize(
    ("behavior", "to"),
    [("static", 6), ("currentReplicas", 5), ("currentReplicasIfHigher", 6), ("currentReplicasIfLower", 5)],
)
def test_after_enough_failures_a_fallback_stands_in(behavior: str, to: int) -> None:
    memory: dict[str, Any] = {}
    fallback = {**FALLBACK, "behavior": behavior}
    answers = [ask(None, 5, memory, at, fallback=fallback) for at in (0, 30, 60)]
    assert [type(answer) for answer in answers] == [autoscaler.Hold, autoscaler.Hold, autoscaler.Scale]
    assert answers[-1].to == to


def test_a_fallback_to_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        keda.Options.model_validate({**OPTIONS, "fallback": {"replicas": 0}})


def test_options_survive_their_own_json() -> None:
    options = keda.Options.model_validate({**OPTIONS, "fallback": FALLBACK, "idle": 1})
    assert keda.Options.model_validate(options.model_dump(mode="json", by_alias=True, exclude_none=True)) == options


def test_behavior_limits_what_lies_between_one_and_the_maximum() -> None:
    behavior = {
        "scale_up": {"policies": [{"type": "Pods", "value": 2, "period": "60s"}], "tolerance": 0},
        "scale_down": {"window": "60s", "policies": [{"type": "Percent", "value": 50, "period": "60s"}]},
    }
    memory: dict[str, Any] = {}
    steps = [(0, 0), (1, 1), (3, 20), (3, 81), (5, 82), (5, 143)]
    found = [ask(200.0, demand, memory, at, behavior=behavior) for demand, at in steps]
    assert [one.to for one in found] == [1, 2, 3, 5, 5, 7]
    assert found[1].reason == "200 queue over 10 = 20; ScaleUpLimit: 2"
    ask(71.0, 7, memory, 200, behavior=behavior)
    assert ask(71.0, 7, memory, 261, behavior=behavior).to == 8
    shrunk = [ask(20.0, demand, memory, at, behavior=behavior).to for demand, at in ((8, 300), (8, 370), (4, 380))]
    assert shrunk == [8, 4, 4]


def test_a_rate_ends_when_its_period_does_and_it_wakes_then() -> None:
    behavior = {"scale_up": {"policies": [{"type": "Pods", "value": 2, "period": "60s"}]}}
    memory: dict[str, Any] = {}
    ask(200.0, 1, memory, 0, behavior=behavior)
    held = ask(200.0, 3, memory, 15, behavior=behavior)
    assert (held.to, held.wake_at) == (3, pytest.approx(NOW + 75.001))


def test_a_minimum_above_the_idle_count_holds_while_a_trigger_is_active() -> None:
    memory: dict[str, Any] = {}
    idle = {"idle": 0, "minimum": 3}
    assert ask(6.0, 0, memory, 0, **idle).to == 3
    assert ask(6.0, 3, memory, 15, **idle).to == 3
    assert [ask(1.0, 3, memory, at, **idle).to for at in (100, 315, 316)] == [3, 3, 0]


def test_an_idle_count_of_more_than_none_stays_while_nothing_is_active() -> None:
    memory: dict[str, Any] = {}
    idle = {"idle": 1, "minimum": 3}
    assert [ask(1.0, 1, memory, at, **idle).to for at in (0, 400)] == [1, 1]
    assert ask(6.0, 1, memory, 415, **idle).to == 3


@pytest.mark.parametrize("wrong", [{"minimum": 3}, {"minimum": 3, "idle": 3}])
def test_a_minimum_without_a_lower_idle_count_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="minimum needs an idle count below it"):
        keda.Options.model_validate({**OPTIONS, **wrong})
