"""`hpa_v2` as a policy: its memory, its failed metrics, its windows."""

from __future__ import annotations

from typing import Any

import pytest

import autoscaler
from autoscaler.testing import NOW, a_service, propose, signal, unknown
from autoscaler_plugins import hpa_v2

RPS = {"metrics": [{"metric": "rps", "target": 10}]}


def ask(value: float, demand: int, memory: dict[str, Any], at: float = 0.0, **options: Any) -> Any:
    service = a_service(demand=demand, minimum=1, maximum=100)
    return propose(hpa_v2, service, [signal("rps", value)], {**RPS, **options}, now=NOW + at, memory=memory)


def test_a_rise_doubles_at_most_and_a_fall_waits_five_minutes() -> None:
    memory: dict[str, Any] = {}
    assert ask(90.0, 2, memory) == autoscaler.Scale(4, "90 rps over 10 a replica = 9; ScaleUpLimit: 4", NOW + 300)
    assert ask(20.0, 9, memory, 60).to == 9
    assert ask(20.0, 9, memory, 299).to == 9
    assert ask(20.0, 9, memory, 301).to == 2


def test_behavior_limits_by_rates_over_what_was_really_changed() -> None:
    behavior = {"scale_up": {"policies": [{"type": "Pods", "value": 3, "period": "60s"}]}}
    memory: dict[str, Any] = {}
    assert ask(200.0, 5, memory, behavior=behavior).to == 8
    assert ask(200.0, 8, memory, 15, behavior=behavior).to == 8
    assert ask(200.0, 8, memory, 76, behavior=behavior).to == 11


def test_behavior_down_window_and_disabled() -> None:
    memory: dict[str, Any] = {}
    short = {"scale_down": {"window": "30s"}}
    ask(90.0, 9, memory, behavior=short)
    held = ask(20.0, 9, memory, 10, behavior=short)
    assert (held.to, held.wake_at) == (9, NOW + 30)
    assert ask(20.0, 9, memory, 31, behavior=short).to == 2
    assert ask(20.0, 9, {}, behavior={"scale_down": {"select": "Disabled"}}).to == 9


@pytest.mark.parametrize(("known", "kind"), [(50.0, autoscaler.Hold), (200.0, autoscaler.Scale)])
def test_a_failed_metric_never_lowers(known: float, kind: type) -> None:
    options = {"metrics": [{"metric": "rps", "target": 10}, {"metric": "other", "target": 1}]}
    service = a_service(demand=10, maximum=100)
    assert isinstance(propose(hpa_v2, service, [signal("rps", known), unknown("other")], options, memory={}), kind)


def test_all_failed_is_unknown_and_out_of_bounds_is_at_once() -> None:
    assert propose(hpa_v2, a_service(demand=3), [unknown("rps")], RPS, memory={}) is None
    assert ask(1.0, 200, {}).to == 100
    assert isinstance(ask(1.0, 0, {}), autoscaler.Hold)


@pytest.mark.parametrize(
    ("value", "demand", "ready", "to"),
    [(0.9, 4, 4, 8), (0.45, 4, 4, 4), (0.9, 6, 4, 8), (0.1, 4, 4, 1)],
)
def test_utilization_counts_what_is_starting_as_unready(value: float, demand: int, ready: int, to: int) -> None:
    options = {
        "metrics": [{"metric": "cpu_cores", "type": "Utilization", "target": 45, "request": 1}],
        "behavior": {"scale_down": {"window": "0s"}},
    }
    service = a_service(demand=demand, ready=ready, maximum=100)
    proposal = propose(hpa_v2, service, [signal("cpu_cores", value)], options, memory={})
    assert isinstance(proposal, autoscaler.Scale)
    assert proposal.to == to


def test_value_multiplies_the_ready_ones() -> None:
    options = {"metrics": [{"metric": "latency", "type": "Value", "target": 10}]}
    proposal = propose(hpa_v2, a_service(demand=3, ready=2, maximum=99), [signal("latency", 25.0)], options, memory={})
    assert isinstance(proposal, autoscaler.Scale)
    assert proposal.to == 5


def test_memory_stays_small_under_many_samples() -> None:
    memory: dict[str, Any] = {}
    for step in range(500):
        ask(50.0 + step % 40, 9, memory, step / 2)
    assert len(memory["recs"]) <= 12


def test_options_survive_their_own_json() -> None:
    options = hpa_v2.Options.model_validate({**RPS, "behavior": {"scale_up": {"tolerance": "5%"}}})
    dumped = options.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert hpa_v2.Options.model_validate(dumped) == options


@pytest.mark.parametrize(
    ("written", "number"),
    [
        (10, 10.0), ("10", 10.0), ("1.5", 1.5), ("500m", 0.5), ("1k", 1e3), ("2M", 2e6), ("1G", 1e9), ("64Ki", 65536.0),
        ("512Mi", 2.0**29), ("1Gi", 2.0**30), (".5", 0.5),
    ],
)  # fmt: skip
def test_targets_are_written_as_kubernetes_writes_amounts(written: str | float, number: float) -> None:
    metric = hpa_v2.Metric.model_validate({"metric": "rps", "target": written, "request": written})
    assert (metric.target, metric.request) == (number, number)


@pytest.mark.parametrize("written", ["many", "-5", "1 k", "1e3", "5mi", "0", "0m", ""])
def test_what_is_no_amount_says_how_to_write_one(written: str) -> None:
    with pytest.raises(ValueError, match=r"not an amount; write it as 100, 1k, 500m or 512Mi|greater than 0"):
        hpa_v2.Metric.model_validate({"metric": "rps", "target": written})


def test_a_rate_counts_from_the_decision_and_not_from_when_its_effect_is_seen() -> None:
    memory: dict[str, Any] = {}
    demands = [1]
    for tick in range(5):
        demands.append(ask(900.0, demands[-1], memory, 15.0 * tick, behavior={}).to)
    assert demands == [1, 5, 10, 20, 40, 80]


def test_what_somebody_else_changed_counts_from_when_it_is_seen() -> None:
    memory: dict[str, Any] = {}
    behavior = {"scale_up": {"policies": [{"type": "Pods", "value": 2, "period": "20s"}]}}
    assert ask(30.0, 3, memory, 0.0, behavior=behavior).to == 3
    assert [ask(900.0, 9, memory, at, behavior=behavior).to for at in (15.0, 30.0, 36.0)] == [9, 9, 11]
