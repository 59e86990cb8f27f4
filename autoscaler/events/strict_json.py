"""JSON as an event may carry it: UTF-8, no key twice, no NaN, no NUL, not deep.

The complete and slower way; `autoscaler.events.samples` has its own for the hot path and falls back on this one.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from pydantic_core import from_json

from autoscaler.events.places import printable
from autoscaler.events.rejection import Rejection, rejected

DEPTH_MAX = 32
"""Levels of nesting; a complete revision needs 6."""


def parse_strictly(value: bytes, place: str = "") -> object:
    """The parsed JSON. Raises `EventRejected` naming ``place`` for whatever an event may not carry."""
    if b"\x00" in value:
        raise rejected(Rejection.NUL, place=place)
    parsed = parse_unique(value, place)
    _check_content(parsed, place, 1)
    return parsed


def parse_unique(value: bytes, place: str = "") -> object:
    """The parsed JSON, with any text and any depth that the parser takes: what we wrote ourselves.

    Raises `EventRejected` for what is not JSON and for a key that comes twice.
    """
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise rejected(Rejection.NOT_UTF8, f"byte {error.start} is not UTF-8", place) from None
    _check_syntax(value, place)
    parsed: object = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    return parsed


def _check_syntax(value: bytes, place: str) -> None:
    # json.loads would take lone surrogates and end deep input in a RecursionError; this parser refuses both first.
    try:
        from_json(value, allow_inf_nan=True, cache_strings="none")
    except ValueError as error:
        text = str(error)
        if text.startswith("recursion limit"):
            raise rejected(Rejection.TOO_DEEP, place=place) from None
        raise rejected(Rejection.NOT_JSON, f"not JSON: {text}", place) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise rejected(Rejection.DUPLICATE_KEY, f"the key {printable(key)} comes twice in one object")
            seen.add(key)
    return unique


def _no_constant(name: str) -> NoReturn:
    raise rejected(Rejection.NOT_FINITE, f"{name} is not JSON")


def _check_content(value: object, place: str, depth: int) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise rejected(Rejection.NUL, place=place)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise rejected(Rejection.NOT_FINITE, place=place)
    elif isinstance(value, dict | list):
        if depth > DEPTH_MAX:
            raise rejected(Rejection.TOO_DEEP, f"nested deeper than {DEPTH_MAX} levels", place)
        if isinstance(value, list):
            for index, item in enumerate(value):
                _check_content(item, f"{place}[{index}]", depth + 1)
        else:
            for key, item in value.items():
                _check_content(key, place, depth)
                _check_content(item, f"{place}.{printable(key)}" if place else printable(key), depth + 1)
