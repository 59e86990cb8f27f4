"""`step`: bands of a metric, each with a change of demand."""

from __future__ import annotations

from typing import Any

import pytest

import autoscaler
from autoscaler.testing import NOW, a_service, propose, signal, unknown
from autoscaler_plugins import step

BANDS = [{"below": 20, "add": -1, "for": "60s"}, {"above": 80, "percent": 50}, {"above": 60, "below": 80, "to": 7}]
OPTIONS = {"metric": "cpu", "bands": BANDS}


def wish(given: Any, demand: int = 4, memory: dict[str, Any] | None = None, **options: Any) -> autoscaler.Scale:
    proposal = propose(step, a_service(demand=demand), [given], {**OPTIONS, **options}, memory=memory)
    assert isinstance(proposal, autoscaler.Scale)
    return proposal


@pytest.mark.parametrize(
    ("value", "demand", "to"),
    [
        pytest.param(90.0, 4, 6, id="percent"),
        pytest.param(80.0, 5, 8, id="percent_rounds_up"),
        pytest.param(60.0, 4, 7, id="fixed_at_its_lower_end"),
        pytest.param(40.0, 4, 4, id="no_band"),
    ],
)
def test_the_band_decides_the_change(value: float, demand: int, to: int) -> None:
    assert wish(signal("cpu", value), demand).to == to


def test_a_small_percentage_down_changes_nothing_as_it_rounds_up() -> None:
    assert wish(signal("cpu", 5.0), 10, bands=[{"below": 20, "percent": -5}]).to == 10


def test_demand_never_falls_below_zero() -> None:
    assert wish(signal("cpu", 5.0), 2, bands=[{"below": 20, "add": -5}]).to == 0


def test_a_band_has_to_last_and_says_until_when() -> None:
    proposal = wish(signal("cpu", 10.0, 10.0, 10.0, every=15))
    assert (proposal.to, proposal.wake_at) == (4, NOW + 30)
    assert wish(signal("cpu", *[10.0] * 5, every=15)).to == 3


def test_a_gap_longer_than_max_age_starts_the_count_anew() -> None:
    assert wish(signal("cpu", 10.0, 10.0, every=61)).to == 4


@pytest.mark.parametrize(
    ("ready", "to"),
    [
        pytest.param(4, 6, id="none is on its way"),
        pytest.param(3, 5, id="one is"),
        pytest.param(2, 4, id="enough are"),
        pytest.param(0, 4, id="all are"),
    ],
)
def test_what_is_on_its_way_is_not_ordered_twice(ready: int, to: int) -> None:
    service = a_service(demand=4, ready=ready)
    bands = [{"above": 80, "add": 2}]
    assert propose(step, service, [signal("cpu", 90.0)], {**OPTIONS, "bands": bands}, memory={}).to == to


def test_one_alarm_makes_one_step() -> None:
    memory: dict[str, Any] = {}
    given = signal("cpu", *[10.0] * 9, every=15)
    assert wish(given, 4, memory).to == 3
    assert wish(given, 3, memory).to == 3
    assert memory == {"demand": 3, "since": NOW}


def test_an_unknown_metric_is_no_opinion() -> None:
    assert propose(step, a_service(), [unknown("cpu")], OPTIONS) is None


@pytest.mark.parametrize(
    ("bands", "words"),
    [
        ([{"above": 1, "add": 1, "to": 2}], "exactly one"),
        ([{"above": 1}], "exactly one"),
        ([{"add": 1}], "above, below"),
        ([{"above": 5, "below": 5, "add": 1}], "lower than below"),
        ([{"above": 1, "below": 6, "add": 1}, {"above": 5, "add": 2}], "overlap from 5 to 6"),
    ],
)
def test_bands_that_make_no_sense_are_refused(bands: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        step.Options.model_validate({"metric": "cpu", "bands": bands})


def test_options_survive_their_own_json() -> None:
    options = step.Options.model_validate(OPTIONS)
    assert step.Options.model_validate(options.model_dump(mode="json", by_alias=True, exclude_none=True)) == options


POINTS = {"above": 10, "trigger": 3, "window": "60s", "add": 2}
ALARM = {
    "threshold": 60,
    "up": [{"lower": 0, "upper": 20, "percent": 20}, {"lower": 20, "percent": 50}],
    "down": [{"upper": -20, "percent": -30}],
    "cooldown_up": "5m",
    "cooldown_down": "2m",
}


def ask(value: float, demand: int, memory: dict[str, Any], at: float, **form: Any) -> Any:
    options = {"metric": "cpu", **form}
    return propose(
        step, a_service(demand=demand, maximum=99), [signal("cpu", value)], options, now=NOW + at, memory=memory
    )


def test_enough_points_in_the_band_change_the_demand_even_apart() -> None:
    memory: dict[str, Any] = {}
    values = [12.0, 5.0, 12.0, 5.0, 12.0]
    assert [ask(value, 4, memory, 10 * i, points=POINTS).to for i, value in enumerate(values)] == [4, 4, 4, 4, 6]
    assert [ask(12.0, 6, memory, at, points=POINTS).to for at in (41, 50, 60, 70)] == [6, 6, 6, 8]


def test_points_older_than_the_window_do_not_count() -> None:
    memory: dict[str, Any] = {}
    assert [ask(12.0, 4, memory, at, points=POINTS).to for at in (0, 40, 80, 95)] == [4, 4, 4, 6]


def test_the_same_sample_is_one_point() -> None:
    memory: dict[str, Any] = {}
    assert [ask(12.0, 4, memory, 0, points=POINTS).to for _ in range(5)] == [4] * 5


def test_in_the_cooldown_of_a_step_up_only_the_surplus_of_a_larger_one_is_added() -> None:
    memory: dict[str, Any] = {}
    assert ask(70.0, 10, memory, 0, alarm=ALARM).to == 12
    assert ask(70.0, 12, memory, 60, alarm=ALARM).to == 12
    assert ask(85.0, 12, memory, 120, alarm=ALARM).to == 15
    held = ask(30.0, 12, memory, 130, alarm=ALARM)
    assert isinstance(held, autoscaler.Hold)
    assert held.wake_at == NOW + 300
    assert ask(30.0, 12, memory, 360, alarm=ALARM).to == 9


def test_a_step_up_does_not_wait_for_one_down() -> None:
    memory: dict[str, Any] = {}
    ask(30.0, 10, memory, 0, alarm=ALARM)
    assert isinstance(ask(30.0, 7, memory, 10, alarm=ALARM), autoscaler.Hold)
    assert ask(61.0, 7, memory, 20, alarm=ALARM).to == 8
    assert ask(50.0, 7, memory, 25, alarm=ALARM).to == 7


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({}, "exactly one of bands, points and alarm"),
        ({"bands": BANDS, "points": POINTS}, "exactly one of bands, points and alarm"),
        ({"points": {"above": 1}}, "exactly one of add"),
        ({"points": {"add": 1}}, "above, below"),
        ({"alarm": {"threshold": 1}}, "steps up, down"),
        ({"alarm": {**ALARM, "up": [{"lower": 0, "upper": 1, "percent": 1}, {"lower": 2, "percent": 1}]}}, "gap"),
    ],
)
def test_forms_that_make_no_sense_are_refused(form: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        step.Options.model_validate({"metric": "cpu", **form})


def test_checks_of_a_group_do_not_hold_each_other_back() -> None:
    high, low = {"above": 70, "trigger": 1, "add": 1}, {"below": 30, "trigger": 1, "add": -1}

    def asked(value: float, **more: Any) -> list[int | None]:
        found = [ask(value, 4, {}, 0, points={**points, **more}) for points in (high, low)]
        return [None if one is None else one.to for one in found]

    assert asked(20.0) == [4, 3]
    assert [asked(value, grouped=True) for value in (20.0, 50.0, 90.0)] == [[None, 3], [None, None], [5, None]]
