"""Windows of time: both ways to work them out agree, whatever the clock does."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from autoscaler_plugins.rules import schedule

NIGHTS = [
    pytest.param("Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC), id="spring"),
    pytest.param("Europe/Berlin", datetime(2026, 10, 24, 12, tzinfo=UTC), id="autumn"),
    pytest.param("America/New_York", datetime(2026, 11, 1, 0, tzinfo=UTC), id="west"),
    pytest.param("Australia/Lord_Howe", datetime(2026, 4, 4, 6, tzinfo=UTC), id="half_an_hour"),
]


@pytest.mark.parametrize(("zone", "first"), NIGHTS)
@pytest.mark.parametrize(("start", "end"), [("0 8 * * *", "0 18 * * *"), ("30 2 * * *", "15 3 * * *"),
                                            ("30 1 * * *", "30 2 * * *"), ("0 22 * * *", "0 6 * * *")])  # fmt: skip
def test_next_and_last_agree_through_a_clock_change(zone: str, first: datetime, start: str, end: str) -> None:
    window = schedule.Window(start, end, zone=zone)
    moments = [first + timedelta(minutes=15 * step) for step in range(150)]
    by_next = [schedule.is_inside(window, moment, "next") for moment in moments]
    assert by_next == [schedule.is_inside(window, moment, "last") for moment in moments]
    turns = sum(one != other for one, other in itertools.pairwise(by_next))
    assert 1 <= turns <= 4


@pytest.mark.parametrize(("zone", "first"), NIGHTS)
def test_the_answer_changes_at_the_edge_and_not_before(zone: str, first: datetime) -> None:
    window = schedule.Window("30 1 * * *", "45 2 * * *", zone=zone)
    now = first.timestamp()
    for _ in range(4):
        inside, edge = schedule.standing(window, now, "next")
        assert edge is not None
        assert schedule.standing(window, edge - 0.5, "next") == (inside, edge)
        assert schedule.standing(window, edge, "next")[0] is not inside
        now = edge


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (schedule.Window("0 8 * * *", "0  8 * * *"), "the same"),
        (schedule.Window("0 8 * * *"), "end or duration"),
        (schedule.Window("0 8 * * *", "0 9 * * *", 60.0), "end or duration"),
        (schedule.Window("0 8 * *", "0 9 * * *"), "five fields"),
        (schedule.Window("0 25 * * *", "0 9 * * *"), "Bad hour"),
        (schedule.Window("0 0 31 2 *", "0 9 * * *"), "Bad day|no moment"),
    ],
)
def test_a_window_that_is_none_is_refused(window: schedule.Window, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        window.check()
