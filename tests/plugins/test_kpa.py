"""`kpa` as a policy: windows of the signal, panic, and zero."""

from __future__ import annotations

from typing import Any

import pytest

import autoscaler
from autoscaler.testing import NOW, a_service, propose, signal, unknown
from autoscaler_plugins import kpa

OPTIONS = {"metric": "rps", "target": 10, "utilization": 100}


def ask(values: list[float], demand: int, memory: dict[str, Any], at: float = 0.0, **more: Any) -> Any:
    service = a_service(demand=demand, maximum=1000)
    given = [signal("rps", *values, every=2)]
    return propose(kpa, service, given, {**OPTIONS, **more}, now=NOW + at, memory=memory)


def test_calm_it_follows_the_long_mean() -> None:
    assert ask([20.0] * 30, 1, {"panic": [None, 0], "wishes": []}, panic_threshold=1000).to == 2


def test_a_burst_panics_and_does_not_shrink_for_a_window() -> None:
    memory: dict[str, Any] = {}
    first = ask([10.0] * 26 + [100.0] * 6, 1, memory)
    assert first.to == 10
    assert first.wake_at == pytest.approx(NOW + 60.001)
    assert ask([10.0] * 30, 10, memory, 30).to == 10
    assert ask([10.0] * 30, 10, memory, 61).to == 5
    assert memory["panic"] == [None, 0]


def test_at_first_sight_several_replicas_stay_for_a_window() -> None:
    memory: dict[str, Any] = {}
    assert ask([10.0] * 30, 8, memory).to == 8
    assert ask([10.0] * 30, 8, memory, 61).to == 4


def test_to_zero_only_after_the_window_and_the_grace() -> None:
    memory: dict[str, Any] = {}
    assert ask([1.0] * 40, 1, memory).to == 1
    idle = ask([0.0] * 40, 1, memory, 70)
    assert (idle.to, idle.wake_at) == (1, NOW + 100)
    assert ask([0.0] * 40, 1, memory, 99).to == 1
    assert ask([0.0] * 40, 1, memory, 100).to == 0
    assert ask([0.0] * 40, 0, memory, 110).to == 0
    assert ask([0.0] * 39 + [1.0], 0, memory, 120).to == 1


def test_where_it_may_not_stop_one_stays() -> None:
    memory: dict[str, Any] = {}
    assert [ask([0.0] * 40, 1, memory, at, zero=False).to for at in (0, 70, 200)] == [1, 1, 1]


def test_an_unknown_load_is_no_opinion() -> None:
    assert propose(kpa, a_service(demand=3), [unknown("rps")], OPTIONS, memory={}) is None


def test_options_survive_their_own_json() -> None:
    options = kpa.Options.model_validate({**OPTIONS, "scale_down_delay": "5m"})
    assert kpa.Options.model_validate(options.model_dump(mode="json", by_alias=True, exclude_none=True)) == options


def test_the_reason_says_both_readings() -> None:
    proposal = ask([20.0] * 31, 2, {"panic": [None, 0], "wishes": []}, burst=0)
    assert proposal == autoscaler.Scale(2, "20 rps calm, 20 hasty, target 10, spare 0: 2")
