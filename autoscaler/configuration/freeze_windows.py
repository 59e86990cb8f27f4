"""Freeze windows as text: ``Fri 17:00-Mon 07:00 Europe/Berlin`` to a `FreezeWindow`. Called by `service_build`."""

from __future__ import annotations

import re
from functools import lru_cache
from zoneinfo import ZoneInfo

from autoscaler.core.settings import FreezeWindow

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WEEK_MINUTES = 7 * 24 * 60
MINUTE_MAX = 59
_WINDOW = re.compile(
    r"\s*([A-Za-z]{3,9})\s+([0-9]{1,2}):([0-9]{2})\s*-\s*([A-Za-z]{3,9})\s+([0-9]{1,2}):([0-9]{2})(?:\s+(\S{1,64}))?\s*"
)
_EXAMPLE = "write it as Fri 17:00-Mon 07:00 Europe/Berlin"
_LONG = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def parse_freeze(text: str, what: str = "a freeze window") -> FreezeWindow:
    """The weekly window; its end may lie in the week after. Raises ValueError (what; remedy)."""
    match = _WINDOW.fullmatch(text)
    if match is None:
        raise ValueError(f"not {what}; {_EXAMPLE}")
    start = _minute(match[1], match[2], match[3])
    end = _minute(match[4], match[5], match[6])
    if match[7] is None:
        raise ValueError(f"{what} needs a time zone; add one such as Europe/Berlin or UTC")
    if not known_zone(match[7]):
        raise ValueError("the time zone is not known; write its IANA name, such as Europe/Berlin or UTC")
    if start == end:
        raise ValueError(f"{what} that ends as it starts; give it another end")
    return FreezeWindow(start_minute=start, end_minute=end, zone=match[7], text=" ".join(text.split()))


def _minute(day: str, hour: str, minute: str) -> int:
    lower = day.lower()
    if lower not in DAYS and lower not in _LONG:
        raise ValueError("not a day of the week; write Mon, Tue, Wed, Thu, Fri, Sat or Sun")
    of_day = int(hour) * 60 + int(minute)
    if int(minute) > MINUTE_MAX or of_day > 24 * 60:
        raise ValueError("not a time of day; write it from 00:00 to 24:00")
    return (DAYS.index(lower[:3]) * 24 * 60 + of_day) % WEEK_MINUTES


@lru_cache(maxsize=256)
def known_zone(name: str) -> bool:
    """Whether the machine's time zone data has the zone."""
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return False
    return True
