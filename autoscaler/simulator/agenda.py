"""What is still to happen in a simulated world, in order of time; of two at one moment, what was put down first."""

from __future__ import annotations

import heapq
from collections.abc import Callable

EPOCH = 1_800_000_000.0
"""When worlds begin, in seconds since the epoch."""


class Agenda:
    """Moments and deeds."""

    def __init__(self) -> None:
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def add(self, at: float, do: Callable[[], None]) -> None:
        """Put a deed down for a moment."""
        self._count += 1
        heapq.heappush(self._queue, (at, self._count, do))

    def take(self, end: float) -> tuple[float, Callable[[], None]] | None:
        """The next deed and its moment, taken off; None where there is none until ``end``."""
        if not self._queue or self._queue[0][0] > end:
            return None
        at, _, do = heapq.heappop(self._queue)
        return at, do
