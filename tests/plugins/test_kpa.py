"""`kpa` as a policy: its windows, panic, and zero."""

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


def lived(loads: list[float], ready: int = 1, **more: Any) -> tuple[Any, dict[str, Any]]:
    """A sample each second; the last proposal, and what is remembered."""
    memory: dict[str, Any] = {"panic": [None, 0], "wishes": []}
    proposal = None
    for second, load in enumerate(loads):
        proposal = ask([load], ready, memory, float(second), **more)
    return proposal, memory


@pytest.mark.parametrize(
    ("loads", "said"),
    [
        pytest.param([10.0] * 60, "10 rps calm, 10 hasty", id="even"),
        pytest.param([10.0] * 58 + [70.0], "11.0169 rps calm, 20 hasty", id="one of six seconds"),
        pytest.param([10.0] * 100 + [70.0] * 6, "16 rps calm, 70 hasty", id="six of sixty"),
        pytest.param([500.0] + [10.0] * 60, "10 rps calm, 10 hasty", id="what is as old as the window is out"),
    ],
)
def test_windows_are_exact_to_the_second(loads: list[float], said: str) -> None:
    proposal, memory = lived(loads, panic_threshold=1000)
    assert proposal.reason.startswith(said)
    assert len(memory["seconds"]) <= 3 * 60


def test_samples_of_the_same_second_are_one_and_the_same_sample_is_none() -> None:
    memory: dict[str, Any] = {"panic": [None, 0], "wishes": []}
    for load, at in ((10.0, 0.0), (30.0, 0.5), (30.0, 0.5), (50.0, 1.0)):
        proposal = ask([load], 1, memory, at, panic_threshold=1000)
    assert proposal.reason.startswith("35 rps calm")


def test_calm_it_follows_the_long_mean() -> None:
    assert lived([0.0] * 30 + [40.0] * 30, panic_threshold=1000)[0].to == 2


def test_a_burst_panics_and_does_not_shrink_for_a_window() -> None:
    memory: dict[str, Any] = {}
    ask([10.0], 1, memory, -10)
    first = ask([100.0], 1, memory)
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
