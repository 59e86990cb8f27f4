"""How wrong one model of `quantile_headroom` has been of late, and what bound follows from it.

Errors are kept as two-byte codes, fine near zero and relative far from it, for there may be a ring of them for each
model of each service. They are ordered by the level of the forecast, so that a quantile is one look.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, insort
from functools import lru_cache

from autoscaler_plugins.rules import headroom
from autoscaler_plugins.rules.headroom import ERRORS_MIN

ERRORS_MAX = 160
LEVEL_OFFSET = 8
"""A level is kept as a byte, and the lowest is below zero."""
_CODES = 65536
_MIDDLE = 32768
_FINENESS = 2000.0
_UNIT = 0.01
_asinh, _sinh = math.asinh, math.sinh


def code_of(replicas: float) -> int:
    """A load or an error in replicas as two bytes; the order is kept."""
    code = _MIDDLE + round(_FINENESS * _asinh(replicas / _UNIT))
    return code if 0 < code < _CODES else 1 if code < 1 else _CODES - 1


def replicas_of(code: float) -> float:
    """What `code_of` was given, to 0.03 %."""
    return _UNIT * _sinh((code - _MIDDLE) / _FINENESS)


@lru_cache(maxsize=64)
def _ranks(q: float) -> tuple[int, ...]:
    """Which error bounds the next one, by how many there are; the first is of none, and stands for nothing."""
    return tuple(headroom.rank(q, count) for count in range(ERRORS_MAX + 1))


class Errors:
    """The newest errors of one model, by the level of the forecast. ``codes`` and ``levels`` are a ring whose oldest is
    at ``place``; ``ordered``: the same codes by level, ascending. ``level`` is that of the forecast looked at last:
    those from ``low`` to below ``high``, whose errors are ``here``."""

    __slots__ = ("capacity", "codes", "here", "high", "level", "levels", "low", "ordered", "place", "q", "ranks")

    def __init__(self, capacity: float, q: float) -> None:
        self.capacity, self.q, self.ranks = capacity, q, _ranks(q)
        self.refill(array("H"), b"", 0)

    def refill(self, codes: array[int], levels: bytes, place: int) -> None:
        """Become what a checkpoint says of the ring."""
        self.codes, self.levels, self.place = codes, bytearray(levels), place
        ordered: dict[int, list[int]] = {}
        for code, level in zip(codes, levels, strict=True):
            ordered.setdefault(level - LEVEL_OFFSET, []).append(code)
        self.ordered = {level: array("H", sorted(of)) for level, of in ordered.items()}
        self._turn_to(0.0)

    def _turn_to(self, forecast: float) -> None:
        self.level = level = headroom.bucket(forecast, self.capacity)
        self.low = self.capacity * headroom.LEVEL_FACTOR**level
        self.high = self.low * headroom.LEVEL_FACTOR
        self.here = self.ordered.setdefault(level, array("H"))

    def add(self, forecast: float, seen: float) -> None:
        """Keep how far a load was over its forecast; the oldest error of too many is dropped."""
        if not self.low <= forecast < self.high:
            self._turn_to(forecast)
        # `code_of` is written out: an evaluation does this four times
        code = _MIDDLE + round(_FINENESS * _asinh((seen - forecast) / self.capacity / _UNIT))
        if not 0 < code < _CODES:
            code = 1 if code < 1 else _CODES - 1
        codes, levels, level = self.codes, self.levels, self.level + LEVEL_OFFSET
        if len(codes) < ERRORS_MAX:
            codes.append(code)
            levels.append(level)
        else:
            place = self.place
            old = self.here if levels[place] == level else self.ordered[levels[place] - LEVEL_OFFSET]
            del old[bisect_left(old, codes[place])]
            codes[place] = code
            levels[place] = level
            self.place = (place + 1) % ERRORS_MAX
        insort(self.here, code)

    def bound(self, forecast: float) -> float:
        """What the load stays below, by the errors at this level of forecasts; not a number where there is none."""
        if not self.low <= forecast < self.high:
            if forecast != forecast:  # noqa: PLR0124 - not a number
                return forecast
            self._turn_to(forecast)
        here = self.here
        count = len(here)
        error: float | None
        if count >= ERRORS_MIN:
            error = _UNIT * _sinh((here[self.ranks[count] - 1] - _MIDDLE) / _FINENESS)
        else:
            error = headroom.error_bound(self.level, self.ordered, self.q, replicas_of)
        if error is None:
            return headroom.UNTRIED_FACTOR * forecast
        return forecast + max(error * self.capacity, -forecast / 2)
