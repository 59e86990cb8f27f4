"""Small facts that every other core module speaks in: who asked, why, what was looked at.

Pure values; a module of this package imports no clock, no I/O, no logging and no adapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Number = int | float
NO_NUMBERS: Mapping[str, Number] = MappingProxyType({})


def plain_text(text: str) -> str:
    """The text as a record can carry it: NUL and halves of surrogate pairs, which plugins and hosts may send,
    replaced."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "?").encode(errors="replace").decode()


@dataclass(frozen=True, slots=True)
class EventRef:
    """Which event: CloudEvents ``source`` and ``id`` together are its identity."""

    source: str
    id: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why, as a code of a closed set, words for a person, and the numbers in the words (units in their names)."""

    code: str
    text: str
    numbers: Mapping[str, Number] = field(default_factory=lambda: NO_NUMBERS)

    def __post_init__(self) -> None:
        """No reason holds what a record cannot carry."""
        _make_plain(self)


@dataclass(frozen=True, slots=True)
class SignalReading:
    """One input of a decision: the newest value of a signal and its age in seconds at evaluation time.

    ``value`` is None where the signal is unknown; unknown is never zero.
    """

    signal: str
    value: float | None
    age_s: float | None


@dataclass(frozen=True, slots=True)
class Clamp:
    """What one guard did to a proposal: replicas ``before`` -> ``after``, and why."""

    guard: str
    before: int
    after: int
    text: str

    def __post_init__(self) -> None:
        """No clamp holds what a record cannot carry."""
        _make_plain(self)


@dataclass(frozen=True, slots=True)
class ProposalNote:
    """A policy's opinion as it is recorded: kind is scale, update, rollback, hold, none or unknown."""

    policy: str
    kind: str
    to: int | None
    text: str

    def __post_init__(self) -> None:
        """No opinion holds what a record cannot carry."""
        _make_plain(self)


def _make_plain(fact: Reason | Clamp | ProposalNote) -> None:
    plain = plain_text(fact.text)
    if plain is not fact.text:
        object.__setattr__(fact, "text", plain)
