"""The functions of time windows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from autoscaler_plugins.rules import schedule


def inside(form: schedule.Form) -> Callable[[dict[str, Any]], Any]:
    def answer(given: dict[str, Any]) -> Any:
        zone, seconds = given.get("zone", "UTC"), given.get("minutes", 0) * 60
        window = schedule.Window(given["start"], given.get("end", ""), seconds, zone)
        try:
            window.check()
            ZoneInfo(zone)
        except (ValueError, ZoneInfoNotFoundError):
            return "error"
        moments = given["now"]
        if isinstance(moments, str):
            return schedule.is_inside(window, datetime.fromisoformat(moments), form)
        return [schedule.is_inside(window, datetime.fromisoformat(moment), form) for moment in moments]

    return answer


FUNCTIONS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "cron.next": inside("next"),
    "cron.last": inside("last"),
    "cron.duration": inside("duration"),
}
