"""The wishes of the past windows, for stabilisation: the highest of the down window, the lowest of the up window.

Held by the engine beside a service's signals, never durable: after a restart the windows fill anew, and until then
nothing is scaled down because of them. Pure: the time comes with each call. Memory is bounded by coarsening, always to
the safe side.
"""

from __future__ import annotations

BUCKETS = 60


class WishHistory:
    """Two monotone queues of (at, wish): candidates for the maximum and for the minimum, newest last."""

    __slots__ = ("_highs", "_lows")

    def __init__(self) -> None:
        self._highs: list[tuple[float, int]] = []
        self._lows: list[tuple[float, int]] = []

    def push(self, at: float, wish: int, down_window_s: float, up_window_s: float) -> None:
        """Remember a wish; what no later question can want is forgotten."""
        _push(self._highs, at, wish, down_window_s, highest=True)
        if up_window_s > 0:
            _push(self._lows, at, wish, up_window_s, highest=False)

    def highest(self, since: float) -> int | None:
        """The highest wish at or after ``since``, None without any."""
        return next((wish for at, wish in self._highs if at >= since), None)

    def lowest(self, since: float) -> int | None:
        """The lowest wish at or after ``since``, None without any."""
        return next((wish for at, wish in self._lows if at >= since), None)

    def snapshot(self) -> list[list[list[float]]]:
        """Plain JSON values, for a checkpoint."""
        return [[list(entry) for entry in queue] for queue in (self._highs, self._lows)]

    @classmethod
    def restored(cls, saved: list[list[list[float]]]) -> WishHistory:
        """The history that `snapshot` described."""
        history = cls()
        history._highs = [(float(at), int(wish)) for at, wish in saved[0]]
        history._lows = [(float(at), int(wish)) for at, wish in saved[1]]
        return history


def _push(queue: list[tuple[float, int]], at: float, wish: int, window_s: float, *, highest: bool) -> None:
    while queue and (queue[-1][1] <= wish if highest else queue[-1][1] >= wish):
        queue.pop()
    # A neighbour within a sixtieth of the window lives on under the newer time: kept longer, which is the safe side.
    if queue and at - queue[-1][0] < window_s / BUCKETS and len(queue) > BUCKETS // 2:
        queue[-1] = (at, queue[-1][1])
    else:
        queue.append((at, wish))
    while queue and queue[0][0] < at - window_s:
        queue.pop(0)
