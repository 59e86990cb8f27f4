"""What comes back by the clock, and how far rises go on: the rules of `quantile_headroom` by themselves."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest

from autoscaler_plugins.quantile_headroom import rebuilt
from autoscaler_plugins.rules import headroom
from autoscaler_plugins.rules.forecaster import Forecaster
from autoscaler_plugins.rules.hours import BRIDGED, Hours
from autoscaler_plugins.rules.rises import PARTS, Rises


def job(minute: int, every: int, length: int = 6) -> float:
    return 16.0 if minute % every < length else 2.5


def told(loads: list[float]) -> Hours:
    hours = Hours()
    for minute, load in enumerate(loads):
        hours.note(minute, load)
    return hours


@pytest.mark.parametrize(("every", "lag"), [(60, 60), (20, 60), (40, 120), (120, 120), (90, 0)])
def test_a_job_of_a_clock_comes_back_after_the_lag_that_is_a_multiple_of_its_period(every: int, lag: int) -> None:
    begin = 20 * every  # a whole number of periods, and enough of them for the longest lag
    hours = told([job(minute, every) for minute in range(begin)])
    assert hours.lag == lag
    if lag:
        assert hours.expected(begin - 3, begin - 1) == 2.5
        assert hours.expected(begin - 1, begin) == 16.0


def test_it_counts_once_it_was_tried_as_long_as_it_is() -> None:
    lags = [told([job(minute, 60) for minute in range(minutes)]).lag for minutes in (179, 182)]
    assert lags == [0, 60]


@pytest.mark.parametrize("kind", ["noise", "steps", "walk", "even"])
def test_what_no_clock_starts_does_not_come_back(kind: str) -> None:
    random = Random(3)  # noqa: S311 - repeatable noise
    loads, load = [], 10.0
    for minute in range(1500):
        if kind == "noise":
            load = random.gauss(10, 1.2)
        elif kind == "steps" and minute % 41 == random.randrange(41):
            load = random.uniform(2, 18)
        elif kind == "walk":
            load = max(1.0, load + random.gauss(0, 0.3))
        loads.append(load)
    hours, counted = Hours(), 0
    for minute, load in enumerate(loads):
        hours.note(minute, load)
        counted += bool(hours.lag)
    assert counted < 0.02 * len(loads)


def test_it_grows_as_the_hours_do() -> None:
    loads = [job(minute, 60) * (1 + minute // 60 / 20) for minute in range(600)]
    assert told(loads).expected(600, 602) == pytest.approx(16 * 1.5, rel=0.02)


def test_a_few_minutes_without_a_sample_do_not_matter_and_many_are_unknown() -> None:
    known = [job(minute, 60) for minute in range(600)]
    for missed, counts in ((BRIDGED, True), (BRIDGED + 1, False)):
        hours = told(known)
        hours.note(600 + missed, 2.5)
        hours.note(601 + missed, 2.5)
        assert bool(hours.lag) == counts, missed


def test_growth_is_reckoned_on_the_hour_two_hours_ago_as_it_was_though_a_minute_is_missed() -> None:
    hours = told([31.0 if minute == 121 else 1.0 for minute in range(301)])
    hours.note(302, 1.0)
    assert hours.tried[-1] == pytest.approx(60 / 90)


def test_a_job_each_hour_is_met_before_it_begins_once_it_has_come_for_some_hours() -> None:
    forecaster = Forecaster(50.0, 15.0, headroom.Q)
    for slot in range(8 * 240 - 3):
        forecast = forecaster.step(slot, 50 * job(slot // 4, 60), 5)
    assert forecast.model == "season"
    assert forecast.bound >= 800.0
    assert forecast.trend >= 800.0, "so much a plain target may buy, too"
    quiet = Forecaster(50.0, 15.0, headroom.Q)
    assert max(quiet.step(slot, 125.0, 5).trend for slot in range(8 * 240)) == 125.0


def test_a_forecaster_that_was_kept_without_hours_goes_on() -> None:
    forecaster = Forecaster(50.0, 15.0, headroom.Q)
    for slot in range(5 * 240):
        forecaster.step(slot, 50 * job(slot // 4, 60), 5)
    before = ":".join(forecaster.saved().split(":")[:-3])
    again = Forecaster.restored(before, 50.0, 15.0, headroom.Q)
    assert again.hours.lag == 0
    assert again.rises.off[0] == forecaster.rises.off[0]
    assert again.rises.off[-1] == forecaster.rises.off[-1]
    assert math.isfinite(again.step(5 * 240, 125.0, 5).bound)
    whole = Forecaster.restored(forecaster.saved(), 50.0, 15.0, headroom.Q)
    assert whole.hours.lag == 60
    assert whole.saved() == forecaster.saved()


def test_periods_that_were_kept_as_a_list_of_numbers_are_told_again() -> None:
    of = (50.0, 15.0, headroom.Q)
    forecaster = Forecaster(*of)
    for slot in range(100):
        forecaster.step(slot, 400.0 + slot % 7, 5)
    memory: dict[str, Any] = {"kept": forecaster.saved(), "told": [100, 403.25, 5, 101, 9.5, 5]}
    for slot, load in ((100, 403.25), (101, 9.5)):
        forecaster.step(slot, load, 5)
    assert rebuilt(memory, of).saved() == forecaster.saved()
    assert memory.keys() == {"kept", "log"}
    assert rebuilt(memory, of).saved() == forecaster.saved()


@pytest.mark.parametrize("went_on", PARTS)
def test_a_rise_is_trusted_as_far_as_rises_went_on(went_on: float) -> None:
    rises = Rises()
    assert rises.trend(10.0, 18.0) == 10.0, "none was seen"
    for _ in range(20):
        rises.note(10.0, 14.0, 10.0 + 4.0 * went_on)
    assert rises.trend(10.0, 18.0) == 10.0 + 8.0 * went_on
    assert rises.trend(10.0, 9.0) == 10.0
    assert rises.trend(10.0, math.nan) == 10.0


def test_what_was_kept_of_rises_without_parts_is_trusted_no_further() -> None:
    assert Rises.restored(5.0, 1.0, ()).trend(10.0, 14.0) == 14.0
    assert Rises.restored(1.0, 5.0, ()).trend(10.0, 14.0) == 10.0
