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
    """Wish to update to a kept revision, such as one that waits for a gate. ``revision`` is its number.

    Of the revision whose step is judged: it has passed.
    """

    revision: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rollback:
    """A vote against the revision that is being rolled out."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """Wish that all stays as it is: blocks a scale-down of others, and the next step of a rollout.

    ``wake_at``: when to ask again, without a sample. Of a step that is over, a `Hold` that is to wake later asks for
    time, and any other says that it cannot decide. ``unknown``: data lack, so that this is no answer at all.
    """

    reason: str = ""
    wake_at: float | None = None
    unknown: bool = False


Proposal = Scale | Update | Rollback | Hold


@dataclass(frozen=True, slots=True)
class Veto:
    """A guard's no."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refuse:
    """A verifier's no to a revision."""

    reason: str = ""
