"""When updates, or everything, must stand still: an operator's freeze and the configured weekly windows. Pure.

Local time is computed from the given moment and the window's zone; no clock is read.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from autoscaler.core.settings import FreezeWindow, ServiceSettings
from autoscaler.core.state import ServiceState

WEEK_MINUTES = 7 * 24 * 60


def _minute_of_week(at: float, zone: str) -> int:
    local = datetime.fromtimestamp(at, ZoneInfo(zone))
    return local.weekday() * 1440 + local.hour * 60 + local.minute


def window_covers(window: FreezeWindow, at: float) -> bool:
    """Whether the moment lies in the weekly window, its end excluded; a window may wrap round the week's end."""
    minute = _minute_of_week(at, window.zone)
    if window.start_minute <= window.end_minute:
        return window.start_minute <= minute < window.end_minute
    return minute >= window.start_minute or minute < window.end_minute


def window_ends_at(window: FreezeWindow, at: float) -> float:
    """The moment at which the window that covers ``at`` ends, by wall-clock arithmetic in its zone (both clock
    changes)."""
    return _next(window.end_minute, window.zone, at)


def window_begins_at(window: FreezeWindow, at: float) -> float:
    """The moment at which the window that does not cover ``at`` begins next."""
    return _next(window.start_minute, window.zone, at)


def _next(minute: int, zone: str, at: float) -> float:
    local = datetime.fromtimestamp(at, ZoneInfo(zone))
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    ahead = (minute - _minute_of_week(at, zone)) % WEEK_MINUTES or WEEK_MINUTES
    total = local.hour * 60 + local.minute + ahead
    end = (midnight + timedelta(minutes=total)).replace(tzinfo=ZoneInfo(zone))
    return max(end.astimezone(UTC).timestamp(), at + 1.0)


def updates_frozen(state: ServiceState, settings: ServiceSettings, at: float) -> tuple[str, float | None] | None:
    """Why updates stand still now and until when (None: until unfrozen), or None where they may go on."""
    freeze = state.freeze
    if freeze is not None and (freeze.until is None or freeze.until > at):
        return f"frozen by {freeze.event.source} {freeze.event.id}", freeze.until
    for window in settings.guards.freeze:
        if window_covers(window, at):
            return f"freeze window {window.text}", window_ends_at(window, at)
    return None


def scaling_frozen(state: ServiceState, at: float) -> bool:
    """Whether an operator's freeze of scope all covers scaling too."""
    freeze = state.freeze
    return freeze is not None and freeze.scope == "all" and (freeze.until is None or freeze.until > at)
