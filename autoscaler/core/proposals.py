"""What a policy may say, and what a guard or verifier may answer: the public value types of the plugin surface.
Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Wish for ``to`` replicas. ``wake_at``: the earliest moment (seconds since the epoch) the answer can change
    without a sample."""

    to: int
    reason: str = ""
    wake_at: float | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """Wish to update to a kept revision, such as one that waits for a gate. ``revision`` is its number."""

    revision: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rollback:
    """A vote against the revision that is being rolled out."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """Wish that the demand stays as it is: blocks a scale-down of others."""

    reason: str = ""
    wake_at: float | None = None


Proposal = Scale | Update | Rollback | Hold


@dataclass(frozen=True, slots=True)
class Veto:
    """A guard's no."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refuse:
    """A verifier's no to a revision."""

    reason: str = ""
