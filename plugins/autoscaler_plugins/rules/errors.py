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
from autoscaler_plugins.rules.headroom import ERRORS_MIN, LOAD_MIN

ERRORS_MAX = 160
LEVEL_OFFSET = 8
"""A level is kept as a byte, and the lowest is below zero."""
_CODES = 65536
_MIDDLE = 32768
_FINENESS = 2000.0
_UNIT = 0.01
_NONE = array("H")
_asinh, _sinh, _frexp = math.asinh, math.sinh, math.frexp


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
    at ``place``; ``ordered``: the same codes by level, ascending."""

    __slots__ = ("capacity", "codes", "levels", "ordered", "place", "q", "ranks")

    def __init__(self, capacity: float, q: float) -> None:
        self.capacity, self.q, self.ranks = capacity, q, _ranks(q)
        self.codes = array("H")
        self.levels = bytearray()
        self.place = 0
        self.ordered: dict[int, array[int]] = {}

    def refill(self, codes: array[int], levels: bytes, place: int) -> None:
        """Become what a checkpoint says of the ring."""
        self.codes, self.levels, self.place = codes, bytearray(levels), place
        ordered: dict[int, list[int]] = {}
        for code, level in zip(codes, levels, strict=True):
            ordered.setdefault(level - LEVEL_OFFSET, []).append(code)
        self.ordered = {level: array("H", sorted(of)) for level, of in ordered.items()}

    # `headroom.bucket` and `code_of` are written out below: an evaluation does these two things eight times.

    def add(self, forecast: float, seen: float) -> None:
        """Keep how far a load was over its forecast; the oldest error of too many is dropped."""
        capacity = self.capacity
        replicas = forecast / capacity
        level = (_frexp(max(LOAD_MIN, replicas))[1] - 1) >> 1
        code = _MIDDLE + round(_FINENESS * _asinh((seen - forecast) / capacity / _UNIT))
        if not 0 < code < _CODES:
            code = 1 if code < 1 else _CODES - 1
        codes, levels = self.codes, self.levels
        if len(codes) < ERRORS_MAX:
            codes.append(code)
            levels.append(level + LEVEL_OFFSET)
        else:
            place = self.place
            old = self.ordered[levels[place] - LEVEL_OFFSET]
            del old[bisect_left(old, codes[place])]
            codes[place] = code
            levels[place] = level + LEVEL_OFFSET
            self.place = (place + 1) % ERRORS_MAX
        ordered = self.ordered.get(level)
        if ordered is None:
            ordered = self.ordered[level] = array("H")
        insort(ordered, code)

    def bound(self, forecast: float) -> float:
        """What the load stays below, by the errors at this level of forecasts; not a number where there is none."""
        if forecast != forecast:  # noqa: PLR0124 - not a number
            return forecast
        capacity = self.capacity
        replicas = forecast / capacity
        level = (_frexp(max(LOAD_MIN, replicas))[1] - 1) >> 1
        here = self.ordered.get(level, _NONE)
        count = len(here)
        error: float | None
        if count >= ERRORS_MIN:
            error = _UNIT * _sinh((here[self.ranks[count] - 1] - _MIDDLE) / _FINENESS)
        else:
            error = headroom.error_bound(level, self.ordered, self.q, replicas_of)
        if error is None:
            return headroom.UNTRIED_FACTOR * forecast
        error *= capacity
        least = -forecast / 2
        return forecast + max(least, error)
