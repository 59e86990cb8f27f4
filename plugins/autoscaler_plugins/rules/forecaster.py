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
from functools import lru_cache
from typing import Any, NamedTuple

from autoscaler_plugins.rules import headroom

MODELS = ("now", "quick", "level", "season")
ERRORS_MAX = 160
KEPT = 5
"""Forecasts in a horizon that are remembered until what they forecast is known: they overlap, and more of them say
little more."""
RECENT_MAX = 128
HORIZON_MAX = RECENT_MAX - 8
TREND_S = 120.0
CELL_S = 120.0
DAY_CELLS = 720
LEVEL_CELLS = 15
LAST_SAMPLES = 3
SEASON_STEPS = 4
SEASON_CLIP = (0.5, 4.0)
ALLOWED = 0.03
"""Of the load, or of half a replica: what noise may do to the end of a line."""
FORGET_NOISE = 0.95
FORGET = 0.99
HOUR_S = 3600.0
UNTRIED_LOSS = 1e9
_CODES = 65536
_MIDDLE = 32768
_FINENESS = 2000.0
_UNIT = 0.01
_LEVEL_OFFSET = 8
_PENDING = 4 + 2 * len(MODELS)


_asinh, _sinh = math.asinh, math.sinh


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
        "capacity", "cell", "cells", "day", "errors", "hits", "losses", "noise", "pending", "period_s", "q", "ranks",
        "recent", "settled", "slot",
    )  # fmt: skip

    def __init__(self, capacity: float, period_s: float, q: float) -> None:
        self.capacity, self.period_s, self.q = capacity, period_s, q
        self.ranks = _ranks(q)
        self.slot: int | None = None
        self.recent = array("f")
        self.noise = -1.0
        self.cell: tuple[int, float, int] = (-1, 0.0, 0)
        self.cells = array("f")
        self.day = array("H", bytes(2 * DAY_CELLS))
        self.errors = tuple(Errors() for _ in MODELS)
        self.losses: dict[int, array[float]] = {}
        self.pending: list[array[float]] = []
        self.hits = self.settled = 0

    def step(self, slot: int, load: float, steps: int) -> Forecast:
        """Take the load of a period, learn from it, and forecast the highest of the next ``steps``."""
        if self.slot is None or slot - self.slot != 1:  # unknown in between stays unknown
            del self.recent[:]
            self.pending.clear()
            if self.slot is not None and (slot - self.slot) * self.period_s > LEVEL_CELLS * CELL_S:
                del self.cells[:]
        self.slot = slot
        recent = self.recent
        recent.append(load)
        if len(recent) > RECENT_MAX:
            del recent[0]
        self._note_noise()
        self._into_cell(slot, load)
        while self.pending and self.pending[0][0] <= slot:
            self._learn(self.pending.pop(0))
        steps = min(steps, HORIZON_MAX)
        here = headroom.bucket(load, self.capacity)
        expected = self._expected(slot, load, steps)
        losses = self._losses_at(here)
        best = 0  # which always forecasts
        for model in range(1, len(MODELS)):
            if losses[model] < losses[best] and expected[model] == expected[model]:
                best = model
        if slot % -(-steps // KEPT) == 0:
            bounds = [self._bound(model, value) for model, value in enumerate(expected)]
            bound = bounds[best]
            due = slot + steps
            if self.pending and self.pending[-1][0] > due:  # a shorter start-up was learnt
                self.pending = [entry for entry in self.pending if entry[0] <= due]
            self.pending.append(array("d", (due, steps, best, here, *expected, *bounds)))
        else:
            bound = self._bound(best, expected[best])
        coverage = self.hits.bit_count() / self.settled if self.settled else 1.0
        trend = expected[1]
        trend = load if trend != trend else trend  # noqa: PLR0124 - not a number
        return Forecast(MODELS[best], expected[best], bound, trend, coverage, self.settled)

    def _note_noise(self) -> None:
        """The variance of one sample: of white noise, a second difference has six times it."""
        if len(self.recent) > 2:  # noqa: PLR2004 - a second difference takes three
            first, second, third = self.recent[-3:]
            seen = (first - 2 * second + third) ** 2 / 6
            self.noise = seen if self.noise < 0 else FORGET_NOISE * self.noise + (1 - FORGET_NOISE) * seen

    def _losses_at(self, level: int) -> array[float]:
        """How each model has done at this level of load, or else at the nearest one."""
        losses = self.losses.get(level)
        if losses is not None:
            return losses
        if not self.losses:
            return array("d", [UNTRIED_LOSS] * len(MODELS))
        return self.losses[min(self.losses, key=lambda at: (abs(at - level), at))]

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

    def _expected(self, slot: int, load: float, steps: int) -> tuple[float, ...]:
        """The forecast of each model; not a number where it has none."""
        recent, capacity = self.recent, self.capacity
        least = headroom.LOAD_MIN * capacity
        quick = level = season = math.nan
        if len(recent) > 2:  # noqa: PLR2004 - fewer say nothing of noise
            width = max(LAST_SAMPLES, int(TREND_S // self.period_s))
            allowed = ALLOWED * max(load, capacity / 2)
            quick = max(headroom.honest_trend(recent[-width:], steps, math.sqrt(self.noise), allowed), least)
        if self.cells:
            level = max(sum(self.cells) / len(self.cells), least)
        before = int(slot * self.period_s // CELL_S)  # a day ago, as the ring is a day long
        then = self.day[before % DAY_CELLS]
        if then:
            reach = math.ceil((steps + SEASON_STEPS) * self.period_s / CELL_S)
            at = before % DAY_CELLS + 1
            ahead = self.day[at : at + reach]
            if len(ahead) < reach:
                ahead += self.day[: reach - len(ahead)]
            highest = max(ahead)
            if highest:
                newest = recent[-LAST_SAMPLES:]
                grown = replicas_of(highest) / max(replicas_of(then), headroom.LOAD_MIN)
                season = sum(newest) / len(newest) * min(max(grown, SEASON_CLIP[0]), SEASON_CLIP[1])
                season = max(season, least)
        return max(load, least), quick, level, season

    def _bound(self, model: int, expected: float) -> float:
        """What loads stay below, by the model's errors at this level; not a number where it forecasts none."""
        if expected != expected:  # noqa: PLR0124 - not a number
            return expected
        level = headroom.bucket(expected, self.capacity)
        ordered = self.errors[model].ordered
        here = ordered.get(level)
        error: float | None
        if here is not None and len(here) >= headroom.ERRORS_MIN:
            error = replicas_of(here[self.ranks[len(here)] - 1])
        else:
            error = headroom.error_bound(level, ordered, self.q, replicas_of)
        if error is None:
            return headroom.UNTRIED_FACTOR * expected
        return expected + max(error * self.capacity, -expected / 2)

    def _learn(self, entry: array[float]) -> None:
        """Compare what was forecast with the highest load that came."""
        _, steps, best, here, *rest = entry
        seen = max(self.recent[-int(steps) :])
        capacity, q = self.capacity, self.q
        count = len(MODELS)
        losses = self.losses.get(int(here))
        if losses is None:
            losses = self.losses[int(here)] = array("d", [UNTRIED_LOSS] * count)
        for model, errors in enumerate(self.errors):
            expected, bound = rest[model], rest[count + model]
            if expected != expected:  # noqa: PLR0124 - not a number
                continue
            errors.add(headroom.bucket(expected, capacity), code_of((seen - expected) / capacity))
            over = seen - bound
            loss = (q * over if over > 0 else (q - 1) * over) / capacity
            before = losses[model]
            losses[model] = loss if before == UNTRIED_LOSS else FORGET * before + (1 - FORGET) * loss
        hour = max(1, int(HOUR_S // (self.period_s * -(-int(steps) // KEPT))))
        self.hits = (self.hits << 1 | (seen <= rest[count + int(best)])) & ((1 << hour) - 1)
        self.settled = min(self.settled + 1, hour)

    def saved(self) -> dict[str, Any]:
        """JSON values that `restored` reads; the forecaster itself goes on from what they hold."""
        slot = self.slot or 0
        pending = array("f", [n for entry in self.pending for n in (entry[0] - slot, *entry[1:])])
        self.pending = _entries_of(pending, slot)
        losses = array("f", [n for level, of in self.losses.items() for n in (level, *of)])
        self.losses = _losses_of(losses)
        state = array("d", [self.noise, *self.cell])
        codes = b"".join(_bytes_of(errors.codes) + errors.levels for errors in self.errors)
        return {
            "slot": self.slot,
            "errors": [n for errors in self.errors for n in (len(errors.codes), errors.place)],
            "codes": _text_of(codes),
            "day": _text_of(_bytes_of(self.day)) if any(self.day) else "",
            "recent": _text_of(_bytes_of(self.recent)),
            "cells": _text_of(_bytes_of(self.cells)),
            "state": _text_of(_bytes_of(state)),
            "losses": _text_of(_bytes_of(losses)),
            "pending": _text_of(_bytes_of(pending)),
            "hits": f"{self.hits:x}",
            "settled": self.settled,
        }

    @classmethod
    def restored(cls, saved: dict[str, Any], capacity: float, period_s: float, q: float) -> Forecaster:
        """The forecaster that was saved."""
        it = cls(capacity, period_s, q)
        it.slot = saved["slot"]
        it.recent = _array_of("f", saved["recent"])
        it.cells = _array_of("f", saved["cells"])
        it.noise, at, total, count = _array_of("d", saved["state"])
        it.cell = (int(at), total, int(count))
        if saved["day"]:
            it.day = _array_of("H", saved["day"])
        it.losses = _losses_of(_array_of("f", saved["losses"]))
        it.hits, it.settled = int(saved["hits"], 16), saved["settled"]
        it.pending = _entries_of(_array_of("f", saved["pending"]), it.slot or 0)
        codes, at = base64.b64decode(saved["codes"]), 0
        sizes = saved["errors"]
        for errors, count, place in zip(it.errors, sizes[::2], sizes[1::2], strict=True):
            errors.codes = _array("H", codes[at : at + 2 * count])
            errors.levels = bytearray(codes[at + 2 * count : at + 3 * count])
            errors.place = place
            at += 3 * count
            for code, level in zip(errors.codes, errors.levels, strict=True):
                errors.ordered.setdefault(level - _LEVEL_OFFSET, array("H")).append(code)
            errors.ordered = {level: array("H", sorted(of)) for level, of in errors.ordered.items()}
        return it


def _entries_of(flat: array[float], slot: int) -> list[array[float]]:
    return [array("d", (slot + flat[i], *flat[i + 1 : i + _PENDING])) for i in range(0, len(flat), _PENDING)]


def _losses_of(flat: array[float]) -> dict[int, array[float]]:
    width = 1 + len(MODELS)
    return {int(flat[i]): array("d", flat[i + 1 : i + width]) for i in range(0, len(flat), width)}


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
