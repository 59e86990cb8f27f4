"""Freeze windows as text."""

from __future__ import annotations

import pytest

from autoscaler.configuration.freeze_windows import parse_freeze

WINDOWS = {
    "Fri 17:00-Mon 07:00 Europe/Berlin": (6780, 420, "Europe/Berlin"),
    "mon 00:00 - sun 24:00 UTC": (0, 0, "UTC"),
    "Tuesday 9:30-Tuesday 10:00 America/New_York": (2010, 2040, "America/New_York"),
    "Sat 00:00-Sun 24:00 UTC": (7200, 0, "UTC"),
    "Sun 23:59-Mon 00:01 UTC": (10079, 1, "UTC"),
}


@pytest.mark.parametrize("text", [text for text in WINDOWS if not text.startswith("mon")])
def test_a_window_may_wrap_round_the_end_of_the_week(text: str) -> None:
    window = parse_freeze(text)
    assert (window.start_minute, window.end_minute, window.zone) == WINDOWS[text]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mon 00:00 - sun 24:00 UTC", "ends as it starts"),
        ("Fri 17:00-Mon 07:00", "needs a time zone"),
        ("Fri 17:00-Mon 07:00 Mars/Base", "not known"),
        ("Fri 17:00-Mon 07:00 ../../etc/passwd", "not known"),
        ("Fri 17:00-Mon 07:00 Europe", "not known"),
        ("Fry 17:00-Mon 07:00 UTC", "day of the week"),
        ("Fri 24:01-Mon 07:00 UTC", "time of day"),
        ("Fri 17:60-Mon 07:00 UTC", "time of day"),
        ("Fri 5pm-Mon 7am UTC", "not a freeze window"),
    ],
)
def test_what_is_no_window_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_freeze(text)
