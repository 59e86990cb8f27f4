"""Loads of the shapes that services have, made by a formula and a seed: they ship with the product, recorded ones do
not. Another seed makes others of the same kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Shape = Callable[[np.random.Generator], Numbers]
"""Makes one value a minute."""
DAY = 1440
"""Minutes."""


def _smooth(noise: Numbers, width: int) -> Numbers:
    return np.convolve(noise, np.ones(width) / width, "same")


def _noisy(rng: np.random.Generator, values: Numbers, share: float) -> Numbers:
    return np.maximum(values * (1 + rng.normal(0, share, len(values))), 0.0)


def diurnal(rng: np.random.Generator) -> Numbers:
    """Three days with two humps each."""
    at = np.arange(3 * DAY)
    base: Numbers = 600 + 380 * np.sin(2 * np.pi * (at / DAY - 0.3)) + 120 * np.sin(4 * np.pi * at / DAY)
    return np.maximum(base * (1 + _smooth(rng.normal(0, 0.12, len(at)), 4)), 1.0)


def ramp(rng: np.random.Generator) -> Numbers:
    """Up in two climbs and down again."""
    at = np.arange(DAY)
    level = np.interp(at, [0, 500, 620, 1000, 1300, 1440], [200, 220, 900, 1000, 420, 400])
    return level * (1 + rng.normal(0, 0.04, len(at)))


def flat(rng: np.random.Generator) -> Numbers:
    """Even, but for a spike and an outage."""
    values = 800 * (1 + rng.normal(0, 0.05, 2 * DAY))
    values[1000:1020] *= 2.2
    values[2100:2130] *= 0.2
    return values


def bursty(rng: np.random.Generator) -> Numbers:
    """Little, with bursts of minutes that decay."""
    values = np.full(DAY, 20.0)
    for begin in rng.integers(0, DAY - 60, 14):
        height, length = rng.uniform(150, 900), int(rng.integers(3, 45))
        shape = np.minimum(np.arange(length) + 1, 3) / 3 * np.exp(-np.arange(length) / length)
        values[begin : begin + length] += height * shape
    return values * (1 + rng.normal(0, 0.08, len(values)))


def intermittent(rng: np.random.Generator) -> Numbers:
    """Nothing at all, but for a few spells."""
    values = np.zeros(DAY)
    for begin in rng.integers(30, DAY - 40, 9):
        values[begin : begin + int(rng.integers(4, 25))] = rng.uniform(50, 700)
    return values


def weekly(rng: np.random.Generator) -> Numbers:
    """A week whose end is quieter."""
    at = np.arange(7 * DAY)
    day = 1 + 0.7 * np.sin(2 * np.pi * (at / DAY - 0.3)) + 0.2 * np.sin(4 * np.pi * at / DAY)
    return _noisy(rng, 500 * day * np.where(at // DAY % 7 >= 5, 0.45, 1.0), 0.03)  # noqa: PLR2004 - from Saturday on


def stairs(rng: np.random.Generator) -> Numbers:
    """A level that is another one every half hour to two hours, at once."""
    values = np.empty(0)
    while len(values) < DAY:
        values = np.append(values, np.full(int(rng.integers(30, 120)), rng.uniform(80, 900)))
    return _noisy(rng, values[:DAY], 0.03)


def sawtooth(rng: np.random.Generator) -> Numbers:
    """Climbs for half an hour and falls at once: a queue that a timer fills."""
    period = int(rng.integers(20, 50))
    at = np.arange(DAY)
    return _noisy(rng, 150 + 700 * (at % period) / period, 0.02)


def waves(rng: np.random.Generator) -> Numbers:
    """Up and down faster than a service can be shrunk and grown with profit."""
    at, period = np.arange(DAY), rng.uniform(8, 25)
    return _noisy(rng, 500 + 350 * np.sin(2 * np.pi * at / period), 0.03)


def crowd(rng: np.random.Generator) -> Numbers:
    """Flash crowds: ten times as much within minutes, gone after an hour or two."""
    at = np.arange(DAY)
    values = 90 + 30 * np.sin(2 * np.pi * at / DAY)
    for begin in rng.integers(60, DAY - 120, 3):
        after = np.maximum(at - begin, 0)
        rise, decay = rng.uniform(1, 6), rng.uniform(20, 70)
        values += rng.uniform(500, 1000) * (1 - np.exp(-after / rise)) * np.exp(-after / decay) * (at >= begin)
    return _noisy(rng, values, 0.04)


def timer(rng: np.random.Generator) -> Numbers:
    """A job that runs for some minutes of each hour, over a low level."""
    at, begin, length = np.arange(DAY), int(rng.integers(0, 50)), int(rng.integers(3, 10))
    return _noisy(rng, np.where((at - begin) % 60 < length, 800.0, 120.0), 0.04)


def wander(rng: np.random.Generator) -> Numbers:
    """A random walk of the logarithm, drawn back to its middle."""
    level, values = 0.0, np.empty(DAY)
    for index, push in enumerate(rng.normal(0, 0.06, DAY)):
        level = 0.995 * level + push
        values[index] = 400 * np.exp(level)
    return values


def noise(rng: np.random.Generator) -> Numbers:
    """No shape at all: each minute is another one."""
    return np.maximum(rng.normal(500, 130, DAY), 0.0)


def heavy(rng: np.random.Generator) -> Numbers:
    """Even, with single minutes that are many times as high: a heavy tail."""
    return 120 * (1 + np.minimum(rng.pareto(1.8, DAY), 15.0))


def outages(rng: np.random.Generator) -> Numbers:
    """A day's course that breaks off, to nothing or to a tenth, and comes back at once."""
    at = np.arange(DAY)
    values = 500 + 250 * np.sin(2 * np.pi * at / DAY)
    for begin in rng.integers(60, DAY - 60, 5):
        values[begin : begin + int(rng.integers(2, 40))] *= rng.choice([0.0, 0.1])
    return _noisy(rng, values, 0.04)


def office(rng: np.random.Generator) -> Numbers:
    """Nothing at night, a working day, a lunch."""
    at = np.arange(2 * DAY) % DAY / 60
    level = np.interp(at, [0, 7, 9, 12, 12.7, 13.5, 17, 19, 24], [0, 0, 700, 800, 450, 800, 700, 0, 0])
    return _noisy(rng, level, 0.05)


SHAPES: Mapping[str, Shape] = {
    shape.__name__: shape
    for shape in (
        diurnal, ramp, flat, bursty, intermittent, weekly, stairs, sawtooth, waves, crowd, timer, wander, noise, heavy,
        outages, office,
    )
}  # fmt: skip
ZERO = frozenset({"intermittent", "office"})
"""Those on which scaling to zero makes sense."""
