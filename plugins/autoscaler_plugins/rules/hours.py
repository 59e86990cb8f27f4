"""What comes back every hour, or every two: jobs that a clock starts. Used by `quantile_headroom`. Pure.

Clocks start jobs at minutes of the hour, so whatever their period, most of them come back after one of a few lags. A
ring holds the mean load of each minute. Once a minute each lag is tried: was the load of so long ago, grown as the
hours have since, nearer to this minute than that of two minutes ago was? The nearest lag counts while it is clearly
nearer and was tried as long as it is itself. Noise, steps and slow curves are not, and no lag counts.

A few minutes without a sample count as the last one; more are unknown, and nothing counts that needs them. Loads are in
replicas, and kept as floats of two bytes, as there may be a ring for each service.
"""

from __future__ import annotations

import math
import struct
from array import array

CELL_S = 60.0
HOUR = 60
"""Cells."""
LAGS = (HOUR, 2 * HOUR)
"""Half an hour comes back after one, 40 minutes after two. A longer ring does not fit into what a service may take."""
CELLS = LAGS[-1] + HOUR
"""As far as the longest lag of the first minute of the hour that growth is reckoned on."""
NEAR = 2
"""Cells back to what a lag has to be better than."""
CLEARLY = 0.7
MEMORY = 2
"""Lags that a mean of errors goes back."""
GROWTH = (0.5, 2.0)
GROWN_EACH = 5
"""Cells after which growth is reckoned anew."""
BRIDGED = 5
"""Cells without a sample that count as the last one."""
_HIGHEST = 65504.0
_OFF, _NEAR, _COUNT, _GROWTH = range(4)
_WIDTH = 4
_one, _hour = struct.Struct("<e"), struct.Struct(f"<{HOUR}e")


class Hours:
    """``lag``: cells after which the load comes back, 0 while it does not. ``tried``: of each lag how far off it was,
    how far off two minutes ago was, how often that was seen, and how much the load has grown since."""

    __slots__ = ("cell", "count", "lag", "ring", "total", "tried")

    def __init__(self) -> None:
        self.ring = bytearray(_one.pack(math.nan) * CELLS)
        self.cell, self.total, self.count, self.lag = -1, 0.0, 0, 0
        self.tried = array("d", (0.0, 0.0, 0.0, math.nan) * len(LAGS))

    def note(self, cell: int, load: float) -> None:
        """Take a load of the minute ``cell``, which never goes back."""
        if cell == self.cell:
            self.total += load
            self.count += 1
            return
        if self.count:
            self._close(self.cell, min(self.total / self.count, _HIGHEST), cell)
        self.cell, self.total, self.count = cell, load, 1

    def expected(self, first: int, last: int) -> float:
        """The highest load of the minutes from ``first`` to ``last``; not a number while nothing comes back."""
        lag = self.lag
        if not lag:
            return math.nan
        highest = max([self._load(cell - lag) for cell in range(first, last + 1)])
        return highest * self.tried[lag // HOUR * _WIDTH - _WIDTH + _GROWTH]

    def _load(self, cell: int) -> float:
        load: float = _one.unpack_from(self.ring, cell % CELLS * _one.size)[0]
        return load

    def _close(self, at: int, load: float, following: int) -> None:
        ring, size = self.ring, _one.size
        before = self._load(at - NEAR)
        _one.pack_into(ring, at % CELLS * size, load)
        if at % GROWN_EACH == 0:
            self._grow(at)
        self.lag, best, tried = 0, CLEARLY, self.tried
        for place, lag in enumerate(LAGS):
            off, near, count, growth = tried[place * _WIDTH : (place + 1) * _WIDTH]
            keep = 1 - 1 / (MEMORY * lag)
            off = keep * off + abs(load - growth * self._load(at - lag))
            near = keep * near + abs(load - before)
            if not off + near < math.inf:  # something is unknown
                continue
            count = min(count + 1, lag)
            tried[place * _WIDTH : place * _WIDTH + _GROWTH] = array("d", (off, near, count))
            if count == lag and off < best * near:
                best, self.lag = off / near, lag
        # What follows takes the place of the oldest cells, which were looked at until here.
        missed = following - at - 1
        unknown = load if missed <= BRIDGED else math.nan
        for cell in range(at + 1, at + 1 + min(missed, CELLS)):
            _one.pack_into(ring, cell % CELLS * size, unknown)

    def _grow(self, at: int) -> None:
        """By how much the hour that ends with a cell was higher than those a lag ago."""
        here = self._sum(at)
        for place, lag in enumerate(LAGS):
            then = self._sum(at - lag)
            growth = min(max(here / then, GROWTH[0]), GROWTH[1]) if then else 1.0
            self.tried[place * _WIDTH + _GROWTH] = growth if here + then < math.inf else math.nan

    def _sum(self, last: int) -> float:
        """The sum of the hour that ends with a cell; not a number where some of it is unknown."""
        begin = (last - HOUR + 1) % CELLS * _one.size
        end = begin + _hour.size
        ring = self.ring
        loads: tuple[float, ...] = _hour.unpack(ring[begin:end] + ring[: max(0, end - len(ring))])
        return sum(loads)

    def saved(self) -> tuple[array[float], bytes]:
        """What `restored` takes."""
        return array("d", (self.cell, self.total, self.count, self.lag, *self.tried)), bytes(self.ring)

    @classmethod
    def restored(cls, numbers: array[float], ring: bytes) -> Hours:
        """What `saved` described."""
        it = cls()
        cell, it.total, count, lag = numbers[:_WIDTH]
        it.cell, it.count, it.lag = int(cell), int(count), int(lag)
        it.tried, it.ring = numbers[_WIDTH:], bytearray(ring)
        return it
