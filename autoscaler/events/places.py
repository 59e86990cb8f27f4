"""Where in a document something is wrong, from pydantic's locations, in words that are safe to print.

Called by the event readers and by the configuration; knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import ValidationError

from autoscaler.events.forms import words_of

PART_CHARS_MAX = 64


def branch(name: str) -> str:
    """The tag of a union's branch, marked so that `place_of` leaves it out: it is no key of the document."""
    return f"<{name}>"


def printable(text: str, chars_max: int = PART_CHARS_MAX) -> str:
    """``text`` cut to ``chars_max`` and what could forge a line or a terminal sequence shown as ``?``."""
    shown = "".join(c if c.isprintable() else "?" for c in text[:chars_max])
    return shown + ("..." if len(text) > chars_max else "")


def place_of(location: Sequence[int | str], prefix: str = "") -> str:
    """``data.revision.ports.http`` or ``data.samples[2].value`` of pydantic's ``loc``; union branches are left out."""
    place = prefix
    for part in location:
        if isinstance(part, int):
            place += f"[{part}]"
        elif not part.startswith("<") and part != "[key]":
            shown = printable(part)
            place += f".{shown}" if place else shown
    return place


class Complaint(NamedTuple):
    """One problem of a failed validation: pydantic's location and type, and a text that never repeats the input."""

    location: tuple[int | str, ...]
    kind: str
    text: str


def complaint_of(error: ValidationError) -> Complaint:
    """The first problem of a failed validation."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "string_pattern_mismatch":
        return Complaint(first["loc"], first["type"], words_of(first["ctx"]["pattern"]))
    return Complaint(first["loc"], first["type"], problem_text(first["type"], first["msg"]))


def problem_text(kind: str, message: str) -> str:
    """The message of pydantic in the words that this program uses; our own ValueErrors come through as they are."""
    if kind == "extra_forbidden":
        return "there is no such field"
    if kind == "missing":
        return "this field is required"
    text = message
    for subject in ("Value error, ", "Input ", "String ", "List ", "Dictionary "):
        text = text.removeprefix(subject)
    return text[:300]
