"""Windows of time by cron expressions in a time zone. Pure: the moment is an argument.

An edge that a clock change skips happens at the change; one that a clock change repeats happens once (Debian's cron).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

Form = Literal["next", "last", "duration"]
FIELDS = 5
STANDS_MAX = 4096
CHANGE_H = 3
"""A clock change is over well within so many hours."""


@dataclass(frozen=True, slots=True)
class Window:
    """From ``start`` to ``end``, or for ``duration_s`` from ``start`` on, in the time of ``zone``."""

    start: str
    end: str = ""
    duration_s: float = 0.0
    zone: str = "UTC"

    def check(self) -> None:
        """Raise ValueError with what is wrong."""
        if bool(self.end) == bool(self.duration_s):
            raise ValueError("a window needs end or duration, and not both")
        if self.start.split() == self.end.split():
            raise ValueError("start and end are the same, which is no window")
        for expression in filter(None, (self.start, self.end)):
            check_expression(expression)


def check_expression(expression: str) -> None:
    """Raise ValueError where it has not five fields, is none, or names no moment."""
    if len(expression.split()) != FIELDS:
        raise ValueError(f"{expression!r} needs five fields: minute, hour, day, month, weekday")
    try:
        next(CronSim(expression, datetime(2024, 1, 1)))  # noqa: DTZ001 - any moment shows whether there is a next one
    except StopIteration:
        raise ValueError(f"{expression!r} names no moment") from None
    except CronSimError as error:
        raise ValueError(f"{expression!r}: {error}") from None


def following(expression: str, zone: str, now: datetime) -> datetime | None:
    """The first moment of the expression strictly after ``now``; None where there is none."""
    local = now.astimezone(ZoneInfo(zone))
    found = CronSim(expression, _away_from_a_change(local, -1))
    return next((moment for moment in found if moment.timestamp() > now.timestamp()), None)


def preceding(expression: str, zone: str, now: datetime) -> datetime | None:
    """The last moment of the expression at or before ``now``; None where there is none."""
    local = now.astimezone(ZoneInfo(zone)).replace(microsecond=0) + timedelta(seconds=1)
    found = CronSim(expression, _away_from_a_change(local, 1), reverse=True)
    return next((moment for moment in found if moment.timestamp() <= now.timestamp()), None)


def _away_from_a_change(local: datetime, way: int) -> datetime:
    """The moment, or one hours from it: in a repeated hour the time of day does not tell which of the two it is."""
    utc = local.astimezone(UTC)
    near = [(utc + timedelta(hours=hours)).astimezone(local.tzinfo) for hours in (-CHANGE_H, CHANGE_H)]
    if near[0].utcoffset() == near[1].utcoffset():
        return local
    return near[(way + 1) // 2]


def is_inside(window: Window, now: datetime, form: Form) -> bool:
    """Whether ``now`` is in the window, worked out from the next edges, the last ones, or the start and a duration."""
    if form == "duration":
        start = preceding(window.start, window.zone, now)
        return start is not None and (now - start).total_seconds() < window.duration_s
    if form == "last":
        start, end = (preceding(edge, window.zone, now) for edge in (window.start, window.end))
        return start is not None and (end is None or start.timestamp() > end.timestamp())
    start, end = (following(edge, window.zone, now) for edge in (window.start, window.end))
    return end is not None and (start is None or end.timestamp() <= start.timestamp())


def next_edge(window: Window, now: datetime) -> float | None:
    """When the answer can change next, in seconds since the epoch."""
    edges = [following(edge, window.zone, now) for edge in (window.start, window.end) if edge]
    if window.duration_s:
        start = preceding(window.start, window.zone, now)
        if start is not None and start.timestamp() + window.duration_s > now.timestamp():
            return start.timestamp() + window.duration_s
    return min((edge.timestamp() for edge in edges if edge is not None), default=None)


_stands: dict[tuple[Window, Form], tuple[float, float, bool]] = {}
"""Window -> from when, until when, inside: edges are far apart, and evaluations are not."""


def standing(window: Window, now: float, form: Form) -> tuple[bool, float | None]:
    """(inside, next edge) at a moment in seconds since the epoch."""
    key = (window, form)
    known = _stands.get(key)
    if known is None or not known[0] <= now < known[1]:
        moment = datetime.fromtimestamp(now, UTC)
        edge = next_edge(window, moment)
        known = (now, math.inf if edge is None else edge, is_inside(window, moment, form))
        if len(_stands) >= STANDS_MAX:
            _stands.clear()
        _stands[key] = known
    return known[2], None if math.isinf(known[1]) else known[1]
