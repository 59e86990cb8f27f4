"""Reading vectors, asking the shipped functions, comparing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from tests.vectors import forecasts, replicas, windows

BUILT_IN = Path(__file__).with_name("vectors.jsonl")
FUNCTIONS = {**replicas.FUNCTIONS, **windows.FUNCTIONS, **forecasts.FUNCTIONS}
REL_TOLERANCE = 1e-5
ABS_TOLERANCE = 6e-5
"""Expectations are written with four decimals."""


class Vector(NamedTuple):
    """One line."""

    id: str
    function: str
    given: dict[str, Any]
    want: Any


def lines_of(path: Path) -> list[tuple[int, str]]:
    """The lines of a file with their numbers; empty lines are none. Raises OSError, and ValueError for no text."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is no UTF-8") from None
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def vector_of(line: str) -> Vector:
    """The vector of a line. Raises ValueError with what is wrong."""
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error.msg} at column {error.colno}") from None
    match fields:
        case [str(), str(), dict(), _]:
            return Vector(*fields)
        case [_, _, _, _]:
            raise ValueError("id and function are texts, and input is an object")
        case _:
            raise ValueError("no [id, function, input, want]")


def load(path: Path) -> list[Vector]:
    """The vectors of a file that has nothing else. Raises as `lines_of` and `vector_of`."""
    return [vector_of(line) for _, line in lines_of(path)]


def problem_of(vector: Vector) -> str:
    """What is wrong with the answer of the shipped function; "" where nothing is."""
    function = FUNCTIONS.get(vector.function)
    if function is None:
        return f"no function {vector.function}"
    try:
        got = function(vector.given)
    except Exception as error:  # noqa: BLE001 - a vector that raises has failed, the next ones have not
        return f"{type(error).__name__}: {error}"
    if isinstance(got, tuple) and not isinstance(vector.want, list):
        got = got[0]  # a vector may ask for the count alone, without its reason
    return "" if is_same(got, vector.want) else f"want {json.dumps(vector.want)}, got {json.dumps(got)}"


def is_same(got: Any, want: Any) -> bool:
    """Equal, numbers within their printed decimals; of a mapping only what is wanted is compared."""
    if isinstance(want, dict):
        return isinstance(got, dict) and all(name in got and is_same(got[name], value) for name, value in want.items())
    if isinstance(want, list):
        return (
            isinstance(got, list | tuple)
            and len(got) == len(want)
            and all(is_same(one, other) for one, other in zip(got, want, strict=True))
        )
    if isinstance(want, bool) or isinstance(got, bool) or not isinstance(want, int | float):
        return type(got) is type(want) and bool(got == want)
    if not isinstance(got, int | float):
        return False
    if isinstance(got, int) and isinstance(want, int):
        return got == want
    return math.isclose(got, want, rel_tol=REL_TOLERANCE, abs_tol=ABS_TOLERANCE)
