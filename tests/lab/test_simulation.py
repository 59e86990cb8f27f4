"""The model: traces, replicas and what the metric shows; and the figures of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoscaler.errors import ConfigurationError
from autoscaler.lab import metrics
from autoscaler.lab.setting import Setting
from autoscaler.lab.simulation import run_policy, seen_at
from autoscaler.lab.traces import Load, Trace, generated, load_of, read_trace, traces_in


def a_load(*levels: float, each_s: int = 600, capacity: float = 50.0, minimum: int = 1) -> Load:
    return Load("made", np.repeat(np.array(levels, float), each_s), capacity, minimum)


def test_the_99th_percentile_needs_twenty_replicas() -> None:
    load = load_of(Trace("t", 60.0, np.linspace(0, 7, 300)), 50.0)
    assert np.percentile(load.per_second, 99) == pytest.approx(1000.0)
    assert load.minimum == 1
    assert load.demand.min() == 1


def test_long_steps_are_lines_and_short_ones_steps() -> None:
    lines = load_of(Trace("t", 60.0, np.array([0.0, 60.0, 60.0])), 1.0).per_second
    steps = load_of(Trace("t", 5.0, np.array([0.0, 60.0, 60.0])), 1.0).per_second
    assert lines[30] == pytest.approx(lines[60] / 2)
    assert steps[:7].tolist() == [0.0] * 5 + [20.0] * 2


def test_noise_is_that_of_its_seed() -> None:
    trace = generated()[0]
    one, same, other = (load_of(trace, 50.0, until_s=7200, seed=seed).per_second for seed in (3, 3, 4))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_the_metric_is_a_late_mean() -> None:
    load = Load("made", np.arange(100.0), 1.0, 1)
    seen = seen_at(load, Setting(lag=15, window=10), np.array([0, 15, 40, 99]))
    assert seen.tolist() == [0.0, 0.0, np.arange(15, 25).mean(), np.arange(74, 84).mean()]


def test_a_replica_is_paid_from_its_order_and_serves_after_its_start() -> None:
    run = run_policy("target_value", a_load(35.0, 350.0), Setting(startup=30, lag=0, window=1, period=15))
    (decision,) = run.decisions
    assert (decision.at, decision.before, decision.after) == (615.0, 1, 10)
    assert decision.reason == "350 requests_per_second over 35 a replica = 10"
    assert np.flatnonzero(np.diff(run.paid)).tolist() == [614]
    assert np.flatnonzero(np.diff(run.ready)).tolist() == [644]
    assert run.ready[-1] == run.paid[-1] == 10


def test_what_is_on_its_way_goes_first_when_less_is_wanted() -> None:
    load = Load("made", np.concatenate((np.full(20, 35.0), np.full(10, 350.0), np.full(90, 35.0))), 50.0, 1)
    run = run_policy(
        "hpa_v2", load, Setting(startup=60, lag=0, window=1, period=10), {"behavior": {"scale_down": {"window": "0s"}}}
    )
    assert [(d.at, d.after) for d in run.decisions] == [(30.0, 5), (40.0, 1)]
    assert run.ready.max() == 1
    assert run.paid.max() == 5


def test_a_policy_of_elsewhere_runs_with_its_own_windows_alone() -> None:
    load = a_load(350.0, 35.0)
    settings = Setting(lag=0, window=1)
    falls = {name: run_policy(name, load, settings).decisions[-1].at for name in ("hpa_v2", "target_value", "kpa")}
    assert falls["hpa_v2"] == pytest.approx(900.0, abs=30)
    assert falls["target_value"] == pytest.approx(900.0, abs=30)
    assert falls["kpa"] < 700


def test_figures_of_a_perfect_supply() -> None:
    load = a_load(100.0, 200.0)
    assert metrics.oracle_seconds(load.demand, 30.0) == 600 * 2 + 600 * 4 + 2 * 30.0
    figures = metrics.elasticity(load.demand, load.demand)
    assert {figures[name] for name in ("theta_u", "theta_o", "tau_u", "tau_o", "upsilon")} == {0.0}


def test_the_oracle_keeps_a_valley_that_is_shorter_than_a_start() -> None:
    assert metrics.oracle_seconds([1, 2, 1, 2, 1], 10.0) == 7 + 10 + 1
    assert metrics.oracle_seconds([1, 2, *[1] * 30, 2, 1], 10.0) == 36 + 10 + 10
    assert metrics.oracle_seconds([], 10.0) == 0


def test_generated_traces_are_the_same_each_time() -> None:
    for one, other in zip(generated(), generated(), strict=True):
        assert np.array_equal(one.values, other.values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("t_seconds,value\n0,1\n60,x\n", "neither a time nor a value", id="no number"),
        pytest.param("0,1\n60,2\n130,3\n", "before t_seconds 130 is not 60", id="uneven steps"),
        pytest.param("0,1\n60,-2\n", "a load is a number from 0 on", id="negative"),
        pytest.param("0,1\n60,nan\n", "a load is a number from 0 on", id="not a number"),
        pytest.param("t_seconds,value\n", "fewer than two values", id="empty"),
    ],
)
def test_a_trace_that_cannot_be_read_says_why(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        read_trace(file)


def test_a_header_names_a_trace_and_allows_zero(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("# name: shop\n# min_replicas: 0\nt_seconds,value\n0,1\n60,2\n")
    (trace,) = traces_in(tmp_path)
    assert (trace.name, trace.step_s, trace.zero, trace.values.tolist()) == ("shop", 60.0, True, [1.0, 2.0])
    with pytest.raises(ConfigurationError, match="no CSV file"):
        traces_in(tmp_path / "none")


def test_what_is_paid_where_nothing_was_needed_is_more_than_the_oracle_pays() -> None:
    load = Load("nothing", np.zeros(7200), 50.0, 0)
    figures = run_policy("kpa", load, Setting()).figures()
    assert 0 < figures["cost_hours"] < 1
    assert figures["cost"] == pytest.approx(1 + figures["cost_hours"])
    assert run_policy("hpa_v2", load, Setting()).figures()["cost"] == 1.0
