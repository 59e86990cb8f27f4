"""The stepper: a policy in a service with defaults, driven from outside on virtual time."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from autoscaler import lab
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


def test_bounds_hold() -> None:
    drive = lab.stepper("target_value", capacity=10, target=1.0, minimum=2, maximum=6)
    assert drive.step(0.0, 500.0, 0, 0) == 6
    drive = lab.stepper("target_value", capacity=10, target=1.0, minimum=2, maximum=6)
    assert drive.step(0.0, 0.0, 0, 0) == 2


def test_a_policy_of_ten_lines_works_as_it_is_whatever_it_calls_the_load(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
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
    ],
)
def test_what_cannot_be_driven_is_said_at_once(policy: str, options: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        lab.stepper(policy, options)
