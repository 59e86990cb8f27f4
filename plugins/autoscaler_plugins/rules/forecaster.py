"""The forecasters of `quantile_headroom`: four tiny models, how wrong each has been, and the best bound.

A `Forecaster` takes one mean load a period. It is small, for there may be one for each service: errors and the loads of
a day are kept as two-byte codes, fine near zero and relative far from it. `saved` and `restored` are exact inverses up
to single precision, and a forecaster goes on from what was restored, so that it answers the same after a restart.
"""

from __future__ import annotations

import base64
import math
import sys
from array import array
from bisect import bisect_left, insort
from typing import Any, NamedTuple

from autoscaler_plugins.rules import headroom

MODELS = ("last", "trend", "level", "season")
ERRORS_MAX = 480
RECENT_MAX = 128
HORIZON_MAX = RECENT_MAX - 8
TREND_S = 120.0
CELL_S = 120.0
DAY_CELLS = 720
LEVEL_CELLS = 15
LAST_SAMPLES = 3
TREND_SAMPLES_MIN = 4
SEASON_STEPS = 4
SEASON_CLIP = (0.5, 4.0)
FORGET = 0.99
HOUR_S = 3600.0
UNTRIED_LOSS = 1e9
_MIDDLE = 32768
_FINENESS = 2000.0
_UNIT = 0.01
_LEVEL_OFFSET = 8
_PENDING = 3 + 2 * len(MODELS)


class Forecast(NamedTuple):
    """The bound of the chosen model, and the trend; ``coverage``: share of the last hour's loads within their bounds,
    ``settled``: of how many."""

    model: str
    expected: float
    bound: float
    trend: float
    coverage: float
    settled: int


def code_of(replicas: float) -> int:
    """A load or an error in replicas as two bytes; the order is kept."""
    return min(65535, max(1, _MIDDLE + round(_FINENESS * math.asinh(replicas / _UNIT))))


def replicas_of(code: float) -> float:
    """What `code_of` was given, to 0.03 %."""
    return _UNIT * math.sinh((code - _MIDDLE) / _FINENESS)


class Errors:
    """The newest errors of one model, by the level of the forecast."""

    __slots__ = ("codes", "levels", "ordered", "place")

    def __init__(self) -> None:
        self.codes = array("H")
        self.levels = bytearray()
        self.place = 0
        self.ordered: dict[int, array[int]] = {}

    def add(self, level: int, code: int) -> None:
        """Keep one error; the oldest of too many is dropped."""
        if len(self.codes) < ERRORS_MAX:
            self.codes.append(code)
            self.levels.append(level + _LEVEL_OFFSET)
        else:
            old = self.ordered[self.levels[self.place] - _LEVEL_OFFSET]
            del old[bisect_left(old, self.codes[self.place])]
            self.codes[self.place] = code
            self.levels[self.place] = level + _LEVEL_OFFSET
            self.place = (self.place + 1) % ERRORS_MAX
        ordered = self.ordered.get(level)
        if ordered is None:
            ordered = self.ordered[level] = array("H")
        insort(ordered, code)


class Forecaster:
    """The state of one service: steps of equal length, in loads; ``capacity`` is the load that one replica carries."""

    __slots__ = (
        "capacity", "cell", "cells", "day", "errors", "hits", "losses", "pending", "period_s", "q", "recent",
        "settled", "slot",
    )  # fmt: skip

    def __init__(self, capacity: float, period_s: float, q: float) -> None:
        self.capacity, self.period_s, self.q = capacity, period_s, q
        self.slot: int | None = None
        self.recent = array("f")
        self.cell: tuple[int, float, int] = (-1, 0.0, 0)
        self.cells: list[float] = []
        self.day = array("H", bytes(2 * DAY_CELLS))
        self.errors = tuple(Errors() for _ in MODELS)
        self.losses = [UNTRIED_LOSS] * len(MODELS)
        self.pending: list[tuple[float, ...]] = []
        self.hits = self.settled = 0

    def step(self, slot: int, load: float, steps: int) -> Forecast:
        """Take the load of a period, learn from it, and forecast the highest of the next ``steps``."""
        if self.slot is None or slot - self.slot != 1:  # unknown in between stays unknown
            del self.recent[:]
            self.pending.clear()
            if self.slot is not None and (slot - self.slot) * self.period_s > LEVEL_CELLS * CELL_S:
                self.cells.clear()
        self.slot = slot
        recent = self.recent
        recent.append(load)
        if len(recent) > RECENT_MAX:
            del recent[0]
        self._into_cell(slot, load)
        while self.pending and self.pending[0][0] <= slot:
            self._learn(self.pending.pop(0))
        steps = min(steps, HORIZON_MAX)
        expected = self._expected(slot, steps)
        bounds = [self._bound(model, value) for model, value in enumerate(expected)]
        known = [model for model, value in enumerate(expected) if value == value]  # noqa: PLR0124 - not a number
        best = min(known, key=self.losses.__getitem__)
        due = slot + steps
        if self.pending and self.pending[-1][0] > due:  # a shorter start-up was learnt
            self.pending = [entry for entry in self.pending if entry[0] <= due]
        self.pending.append((due, steps, best, *expected, *bounds))
        coverage = self.hits.bit_count() / self.settled if self.settled else 1.0
        trend = expected[1]
        return Forecast(
            MODELS[best], expected[best], bounds[best], load if math.isnan(trend) else trend, coverage, self.settled
        )

    def _into_cell(self, slot: int, load: float) -> None:
        index = int(slot * self.period_s // CELL_S)
        at, total, count = self.cell
        if index == at:
            self.cell = (at, total + load, count + 1)
            return
        if count:
            mean = total / count
            self.cells.append(mean)
            if len(self.cells) > LEVEL_CELLS:
                del self.cells[0]
            for missed in range(at + 1, min(index, at + DAY_CELLS)):
                self.day[missed % DAY_CELLS] = 0
            self.day[at % DAY_CELLS] = code_of(mean / self.capacity)
        self.cell = (index, load, 1)

    def _expected(self, slot: int, steps: int) -> tuple[float, ...]:
        """The forecast of each model; not a number where it has none."""
        recent, least = self.recent, headroom.LOAD_MIN * self.capacity
        newest = recent[-LAST_SAMPLES:]
        last = sum(newest) / len(newest)
        width = max(TREND_SAMPLES_MIN, int(TREND_S // self.period_s))
        trend = level = season = math.nan
        if len(recent) >= TREND_SAMPLES_MIN:
            trend = max(headroom.trend(recent[-width:], steps), least)
        if self.cells:
            level = max(sum(self.cells) / len(self.cells), least)
        before = int(slot * self.period_s // CELL_S)  # a day ago, as the ring is a day long
        then = self.day[before % DAY_CELLS]
        reach = math.ceil((steps + SEASON_STEPS) * self.period_s / CELL_S)
        highest = max(self.day[(before + i) % DAY_CELLS] for i in range(1, reach + 1)) if then else 0
        if highest:
            grown = replicas_of(highest) / max(replicas_of(then), headroom.LOAD_MIN)
            season = max(last * min(max(grown, SEASON_CLIP[0]), SEASON_CLIP[1]), least)
        return max(last, least), trend, level, season

    def _bound(self, model: int, expected: float) -> float:
        if expected != expected:  # noqa: PLR0124 - not a number
            return expected
        level = headroom.bucket(expected, self.capacity)
        error = headroom.error_bound(level, self.errors[model].ordered, self.q, replicas_of)
        if error is None:
            return headroom.UNTRIED_FACTOR * expected
        return expected + max(error * self.capacity, -expected / 2)

    def _learn(self, entry: tuple[float, ...]) -> None:
        """Compare what was forecast with the highest load that came."""
        _, steps, best, *rest = entry
        seen = max(self.recent[-int(steps) :])
        capacity, q = self.capacity, self.q
        count = len(MODELS)
        for model in range(count):
            expected, bound = rest[model], rest[count + model]
            if expected != expected:  # noqa: PLR0124 - not a number
                continue
            self.errors[model].add(headroom.bucket(expected, capacity), code_of((seen - expected) / capacity))
            loss = headroom.pinball(q, seen, bound) / capacity
            before = self.losses[model]
            self.losses[model] = loss if before == UNTRIED_LOSS else FORGET * before + (1 - FORGET) * loss
        hour = max(1, int(HOUR_S // self.period_s))
        self.hits = (self.hits << 1 | (seen <= rest[count + int(best)])) & ((1 << hour) - 1)
        self.settled = min(self.settled + 1, hour)

    def saved(self) -> dict[str, Any]:
        """JSON values that `restored` reads; the forecaster itself goes on from what they hold."""
        slot = self.slot or 0
        pending = array("f", [n for due, *rest in self.pending for n in (due - slot, *rest)])
        self.pending = _entries_of(pending, slot)
        cells = array("f", [*self.cells, self.cell[1]])
        *self.cells, total = cells.tolist()
        self.cell = (self.cell[0], total, self.cell[2])
        codes = b"".join(_bytes_of(errors.codes) + errors.levels for errors in self.errors)
        return {
            "slot": self.slot,
            "errors": [[len(errors.codes), errors.place] for errors in self.errors],
            "codes": _text_of(codes),
            "day": _text_of(_bytes_of(self.day)) if any(self.day) else "",
            "recent": _text_of(_bytes_of(self.recent)),
            "cells": _text_of(_bytes_of(cells)),
            "cell": [self.cell[0], self.cell[2]],
            "losses": list(self.losses),
            "pending": _text_of(_bytes_of(pending)),
            "hits": [f"{self.hits:x}", self.settled],
        }

    @classmethod
    def restored(cls, saved: dict[str, Any], capacity: float, period_s: float, q: float) -> Forecaster:
        """The forecaster that was saved."""
        it = cls(capacity, period_s, q)
        it.slot = saved["slot"]
        it.recent = _array_of("f", saved["recent"])
        *it.cells, total = _array_of("f", saved["cells"]).tolist()
        it.cell = (saved["cell"][0], total, saved["cell"][1])
        if saved["day"]:
            it.day = _array_of("H", saved["day"])
        it.losses = list(saved["losses"])
        it.hits, it.settled = int(saved["hits"][0], 16), saved["hits"][1]
        it.pending = _entries_of(_array_of("f", saved["pending"]), it.slot or 0)
        codes, at = base64.b64decode(saved["codes"]), 0
        for errors, (count, place) in zip(it.errors, saved["errors"], strict=True):
            errors.codes = _array("H", codes[at : at + 2 * count])
            errors.levels = bytearray(codes[at + 2 * count : at + 3 * count])
            errors.place = place
            at += 3 * count
            for code, level in zip(errors.codes, errors.levels, strict=True):
                errors.ordered.setdefault(level - _LEVEL_OFFSET, array("H")).append(code)
            errors.ordered = {level: array("H", sorted(of)) for level, of in errors.ordered.items()}
        return it


def _entries_of(flat: array[Any], slot: int) -> list[tuple[float, ...]]:
    return [(slot + int(flat[i]), *flat[i + 1 : i + _PENDING]) for i in range(0, len(flat), _PENDING)]


def _bytes_of(numbers: array[Any]) -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _array(kind: str, raw: bytes) -> array[Any]:
    numbers: array[Any] = array(kind)
    numbers.frombytes(raw)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _array_of(kind: str, text: str) -> array[Any]:
    return _array(kind, base64.b64decode(text))


def _text_of(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
