"""Loads to simulate: CSV files of ``t_seconds,value`` in equal steps, and those that are made by a formula and a seed.

`Load` is a load on the grid of one second, scaled so that its 99th percentile needs a given number of replicas.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoscaler.errors import ConfigurationError, Problem
from autoscaler.lab.shapes import SHAPES, ZERO

P99_REPLICAS = 20
INTERPOLATED_FROM_S = 60.0
"""Longer steps hide how the load got from one to the next, so it is drawn as a line."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trace:
    """A load as recorded: mean rates over equal steps, in any unit. ``zero``: scaling to zero makes sense."""

    name: str
    step_s: float
    values: Numbers
    zero: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """Requests in each second; ``capacity``: what one replica carries in a second."""

    name: str
    per_second: Numbers
    capacity: float
    minimum: int

    @property
    def demand(self) -> NDArray[np.int64]:
        """Replicas that would just do, in each second."""
        needed = np.ceil(self.per_second / self.capacity - 1e-9).astype(np.int64)
        return np.maximum(needed, self.minimum)


def read_trace(path: Path) -> Trace:
    """The trace of a file. Raises `ConfigurationError` that names the line which cannot be read."""

    def wrong(line: int, what: str) -> ConfigurationError:
        remedy = (
            "A trace has lines of `t_seconds,value` in equal steps, after comments (#) and a line of heads, if any."
        )
        return ConfigurationError([Problem("trace", what, remedy, line, str(path))])

    header: dict[str, str] = {}
    times: list[float] = []
    values: list[float] = []
    headed = False
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise wrong(0, f"cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from error
    for number, line in enumerate(lines, start=1):
        if line.startswith("#"):
            key, _, said = line[1:].partition(":")
            header[key.strip()] = said.strip()
            continue
        row = next(csv.reader([line]), [])
        if not "".join(row).strip():
            continue
        if not times and not headed and len(row) > 1 and not any(map(_is_number, row)):
            headed = True
            continue
        try:
            at, value = float(row[0]), float(row[1])
        except (ValueError, IndexError):
            raise wrong(number, "neither a time nor a value") from None
        if not 0 <= value < float("inf"):
            raise wrong(number, "a load is a number from 0 on")
        times.append(at)
        values.append(value)
    if len(times) < 2:  # noqa: PLR2004 - a step has two ends
        raise wrong(0, "fewer than two values")
    steps = np.diff(times)
    uneven = np.flatnonzero(np.abs(steps - steps[0]) > 1e-6 * steps[0]) if steps[0] > 0 else np.array([0])
    if len(uneven):
        raise wrong(0, f"the step before t_seconds {times[int(uneven[0]) + 1]:g} is not {steps[0]:g}")
    zero = header.get("min_replicas") == "0"
    return Trace(header.get("name") or path.stem, float(steps[0]), np.array(values), zero)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def load_of(
    trace: Trace,
    capacity: float,
    *,
    replicas: float = P99_REPLICAS,
    until_s: float | None = None,
    seed: int | None = None,
) -> Load:
    """The trace on the grid of one second. ``seed`` adds the noise of requests that come one by one (Poisson)."""
    step, values = trace.step_s, trace.values
    if until_s is not None:
        values = values[: max(2, int(until_s // step))]
    seconds = np.arange(int(len(values) * step))
    if step >= INTERPOLATED_FROM_S:
        rates = np.interp(seconds, np.arange(len(values)) * step, values)
    else:
        rates = values[np.minimum((seconds // step).astype(int), len(values) - 1)]
    highest = float(np.percentile(rates, 99)) or float(rates.max()) or 1.0
    rates = rates * (replicas * capacity / highest)
    if seed is not None:
        rates = np.random.default_rng(seed).poisson(rates).astype(float)
    return Load(trace.name, rates, capacity, 0 if trace.zero else 1)


def traces_in(directory: Path) -> list[Trace]:
    """The traces of a directory, by name. Raises `ConfigurationError` where there is none."""
    if directory.is_file():
        raise ConfigurationError([Problem("traces", f"{directory} is a file", "Name it with --trace.")])
    files = sorted(directory.glob("*.csv")) if directory.is_dir() else []
    if not files:
        raise ConfigurationError(
            [Problem("traces", f"no CSV file in {directory}", "Name a directory of traces, or one with --trace.")]
        )
    return [read_trace(path) for path in files]


def generated(seed: int = 1) -> list[Trace]:
    """Loads of the shapes that services have, made up."""
    return [
        Trace(name, 60.0, shape(np.random.default_rng([seed, index])), name in ZERO)
        for index, (name, shape) in enumerate(SHAPES.items())
    ]


def select(traces: Sequence[Trace], names: Sequence[str]) -> list[Trace]:
    """Those of the names, all where none is given."""
    return [trace for trace in traces if not names or trace.name in names]
