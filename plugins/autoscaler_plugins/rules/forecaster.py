"""The forecasters of `quantile_headroom`: four tiny models, how wrong each has been, and the best bound.

A `Forecaster` takes one mean load a period. It is small, for there may be one for each service: errors and the loads of
a day are kept as two-byte codes. `saved` and `restored` are exact inverses up to single precision, and a forecaster
goes on from what was restored, so that it answers the same after a restart.

What a step needs of the past is kept as it is needed, and worked out anew only where it may have changed.
"""

from __future__ import annotations

import base64
import math
import sys
from array import array
from functools import lru_cache
from typing import Any, NamedTuple

from autoscaler_plugins.rules import headroom
from autoscaler_plugins.rules.errors import Errors, code_of, replicas_of
from autoscaler_plugins.rules.hours import CELL_S as MINUTE_S
from autoscaler_plugins.rules.hours import Hours
from autoscaler_plugins.rules.rises import Rises

MODELS = ("now", "quick", "level", "season")
KEPT = 5
"""Forecasts in a horizon that are remembered until what they forecast is known: they overlap, and more of them say
little more."""
HORIZON_MAX = 120
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
NEAR = 1.03
"""Of a bound: a load that exceeds it by less is within it, as services keep so much over it anyway."""
SETTLED_MIN = headroom.ERRORS_MIN
"""Forecasts that have to be known before another model than `now` is chosen: of fewer, chance chooses."""
SURPRISE = 2.0
"""A load so many times as far over the forecast as its bound is a surprise: of a normal error, one in 50,000."""
SURPRISE_LEAST = 0.1
"""Of the forecast: an error that is less surprises nobody."""
HOUR_S = 3600.0
UNTRIED_LOSS = 1e9
_COUNT = len(MODELS)
_OTHERS = range(1, _COUNT)
_SEASON = MODELS.index("season")
_LOOKED_AT = 4
"""What a forecast is kept with: slot when it is due, steps ahead, best model, level of the load."""
_PENDING = _LOOKED_AT + 2 * _COUNT
_UNTRIED = [UNTRIED_LOSS] * _COUNT
_LEARN_NOISE, _LEARN = 1 - FORGET_NOISE, 1 - FORGET

Pending = tuple[int, int, int, int, tuple[float, ...], tuple[float, ...]]
"""`_LOOKED_AT`, then what each model forecast, and its bound."""


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


@lru_cache(maxsize=256)
def _an_hour(period_s: float, steps: int) -> tuple[int, int]:
    """How many forecasts are made in an hour, and as many bits."""
    count = max(1, int(HOUR_S // (period_s * -(-steps // KEPT))))
    return count, (1 << count) - 1


class Forecaster:
    """The state of one service: steps of equal length, in loads; ``capacity`` is the load that one replica carries.

    ``level``, ``growth``: what the models of those names say in this cell, not a number where they say nothing;
    ``looked_ahead``: for how many steps ``growth`` holds, 0 where it has to be worked out.
    """

    __slots__ = (
        "capacity",
        "cell",
        "cells",
        "day",
        "errors",
        "growth",
        "hits",
        "hours",
        "least",
        "level",
        "looked_ahead",
        "losses",
        "noise",
        "outlook",
        "pending",
        "period_s",
        "q",
        "recent",
        "rises",
        "settled",
        "slot",
        "surprised",
        "width",
    )  # fmt: skip

    def __init__(self, capacity: float, period_s: float, q: float) -> None:
        self.capacity, self.period_s, self.q = capacity, period_s, q
        self.least = headroom.LOAD_MIN * capacity
        self.width = max(LAST_SAMPLES, int(TREND_S // period_s))
        self.slot: int | None = None
        self.recent = array("f")
        self.noise = -1.0
        self.cell: tuple[int, float, int] = (-1, 0.0, 0)
        self.cells = array("f")
        self.day = array("H", bytes(2 * DAY_CELLS))
        self.level = self.growth = math.nan
        self.looked_ahead = 0
        self.errors = tuple(Errors(capacity, q) for _ in MODELS)
        self.losses: dict[int, list[float]] = {}
        self.pending: list[Pending] = []
        self.hits = self.settled = 0
        self.rises = Rises()
        self.hours = Hours()
        self.outlook = math.inf
        self.surprised = -1

    def step(self, slot: int, load: float, steps: int) -> Forecast:
        """Take the load of a period, learn from it, and forecast the highest of the next ``steps``."""
        self._take(slot, load)
        pending = self.pending
        while pending and pending[0][0] <= slot:
            self._learn(pending.pop(0))
        steps = min(steps, HORIZON_MAX)
        longest = max(self.width, steps, pending[0][1] if pending else 0)
        if len(self.recent) > longest:
            del self.recent[:-longest]
        here = headroom.bucket(load, self.capacity)
        expected = self._expected(load, steps)
        best = self._best(here, expected)
        likely = expected[best]
        if slot % -(-steps // KEPT):
            bound = self.errors[best].bound(likely)
        else:
            first, second, third, fourth = self.errors
            bounds = (
                first.bound(expected[0]), second.bound(expected[1]), third.bound(expected[2]), fourth.bound(expected[3])
            )  # fmt: skip
            bound, due = bounds[best], slot + steps
            if pending and pending[-1][0] > due:  # a shorter start-up was learnt
                self.pending = pending = [entry for entry in pending if entry[0] <= due]
            pending.append((due, steps, best, here, expected, bounds))
        coverage = self.hits.bit_count() / self.settled if self.settled else 1.0
        trend = self.rises.trend(load, expected[1])
        if best == _SEASON and self.hours.lag:
            trend = max(trend, likely)
        if load > self.outlook:
            self.surprised = slot + steps
        self.outlook = likely + SURPRISE * max(bound - likely, SURPRISE_LEAST * likely)
        return Forecast(MODELS[best], likely, bound, trend, coverage, self.settled, slot < self.surprised)

    def _best(self, level: int, expected: tuple[float, ...]) -> int:
        """The model that has done best at this level of load; what comes back by the clock is not forgotten between."""
        best = 0  # which always forecasts
        if self.settled >= SETTLED_MIN:
            losses = self._losses_at(level)
            least = losses[0]
            for model in _OTHERS:
                if losses[model] < least and expected[model] == expected[model]:
                    best, least = model, losses[model]
        return _SEASON if self.hours.lag and expected[_SEASON] > expected[best] else best

    def _take(self, slot: int, load: float) -> None:
        """Add the load of a period to what is kept of the past."""
        if self.slot is None or slot - self.slot != 1:
            self._pass_over(slot, load)
        self.slot = slot
        recent = self.recent
        recent.append(load)
        if len(recent) > 2:  # noqa: PLR2004 - a second difference takes three, and of white noise has six variances
            seen = (recent[-3] - 2 * recent[-2] + recent[-1]) ** 2 / 6
            self.noise = seen if self.noise < 0 else FORGET_NOISE * self.noise + _LEARN_NOISE * seen
        index = int(slot * self.period_s // CELL_S)
        at, total, count = self.cell
        if index == at:
            self.cell = (at, total + load, count + 1)
        else:
            self._close_cell(index)
            self.cell = (index, load, 1)
        self.hours.note(int(slot * self.period_s // MINUTE_S), load / self.capacity)

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

    def _close_cell(self, before: int) -> None:
        """Keep the mean of the cell in the ring of the day. ``before``: the cell that comes."""
        at, total, count = self.cell
        if count:
            mean = total / count
            self.cells.append(mean)
            if len(self.cells) > LEVEL_CELLS:
                del self.cells[0]
            for missed in range(at + 1, min(before, at + DAY_CELLS)):
                self.day[missed % DAY_CELLS] = 0
            self.day[at % DAY_CELLS] = code_of(mean / self.capacity)
        self.looked_ahead = 0

    def _look_back(self, steps: int) -> None:
        """What was in the last half hour, and by how much the load grew at this time a day ago."""
        self.looked_ahead, self.level, self.growth = steps, math.nan, math.nan
        if self.cells:
            self.level = max(sum(self.cells) / len(self.cells), self.least)
        at = self.cell[0] % DAY_CELLS  # a day ago, as the ring is a day long
        then = self.day[at]
        if not then:
            return
        reach = math.ceil((steps + SEASON_STEPS) * self.period_s / CELL_S)
        ahead = self.day[at + 1 : at + 1 + reach]
        if len(ahead) < reach:
            ahead += self.day[: reach - len(ahead)]
        highest = max(ahead)
        if highest:
            grown = replicas_of(highest) / max(replicas_of(then), headroom.LOAD_MIN)
            self.growth = min(max(grown, SEASON_CLIP[0]), SEASON_CLIP[1])

    def _expected(self, load: float, steps: int) -> tuple[float, ...]:
        """The forecast of each model; not a number where it has none."""
        if self.looked_ahead != steps:
            self._look_back(steps)
        recent, least = self.recent, self.least
        quick = season = math.nan
        if len(recent) > 2:  # noqa: PLR2004 - fewer say nothing of noise
            allowed = ALLOWED * max(load, self.capacity / 2)
            newest = recent[-self.width :].tolist()
            quick = max(headroom.honest_trend(newest, steps, math.sqrt(self.noise), allowed), least)
        growth = self.growth
        if self.hours.lag:
            season = max(self._by_the_clock(steps), least)
        elif growth == growth:  # noqa: PLR0124 - a number
            last = recent[-LAST_SAMPLES:]
            season = max(sum(last) / len(last) * growth, least)
        return max(least, load), quick, self.level, season

    def _by_the_clock(self, steps: int) -> float:
        slot, period_s = self.slot or 0, self.period_s
        first, last = ((slot + ahead) * period_s // MINUTE_S for ahead in (1, steps))
        return self.capacity * self.hours.expected(int(first), int(last))

    def _losses_at(self, level: int) -> list[float]:
        """How each model has done at this level of load, or else at the nearest one."""
        losses = self.losses.get(level)
        if losses is not None:
            return losses
        if not self.losses:
            return _UNTRIED
        return self.losses[min(self.losses, key=lambda at: (abs(at - level), at))]

    def _learn(self, entry: Pending) -> None:
        """Compare what was forecast with the highest load that came."""
        _, steps, best, here, expected, bounds = entry
        seen = max(self.recent[-steps:])
        capacity, q = self.capacity, self.q
        losses = self.losses.get(here, _UNTRIED)
        learnt: list[float] = []
        for errors, loss, forecast, bound in zip(self.errors, losses, expected, bounds, strict=True):
            if forecast == forecast:  # noqa: PLR0124 - a number
                errors.add(forecast, seen)
                over = seen - bound
                new = (q * over if over > 0 else (q - 1) * over) / capacity
                learnt.append(new if loss == UNTRIED_LOSS else FORGET * loss + _LEARN * new)
            else:
                learnt.append(loss)
        self.losses[here] = learnt
        now, quick = expected[0], expected[1]
        if quick > now:  # how far off it was that a rise stays where it is, and that it goes on
            self.rises.note(now / capacity, quick / capacity, seen / capacity)
        hour, bits = _an_hour(self.period_s, steps)
        self.hits = (self.hits << 1 | (seen <= NEAR * bounds[best])) & bits
        self.settled = min(self.settled + 1, hour)

    def saved(self) -> str:
        """A text that `restored` reads; the forecaster itself goes on from what it holds."""
        slot = self.slot or 0
        pending = array("f")
        for due, steps, best, here, expected, bounds in self.pending:
            pending.extend((due - slot, steps, best, here, *expected, *bounds))
        self.pending = _pending_of(pending, slot)
        losses = array("f", [n for level, of in self.losses.items() for n in (level, *of)])
        self.losses = _losses_of(losses)
        counts = array("q", [slot, self.slot is not None, self.settled, self.surprised])
        counts.extend(n for errors in self.errors for n in (len(errors.codes), errors.place))
        codes = b"".join(_bytes_of(errors.codes) + errors.levels for errors in self.errors)
        stays, *between, goes_on = self.rises.off
        state = array("d", [self.noise, self.outlook, stays, goes_on, *self.cell])
        day = self.day if any(self.day) else array("H")
        tried, minutes = self.hours.saved()
        more = array("d", between)
        parts = (
            _bytes_of(part) for part in (counts, state, day, self.recent, self.cells, losses, pending, more, tried)
        )
        return ":".join([f"{self.hits:x}", *map(_text_of, (codes, *parts, minutes))])

    @classmethod
    def restored(cls, saved: str, capacity: float, period_s: float, q: float) -> Forecaster:
        """The forecaster that was saved."""
        it = cls(capacity, period_s, q)
        hits, codes_text, counts_text, state, day, recent, cells, losses, pending, *more = saved.split(":")
        slot, begun, it.settled, it.surprised, *sizes = _array_of("q", counts_text)
        it.slot = slot if begun else None
        it.recent = _array_of("f", recent)
        it.cells = _array_of("f", cells)
        it.noise, it.outlook, stays, goes_on, at_cell, total, count = _array_of("d", state)
        it.cell = int(at_cell), total, int(count)
        if more:
            between, tried, minutes = more
            it.rises = Rises.restored(stays, goes_on, _array_of("d", between))
            it.hours = Hours.restored(_array_of("d", tried), base64.b64decode(minutes))
        else:  # of a version that kept less
            it.rises = Rises.restored(stays, goes_on, ())
        if day:
            it.day = _array_of("H", day)
        it.losses = _losses_of(_array_of("f", losses))
        it.hits = int(hits, 16)
        it.pending = _pending_of(_array_of("f", pending), slot)
        codes, at = base64.b64decode(codes_text), 0
        for errors, count, place in zip(it.errors, sizes[::2], sizes[1::2], strict=True):
            errors.refill(_array("H", codes[at : at + 2 * count]), codes[at + 2 * count : at + 3 * count], place)
            at += 3 * count
        return it


def _pending_of(flat: array[float], slot: int) -> list[Pending]:
    entries: list[Pending] = []
    for i in range(0, len(flat), _PENDING):
        due, steps, best, here, *numbers = flat[i : i + _PENDING]
        forecast = tuple(numbers[:_COUNT]), tuple(numbers[_COUNT:])
        entries.append((slot + int(due), int(steps), int(best), int(here), *forecast))
    return entries


def _losses_of(flat: array[float]) -> dict[int, list[float]]:
    width = 1 + _COUNT
    return {int(flat[i]): flat[i + 1 : i + width].tolist() for i in range(0, len(flat), width)}


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
