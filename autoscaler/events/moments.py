"""RFC 3339 times of the wire to seconds since the epoch and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from autoscaler.events.rejection import Rejection, rejected

AHEAD_S_MAX = 300.0
"""How far an event's time may lie ahead of the broker's."""

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d):(\d\d)(\.\d{1,12})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_CHARS_MAX = 40
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_time(text: object, place: str = "time") -> float:
    """Seconds since the epoch of an RFC 3339 time with its offset; a leap second counts as the one after it."""
    match = _RFC3339.fullmatch(text) if isinstance(text, str) and len(text) <= _CHARS_MAX else None
    if match is None:
        raise rejected(Rejection.TIME, "write it as 2026-11-23T10:00:00Z", place)
    date, minute, second, fraction, offset = match.groups()
    leap = second == "60"
    zone = "+00:00" if offset in {"Z", "z"} else offset
    try:
        moment = datetime.fromisoformat(f"{date}T{minute}:{'59' if leap else second}{(fraction or '')[:7]}{zone}")
        return moment.timestamp() + (1.0 if leap else 0.0)
    except (ValueError, OverflowError):
        raise rejected(Rejection.TIME, "no such moment", place) from None


def check_not_ahead(at: float, broker_at: float, place: str = "time") -> None:
    """Raises `EventRejected` (future) where ``at`` lies too far ahead of ``broker_at``; 0 = the broker gave no time."""
    if broker_at > 0 and at > broker_at + AHEAD_S_MAX:
        raise rejected(Rejection.FUTURE, f"{at - broker_at:.0f} s ahead of the broker's time", place)


def write_time(at: float) -> str:
    """``2026-11-23T10:00:14.120Z``: UTC, whole milliseconds."""
    moment = _EPOCH + timedelta(milliseconds=round(at * 1000))
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
