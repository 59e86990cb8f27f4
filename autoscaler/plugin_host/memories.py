"""A policy's memory: each call gets a copy, and the changed copy is kept where it is JSON values of a bounded size.

On the hot path of evaluation. JSON is what a memory may hold, but not what it is copied and compared by: `marshal` does
both in a tenth of the time, and its form of plain values is their own, bit for bit. Whatever is not plainly plain (a
subclass, a tuple, a number as a key) is judged, and made plain, by a round trip through JSON.
"""

from __future__ import annotations

import json
import marshal
from typing import Any

MEMORY_BYTES_MAX = 64 * 1024
"""As JSON."""
_FORM = 2
"""The newest form of `marshal` that does not depend on who else holds a value."""
_DEPTH_MAX = 24
_ESCAPED = 6
"""Bytes that one character of ASCII takes at most."""
_NUMBER_MAX = 2.0**64
"""Beyond it are numbers of any length, and those that are none of JSON's. A float, with which floats compare fast."""
_NUMBER_MIN = -_NUMBER_MAX
_TOO_MANY = MEMORY_BYTES_MAX + 1
_NUMBERS = frozenset((int, float))
_NUMBER_BYTES = 26
"""What the longest number takes, a comma with it."""
_EMPTY_BYTES = 3
"""What a list or mapping without anything takes, a comma with it."""


def copied(kept: dict[str, Any] | None) -> dict[str, Any]:
    """A policy's own copy of what is kept."""
    if not kept:
        return {}
    memory: dict[str, Any] = marshal.loads(marshal.dumps(kept, _FORM))  # noqa: S302 - what was dumped just now
    return memory


def judged(memory: dict[str, Any], kept: dict[str, Any] | None) -> tuple[dict[str, Any] | None, str]:
    """The memory to keep, None where it is what was kept; and why it cannot be kept, "" where it can."""
    if _is_same(memory, kept or {}):
        return None, ""
    if _bytes_at_most(memory) <= MEMORY_BYTES_MAX:
        return memory, ""
    return made_plain(memory)


def _is_same(memory: dict[str, Any], kept: dict[str, Any]) -> bool:
    """Whether nothing changed. Equality tells a change at once; to it, True is 1, which the form tells apart."""
    try:
        return memory == kept and marshal.dumps(memory, _FORM) == marshal.dumps(kept, _FORM)
    except KeyboardInterrupt:  # the operator's, not the plugin's
        raise
    except BaseException:  # noqa: BLE001 - far too deep, or a value of a plugin's own class, which may raise anything
        return False


def made_plain(memory: object) -> tuple[dict[str, Any] | None, str]:
    """The memory as JSON has it, or None and why there is no such thing."""
    if not isinstance(memory, dict):
        return None, "memory must stay a mapping"
    try:
        text = json.dumps(memory, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        size = len(text.encode())
        plain: dict[str, Any] = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        return None, f"memory holds what is no JSON value: {type(error).__name__}"
    if size > MEMORY_BYTES_MAX:
        return None, f"memory of {size} bytes is over {MEMORY_BYTES_MAX}"
    return plain, ""


def _bytes_at_most(container: Any, depth: int = 0) -> int:
    """What a mapping or list takes as JSON, however it is written; more than any memory may, where it may be none."""
    if depth > _DEPTH_MAX:
        return _TOO_MANY
    room = 3
    values = container
    if type(container) is dict:
        for key in container:
            if type(key) is not str or not key.isascii():
                return _TOO_MANY
            room += _ESCAPED * len(key) + 4
        values = container.values()
    elif _NUMBERS.issuperset(map(type, container)):  # a row of numbers, told in two quick looks
        try:
            plain = sum(map(abs, container)) < _NUMBER_MAX
        except OverflowError:  # a number of any length beside a float
            plain = False
        return room + _NUMBER_BYTES * len(container) if plain else _TOO_MANY
    for value in values:
        kind = type(value)
        if kind is float or kind is int:
            room += _NUMBER_BYTES if _NUMBER_MIN < value < _NUMBER_MAX else _TOO_MANY
        elif kind is str:
            room += _ESCAPED * len(value) + 3 if value.isascii() else _TOO_MANY
        elif kind is list or kind is dict:
            room += _bytes_at_most(value, depth + 1) if value else _EMPTY_BYTES
        else:
            room += _NUMBER_BYTES if value is None or kind is bool else _TOO_MANY
    return room
