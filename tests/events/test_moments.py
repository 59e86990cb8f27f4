"""RFC 3339 there and back."""

from __future__ import annotations

import pytest

from autoscaler.errors import EventRejected
from autoscaler.events.moments import read_time, write_time


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2026-11-23T10:00:00Z", 1_795_428_000.0),
        ("2026-11-23t11:00:00+01:00", 1_795_428_000.0),
        ("2026-11-23T10:00:00z", 1_795_428_000.0),
        ("2026-11-23T10:00:00.5Z", 1_795_428_000.5),
        ("2026-11-23T10:00:00.000000011Z", 1_795_428_000.0),
        ("2016-12-31T23:59:60Z", 1_483_228_800.0),
    ],
)
def test_times_with_their_offset_are_read(text: str, at: float) -> None:
    assert read_time(text) == at


@pytest.mark.parametrize(
    "text",
    [
        *("", "noon", "2026-11-23", "2026-11-23 10:00:00Z", "2026-11-23T10:00:00", "2026-11-23T10:00Z"),
        *("2026-11-23T25:00:00Z", "0000-01-01T00:00:00Z", "2026-11-23T10:00:00,5Z", "\uff12026-11-23T10:00:00Z"),
        *("2026-11-23T10:00:00+25:00", 5, None, True),
    ],
)
def test_whatever_else_is_rejected(text: object) -> None:
    with pytest.raises(EventRejected) as caught:
        read_time(text)
    assert caught.value.code == "time"


def test_times_are_written_in_whole_milliseconds() -> None:
    assert write_time(1_795_428_014.12) == "2026-11-23T10:00:14.120Z"
    assert write_time(1_795_428_014.9996) == "2026-11-23T10:00:15.000Z"
    assert read_time(write_time(1_795_428_014.123)) == 1_795_428_014.123
