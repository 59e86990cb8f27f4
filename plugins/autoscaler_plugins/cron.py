"""`cron`: so many replicas within windows of time, in a time zone; outside of them the service's minimum.

Beside other policies under `max` it is a floor, never a cap. Both clock changes are heeded: an edge that is skipped
happens at the change, one that comes twice happens once.
"""

from __future__ import annotations

from typing import Annotated, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, model_validator

import autoscaler
from autoscaler_plugins.rules import schedule
from autoscaler_plugins.rules.fields import Count, Duration, Name, Strict


class Window(Strict):
    """``replicas`` from ``start`` until ``end``, or for a ``duration``; both edges cron expressions of five fields in
    ``timezone``. ``by``: an end before its start counts from the next edges (`next`) or from the last ones (`last`)."""

    start: Name
    end: Name | None = None
    duration: Annotated[Duration, Field(gt=0)] | None = None
    timezone: Name = "UTC"
    replicas: Count
    by: schedule.Form = "next"

    @property
    def window(self) -> schedule.Window:
        """The window, ready to be asked."""
        return schedule.Window(self.start, self.end or "", self.duration or 0.0, self.timezone)

    @property
    def form(self) -> schedule.Form:
        """How it is asked."""
        return "duration" if self.duration else self.by

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"{self.timezone} is no time zone; write it as Europe/Berlin") from None
        if self.by == "duration" and self.duration is None:
            raise ValueError("by: duration needs a duration")
        self.window.check()
        return self


class Options(Strict):
    """``windows``: where several hold, the highest count wins."""

    windows: Annotated[list[Window], Field(min_length=1, max_length=64)]


@autoscaler.hookimpl
def propose(service: autoscaler.ServiceFacts, now: float, options: Options) -> autoscaler.Scale:
    """The highest count of the windows that hold now; wakes at the next edge of any."""
    inside: list[Window] = []
    edges: list[float] = []
    for window in options.windows:
        holds, edge = schedule.standing(window.window, now, window.form)
        if holds:
            inside.append(window)
        if edge is not None:
            edges.append(edge)
    wake_at = min(edges, default=None)
    if not inside:
        return autoscaler.Scale(service.minimum, "outside of every window", wake_at)
    highest = max(inside, key=lambda window: window.replicas)
    until = f"until {highest.end}" if highest.end else f"for {autoscaler.format_duration(highest.duration or 0.0)}"
    return autoscaler.Scale(
        highest.replicas, f"from {highest.start} {until} {highest.timezone}: {highest.replicas}", wake_at
    )
