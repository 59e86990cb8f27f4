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
BRIDGED_S = 60.0
FORGET_NOISE = 0.95
FORGET = 0.99
FORGET_RISE = 0.98
TRUSTED = 0.8
"""How much nearer the mark a rise that goes on has to be than one that stays: noise looks a little like it, too."""
SURPRISE = 2.0
"""A load so many times as far over the forecast as its bound is a surprise: of a normal error, one in 50,000."""
SURPRISE_LEAST = 0.1
"""Of the forecast: an error that is less surprises nobody."""
HOUR_S = 3600.0
UNTRIED_LOSS = 1e9
_CODES = 65536
_MIDDLE = 32768
_FINENESS = 2000.0
_UNIT = 0.01
_LEVEL_OFFSET = 8
_COUNT = len(MODELS)
_PENDING = 4 + 2 * _COUNT
_asinh, _sinh, _frexp = math.asinh, math.sinh, math.frexp
LOAD_MIN = headroom.LOAD_MIN


class Forecast(NamedTuple):
    """The bound of the chosen model, and the trend; ``coverage``: share of the last hour's loads within their bounds,
    ``settled``: of how many. ``surprised``: the load has just left what was thought possible, so that no bound that was
    learnt before says much."""

    model: str
    expected: float
    bound: float
    trend: float
    coverage: float
    settled: int
    surprised: bool = False


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
        codes, levels = self.codes, self.levels
        if len(codes) < ERRORS_MAX:
            codes.append(code)
            levels.append(level + _LEVEL_OFFSET)
        else:
            place = self.place
            old = self.ordered[levels[place] - _LEVEL_OFFSET]
            del old[bisect_left(old, codes[place])]
            codes[place] = code
            levels[place] = level + _LEVEL_OFFSET
            self.place = (place + 1) % ERRORS_MAX
        ordered = self.ordered.get(level)
        if ordered is None:
            ordered = self.ordered[level] = array("H")
        insort(ordered, code)


class Forecaster:
    """The state of one service: steps of equal length, in loads; ``capacity`` is the load that one replica carries."""

    __slots__ = (
        "capacity",
        "cell",
        "cells",
        "day",
        "errors",
        "hits",
        "losses",
        "noise",
        "outlook",
        "pending",
        "period_s",
        "q",
        "ranks",
        "recent",
        "rises",
        "settled",
        "slot",
        "surprised",
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
        self.rises = (0.0, 0.0)
        self.outlook = math.inf
        self.surprised = -1

    def step(self, slot: int, load: float, steps: int) -> Forecast:
        """Take the load of a period, learn from it, and forecast the highest of the next ``steps``."""
        recent = self.recent
        if self.slot is None or slot - self.slot != 1:
            self._pass_over(slot, load)
        self.slot = slot
        recent.append(load)
        if len(recent) > RECENT_MAX:
            del recent[:-RECENT_MAX]
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
        stays, goes_on = self.rises  # a trend is shown before it is trusted
        trend = expected[1] if goes_on < TRUSTED * stays and expected[1] > load else load
        if load > self.outlook:
            self.surprised = slot + steps
        likely = expected[best]
        self.outlook = likely + SURPRISE * max(bound - likely, SURPRISE_LEAST * likely)
        return Forecast(MODELS[best], likely, bound, trend, coverage, self.settled, slot < self.surprised)

    def _pass_over(self, slot: int, load: float) -> None:
        """Periods without a sample: a line where they are few, as when samples come out of step; else unknown."""
        missed = 0 if self.slot is None else slot - self.slot - 1
        if self.recent and 0 < missed * self.period_s <= BRIDGED_S:
            last = self.recent[-1]
            self.recent.extend(last + (load - last) * place / (missed + 1) for place in range(1, missed + 1))
            return
        del self.recent[:]
        self.pending.clear()
        if missed * self.period_s > LEVEL_CELLS * CELL_S:
            del self.cells[:]

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
        replicas = expected / self.capacity
        level = (_frexp(max(LOAD_MIN, replicas))[1] - 1) >> 1
        ordered = self.errors[model].ordered
        here = ordered.get(level)
        if here is not None and (count := len(here)) >= headroom.ERRORS_MIN:
            error: float | None = _UNIT * _sinh((here[self.ranks[count] - 1] - _MIDDLE) / _FINENESS)
        else:
            error = headroom.error_bound(level, ordered, self.q, replicas_of)
        if error is None:
            return headroom.UNTRIED_FACTOR * expected
        error *= self.capacity
        return expected + (max(-expected / 2, error))

    def _learn(self, entry: array[float]) -> None:
        """Compare what was forecast with the highest load that came."""
        _, steps, best, here, *rest = entry
        seen = max(self.recent[-int(steps) :])
        capacity, q = self.capacity, self.q
        losses = self.losses.get(int(here))
        if losses is None:
            losses = self.losses[int(here)] = array("d", [UNTRIED_LOSS] * _COUNT)
        for model, errors in enumerate(self.errors):
            expected = rest[model]
            if expected != expected:  # noqa: PLR0124 - not a number
                continue
            # bucket() and code_of(), written out: this is what an evaluation does most
            replicas, error = expected / capacity, (seen - expected) / capacity
            level = (_frexp(max(LOAD_MIN, replicas))[1] - 1) >> 1
            code = _MIDDLE + round(_FINENESS * _asinh(error / _UNIT))
            errors.add(level, code if 0 < code < _CODES else 1 if code < 1 else _CODES - 1)
            over = seen - rest[_COUNT + model]
            loss = (q * over if over > 0 else (q - 1) * over) / capacity
            before = losses[model]
            losses[model] = loss if before == UNTRIED_LOSS else FORGET * before + (1 - FORGET) * loss
        self._note_rise(rest[0], rest[1], seen)
        hour = max(1, int(HOUR_S // (self.period_s * -(-int(steps) // KEPT))))
        self.hits = (self.hits << 1 | (seen <= rest[_COUNT + int(best)])) & ((1 << hour) - 1)
        self.settled = min(self.settled + 1, hour)

    def _note_rise(self, now: float, quick: float, seen: float) -> None:
        """Of late, how far off it was that a rise stays where it is, and that it goes on."""
        if quick > now:
            stays, goes_on = self.rises
            self.rises = (
                FORGET_RISE * stays + abs(seen - now) / self.capacity,
                FORGET_RISE * goes_on + abs(seen - quick) / self.capacity,
            )

    def saved(self) -> str:
        """A text that `restored` reads; the forecaster itself goes on from what it holds."""
        slot = self.slot or 0
        pending = array("f", [n for entry in self.pending for n in (entry[0] - slot, *entry[1:])])
        self.pending = _entries_of(pending, slot)
        losses = array("f", [n for level, of in self.losses.items() for n in (level, *of)])
        self.losses = _losses_of(losses)
        counts = array("q", [slot, self.slot is not None, self.settled, self.surprised])
        counts.extend(n for errors in self.errors for n in (len(errors.codes), errors.place))
        codes = b"".join(_bytes_of(errors.codes) + errors.levels for errors in self.errors)
        state = array("d", [self.noise, self.outlook, *self.rises, *self.cell])
        day = self.day if any(self.day) else array("H")
        parts = (_bytes_of(part) for part in (counts, state, day, self.recent, self.cells, losses, pending))
        return ":".join([f"{self.hits:x}", *map(_text_of, (codes, *parts))])

    @classmethod
    def restored(cls, saved: str, capacity: float, period_s: float, q: float) -> Forecaster:
        """The forecaster that was saved."""
        it = cls(capacity, period_s, q)
        hits, codes_text, counts_text, state, day, recent, cells, losses, pending = saved.split(":")
        slot, begun, it.settled, it.surprised, *sizes = _array_of("q", counts_text)
        it.slot = slot if begun else None
        it.recent = _array_of("f", recent)
        it.cells = _array_of("f", cells)
        it.noise, it.outlook, stays, goes_on, at_cell, total, count = _array_of("d", state)
        it.rises, it.cell = (stays, goes_on), (int(at_cell), total, int(count))
        if day:
            it.day = _array_of("H", day)
        it.losses = _losses_of(_array_of("f", losses))
        it.hits = int(hits, 16)
        it.pending = _entries_of(_array_of("f", pending), slot)
        codes, at = base64.b64decode(codes_text), 0
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
