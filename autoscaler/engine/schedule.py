"""Moments at which services want to be looked at: one per service, the earliest first. No clock, no timer."""

from __future__ import annotations

import heapq


class Schedule:
    """A service has at most one moment; setting another forgets the former. Costs nothing for services without one."""

    __slots__ = ("_at_of", "_queue")

    def __init__(self) -> None:
        self._queue: list[tuple[float, str]] = []
        self._at_of: dict[str, float] = {}

    def set(self, service: str, at: float | None) -> None:
        """The service's moment is ``at`` (seconds since the epoch) from now on; None: it has none."""
        if at is None:
            self._at_of.pop(service, None)
        elif self._at_of.get(service) != at:
            self._at_of[service] = at
            heapq.heappush(self._queue, (at, service))

    def due(self, now: float) -> list[tuple[str, float]]:
        """The services whose moment has come, with it, earliest first; they have none any more."""
        found = []
        while self._queue and self._queue[0][0] <= now:
            at, service = heapq.heappop(self._queue)
            if self._at_of.get(service) == at:
                del self._at_of[service]
                found.append((service, at))
        return found

    def next(self) -> float | None:
        """The earliest moment, or None."""
        while self._queue and self._at_of.get(self._queue[0][1]) != self._queue[0][0]:
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None
