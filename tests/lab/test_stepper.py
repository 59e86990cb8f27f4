"""The stepper: a policy in a service with defaults, driven from outside on virtual time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoscaler import lab
from autoscaler.core.settings import Scaling
from autoscaler.errors import ConfigurationError

MINE = """
import math

import autoscaler


@autoscaler.hookimpl
def propose(service, signals):
    queue = signals["queue_length"]
    if queue.known:
        return autoscaler.Scale(to=math.ceil(queue.latest / 100), reason=f"{queue.latest:.0f} waiting, 100 a replica")
"""


@pytest.mark.parametrize(
    ("policy", "wish"),
    [
        ("target_value", 12), ("hpa_v2", 12), ("keda", 12), ("kpa", 12), ("nomad_target_value", 12),
        ("quantile_headroom", 12),
    ],
)  # fmt: skip
def test_each_policy_that_looks_at_a_load_stands_in_the_setting_by_itself(policy: str, wish: int) -> None:
    drive = lab.stepper(policy, capacity=50, target=0.7)
    assert drive.step(0.0, 420.0, 6, 0) == wish, drive.reason


def test_what_was_wanted_is_remembered_though_it_is_not_there_yet() -> None:
    drive = lab.stepper("target_value", capacity=50, target=0.5)
    assert drive.step(0.0, 500.0, 1, 0) == 20
    assert drive.step(15.0, 500.0, 1, 19) == 20
    assert drive.record is not None
    assert drive.record.reason.text == "500 requests_per_second over 25 a replica = 20"


def test_a_fall_waits_for_the_window_of_a_service_with_defaults() -> None:
    drive = lab.stepper("target_value", capacity=50, target=1.0)
    assert drive.step(0.0, 500.0, 10, 0) == 10
    demands = [drive.step(15.0 * tick, 100.0, 10, 0) for tick in range(1, 25)]
    assert demands[:20] == [10] * 20
    assert demands[20:] == [2] * 4


@pytest.mark.parametrize(
    ("policy", "shrinks_at"),
    [
        pytest.param("hpa_v2", 315, id="the highest of its own five minutes, both ends included"),
        pytest.param("keda", 315, id="as HPA between one and many"),
        pytest.param("kpa", 75, id="when what it takes for panic at the start is over"),
        pytest.param("nomad_target_value", 15, id="at once, where nothing has changed before"),
    ],
)
def test_a_policy_that_counts_as_another_product_shrinks_as_early_as_that_one_does(
    policy: str, shrinks_at: int
) -> None:
    drive = lab.stepper(policy, capacity=50, target=1.0, minimum=1, startup=0)
    drive.step(0.0, 500.0, 10, 0)
    demands = {t: drive.step(float(t), 100.0, 10, 0) for t in range(15, 900, 15)}
    assert next(t for t, demand in demands.items() if demand < 10) == shrinks_at


def test_keda_stops_below_its_activation_though_there_is_load() -> None:
    drive = lab.stepper("keda", {"triggers": [{"metric": "requests_per_second", "threshold": 50, "activation": 20}]})
    assert drive.step(0.0, 100.0, 2, 0) == 2
    assert next(t for t in range(15, 900, 15) if drive.step(float(t), 15.0, 2, 0) == 0) == 315


def test_a_policy_with_an_idle_time_does_not_stop_before_known_zeros() -> None:
    scaling = Scaling(down_window_s=0.0, idle_s=60.0)
    drive = lab.Stepper("step", {"metric": "rps", "bands": [{"below": 10, "to": 0}]}, lab.Setting(), scaling)
    assert [drive.step(15.0 * tick, 5.0, 2, 0) for tick in range(20)][-1] == 1
    demands = [drive.step(300.0 + 15 * tick, 0.0, 1, 0) for tick in range(6)]
    assert demands == [1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("minimum", [0, 2])
def test_cron_alone_shrinks_after_its_window_though_it_looks_at_no_metric(minimum: int) -> None:
    windows = [{"start": "0 8 * * *", "end": "0 18 * * *", "replicas": 6}]
    drive = lab.stepper("cron", {"windows": windows}, minimum=minimum)
    begin, end = 17.5 * 3600, 18 * 3600
    demands = {t: drive.step(t, math.nan, 6, 0) for t in range(int(begin), end + 900, 15)}
    assert {demand for t, demand in demands.items() if t < end + 300} == {6}
    assert demands[end + 315] == minimum


def test_keda_stops_after_its_own_cooldown() -> None:
    drive = lab.stepper("keda", capacity=50, target=1.0)
    assert drive.step(0.0, 100.0, 2, 0) == 2
    assert next(t for t in range(15, 900, 15) if drive.step(float(t), 0.0, 2, 0) == 0) == 315


@pytest.mark.parametrize("policy", ["quantile_headroom", "hpa_v2", "keda", "kpa", "nomad_target_value", "target_value"])
def test_any_kind_of_numbers_will_do(policy: str) -> None:
    plain = lab.stepper(policy, capacity=50, startup=30, period=15, lag=15, window=15, target=1, maximum=40)
    arrays = lab.stepper(
        policy, capacity=np.float32(50), startup=np.int64(30), period=np.float64(15), lag=15.0, window=15.0, target=1.0,
        maximum=np.int32(40),
    )  # fmt: skip
    loads = np.linspace(100, 900, 60, dtype=np.float32)
    one = [plain.step(15 * i, float(load), 4, 1) for i, load in enumerate(loads)]
    other = [arrays.step(np.int64(15 * i), load, np.int64(4), np.int32(1)) for i, load in enumerate(loads)]
    assert one == other
    assert all(type(demand) is int for demand in other)
    assert "unknown" not in arrays.reason


@pytest.mark.parametrize(("period", "call"), [(15, 1), (15, 5), (2, 2), (30, 30), (60, 60)])
def test_it_may_be_asked_more_often_than_its_period_and_rarely(period: int, call: int) -> None:
    drive = lab.stepper("quantile_headroom", capacity=50, startup=30, period=period, lag=2, window=2, maximum=40)
    demand = 10
    for t in range(0, 7200, call):
        load = math.nan if 3000 < t < 3100 else 300 + 200 * math.sin(t / 900)
        demand = drive.step(t, load, demand, 0)
        if t >= 1800 and not math.isnan(load):
            assert load / 50 <= demand + 1 <= 1 + 500 / 35 + 3, (t, drive.reason)


def test_unknown_never_scales_down_and_a_known_load_goes_on() -> None:
    drive = lab.stepper("target_value", capacity=50, target=1.0)
    for tick in range(25):
        drive.step(15.0 * tick, 500.0, 10, 0)
    assert [drive.step(375.0 + 15 * tick, math.nan, 10, 0) for tick in range(60)] == [10] * 60
    assert drive.reason.endswith("unknown") or "unknown" in drive.reason
    assert drive.step(1500.0, 900.0, 10, 0) == 18


@pytest.mark.parametrize("load", [None, math.nan, math.inf, -math.inf, -3.0, np.float32("nan")])
def test_what_is_no_load_is_an_unknown_one(load: float | None) -> None:
    drive = lab.stepper("hpa_v2", capacity=50, target=1.0)
    assert drive.step(0.0, 500.0, 10, 0) == 10
    assert [drive.step(15.0 * tick, load, 10, 0) for tick in range(1, 60)] == [10] * 59
    assert "unknown" in drive.reason


@pytest.mark.parametrize("policy", ["quantile_headroom", "hpa_v2", "keda", "kpa", "nomad_target_value"])
@pytest.mark.parametrize("begin", [-7200.0, 20_000 * 86_400.0])
def test_time_may_begin_anywhere(policy: str, begin: float) -> None:
    plain, shifted = (lab.stepper(policy, capacity=50, minimum=1) for _ in range(2))
    one = other = 4
    for tick in range(240):
        load = 300 + 250 * math.sin(tick / 20)
        one = plain.step(15.0 * tick, load, one, 0)
        other = shifted.step(begin + 15.0 * tick, load, other, 0)
        assert one == other, (tick, plain.reason, shifted.reason)
    if plain.wake_at is not None:
        assert shifted.wake_at == pytest.approx(begin + plain.wake_at)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        pytest.param((-1.0, 300.0, 4, 0), "^t: -1 is 1 s before the step that came last", id="back in time"),
        pytest.param((math.nan, 300.0, 4, 0), "^t: nan is no moment", id="no moment"),
        pytest.param((0.0, "many", 4, 0), "^load: 'many' is no number. Give NaN", id="a text"),
        pytest.param((0.0, 300.0, -4, 0), "^ready: -4 is no number of replicas", id="less than none ready"),
        pytest.param((0.0, 300.0, 4, math.nan), "^starting: nan is no number of replicas", id="unknown starting"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused_and_changes_nothing(call: tuple[Any, ...], words: str) -> None:
    drive, other = lab.stepper("quantile_headroom"), lab.stepper("quantile_headroom")
    assert drive.step(0.0, 300.0, 4, 0) == other.step(0.0, 300.0, 4, 0)
    with pytest.raises(ConfigurationError, match=words):
        drive.step(*call)
    assert drive.step(15.0, 500.0, 4, 5) == other.step(15.0, 500.0, 4, 5)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"capacity": 0}, "^capacity: 0 is no number above 0"),
        ({"capacity": "x"}, "^capacity: 'x' is no number"),
        ({"period": -5}, "^period: -5 is no number above 0"),
        ({"target": math.nan}, "^target: nan is no number above 0"),
        ({"lag": -1}, "^lag: -1 is no number of at least 0"),
        ({"startup": math.inf}, "^startup: inf is no number"),
        ({"minimum": 1.5}, "^minimum: 1.5 is no whole number"),
        ({"maximum": math.inf}, "^maximum: inf is no whole number"),
        ({"minimum": 5, "maximum": 2}, "^maximum: 2 is below a minimum of 5"),
        ({"capacity": None, "lag": None}, "(?s)^capacity: None.*lag: None"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        lab.stepper("hpa_v2", **given)


def test_bounds_hold() -> None:
    drive = lab.stepper("target_value", capacity=10, target=1.0, minimum=2, maximum=6)
    assert drive.step(0.0, 500.0, 0, 0) == 6
    drive = lab.stepper("target_value", capacity=10, target=1.0, minimum=2, maximum=6)
    assert drive.step(0.0, 0.0, 0, 0) == 2


def test_a_policy_of_ten_lines_works_as_it_is_whatever_it_calls_the_load(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    assert lab.stepper(file).step(0.0, 950.0, 1, 0) == 10
    drive = lab.stepper(str(file))
    assert drive.step(0.0, 950.0, 1, 0) == 10
    assert drive.reason == "950 waiting, 100 a replica"


def test_options_of_an_own_policy_are_filled_in_where_their_names_say_what_they_mean(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "import autoscaler\nfrom pydantic import BaseModel\n\n\n"
        "class Options(BaseModel):\n    metric: str\n    per_replica: float\n    extra: int = 0\n\n\n"
        "@autoscaler.hookimpl\ndef propose(signals, options):\n"
        "    return autoscaler.Scale(int(signals[options.metric].latest / options.per_replica) + options.extra)\n"
    )
    assert lab.stepper(str(file), {"extra": 3}, capacity=50, target=0.5).step(0.0, 100.0, 1, 0) == 7


@pytest.mark.parametrize(
    ("policy", "options", "words"),
    [
        pytest.param("target_valeu", {}, "Did you mean target_value", id="no such policy"),
        pytest.param("./nowhere.py", {}, "no such file", id="no such file"),
        pytest.param("target_value", {"tolerance": 3}, "target_value.tolerance", id="a wrong option"),
        pytest.param("target_value", ["tolerance"], "its options are no mapping", id="options that are a list"),
        pytest.param("", {}, "'' is no policy", id="an empty name"),
        pytest.param(None, {}, "None is no policy", id="no name"),
    ],
)
def test_what_cannot_be_driven_is_said_at_once(policy: Any, options: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        lab.stepper(policy, options)
