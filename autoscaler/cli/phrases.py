"""Moments, ages and durations between people and the program."""

from __future__ import annotations

import time

from autoscaler.cli.context import wrong_usage
from autoscaler.configuration.complaints import what_and_remedy
from autoscaler.core.quantities import parse_duration
from autoscaler.errors import EventRejected
from autoscaler.events.moments import read_time, write_time

_STEPS = ((120.0, 1.0, "s"), (7200.0, 60.0, "m"), (172_800.0, 3600.0, "h"))


def age_text(seconds: float) -> str:
    """``0.4s``, ``12s``, ``5m``, ``3h``, ``9d``."""
    if 0 <= seconds < 10:  # noqa: PLR2004 - below, tenths still say something
        return f"{seconds:.1f}s"
    for limit, unit, name in _STEPS:
        if seconds < limit:
            return f"{seconds / unit:.0f}{name}"
    return f"{seconds / 86400:.0f}d"


def ago(at: float, now: float) -> str:
    """``12s ago``."""
    return f"{age_text(max(0.0, now - at))} ago"


def until_text(until: float | None, now: float, otherwise: str) -> str:
    """``for another 5m``, or ``otherwise`` where it has no end."""
    return otherwise if until is None else f"for another {age_text(max(0.0, until - now))}"


def seconds_of(text: str, option: str) -> float:
    """The seconds of a duration option. Raises `CommandError` (usage)."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise wrong_usage(*what_and_remedy(str(error)), option) from None
    if seconds <= 0:
        raise wrong_usage("must be longer than nothing", "Write it as 30m.", option)
    return seconds


def moment_of(text: str, option: str) -> float:
    """The moment of ``2026-11-23T10:00:00Z``, or of ``15m`` before now. Raises `CommandError` (usage)."""
    return _moment(text, option, -1, "ago")


def moment_to_come(text: str, option: str) -> float:
    """The moment of ``2026-11-23T10:00:00Z``, or of ``15m`` from now. Raises `CommandError` (usage)."""
    return _moment(text, option, 1, "from now")


def _moment(text: str, option: str, sign: int, words: str) -> float:
    try:
        return time.time() + sign * parse_duration(text)
    except ValueError:
        pass
    try:
        return read_time(text)
    except EventRejected:
        raise wrong_usage("not a moment", f"Write 15m ({words}) or 2026-11-23T10:00:00Z.", option) from None


def stamp(at: float) -> str:
    """``2026-11-23T10:00:14Z``."""
    return write_time(at)[:19] + "Z"
