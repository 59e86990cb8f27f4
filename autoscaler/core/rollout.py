"""The phases of a service's one operation, as a sum type, and which phase may follow which, as data.

`decide` moves between them, the state record carries the present one whole, so that a restart resumes it and a late or
repeated outcome adds nothing. Every moment is in seconds since the epoch; a wait is a deadline here, never a sleep.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoscaler.core.facts import EventRef, Reason
from autoscaler.core.revision import Deployment


@dataclass(frozen=True, slots=True)
class Idle:
    """One revision is wanted (or none yet); nothing is in flight."""

    phase: Literal["idle"] = "idle"


@dataclass(frozen=True, slots=True)
class Preflight:
    """A deployment was accepted; its image is being resolved. No replica is touched.

    ``base`` is the revision to go back to where the image cannot be had and replicas of a superseded one run. ``after``
    is the halt that the deployment found, to return to where it comes to nothing.
    """

    deployment: Deployment
    since: float
    resolve_by: float
    base: int | None
    after: Halted | None = None
    phase: Literal["preflight"] = "preflight"


@dataclass(frozen=True, slots=True)
class Advancing:
    """Replicas of ``base`` (and older) are being replaced by ``target``, the new one available before the old one goes.

    ``touched``: slots to replace, fixed at the start. ``failed``: names of target replicas that failed, each once.
    ``demand``: the demand that the split between revisions was last computed for. ``progress_by`` moves with progress.
    """

    target: int
    base: int | None
    event: EventRef | None
    started_at: float
    progress_by: float
    demand: int
    touched: int
    failed: tuple[str, ...] = ()
    phase: Literal["advancing"] = "advancing"


@dataclass(frozen=True, slots=True)
class Soaking:
    """All replicas run ``target``; health and policies' votes are still judged until ``until`` (unknown:
    ``patience_until``)."""

    target: int
    base: int | None
    event: EventRef | None
    since: float
    until: float
    patience_until: float
    phase: Literal["soaking"] = "soaking"


@dataclass(frozen=True, slots=True)
class Held:
    """The rollout stands still: replaces nothing; lost replicas are made again in kind, demand is still split.

    ``resumed`` is the phase to go back to; its clock stopped at ``held_at``. ``until``: where the hold ends by itself.
    ``kept``: how many replicas of which revision stand meanwhile (revision, count), as split for ``demand``.
    """

    why: Literal["operator", "freeze", "failure"]
    resumed: Advancing | Soaking
    held_at: float
    until: float | None
    kept: tuple[tuple[int, int], ...] = ()
    demand: int = 0
    phase: Literal["held"] = "held"


@dataclass(frozen=True, slots=True)
class RollingBack:
    """``target`` (a revision that served before) is wanted again at today's demand; ``rejected`` is taken away.

    ``event``: the deployment whose verdict this settles; ``command``: the operator's command it settles.
    """

    target: int
    rejected: int
    event: EventRef | None
    command: EventRef | None
    reason: Reason
    started_at: float
    progress_by: float
    phase: Literal["rolling_back"] = "rolling_back"


@dataclass(frozen=True, slots=True)
class Halted:
    """Nothing automatic but repair of what serves; waits for `approve`, `rollback` or a new revision."""

    why: Reason
    since: float
    phase: Literal["halted"] = "halted"


@dataclass(frozen=True, slots=True)
class Retiring:
    """All replicas are being stopped for good; ``command`` is settled when none is left."""

    command: EventRef
    since: float
    phase: Literal["retiring"] = "retiring"


@dataclass(frozen=True, slots=True)
class Retired:
    """No replica runs and no event is taken until the service is configured again: until its settings are other than
    those with the fingerprint ``settings``."""

    since: float
    settings: str = ""
    phase: Literal["retired"] = "retired"


Rollout = Idle | Preflight | Advancing | Soaking | Held | RollingBack | Halted | Retiring | Retired

TRANSITIONS: dict[str, frozenset[str]] = {
    "idle": frozenset({"idle", "preflight", "advancing", "rolling_back", "retiring", "retired", "halted"}),
    "preflight": frozenset({"preflight", "advancing", "idle", "halted", "soaking", "rolling_back", "retiring"}),
    "advancing": frozenset({"advancing", "soaking", "idle", "held", "rolling_back", "halted", "preflight", "retiring"}),
    "soaking": frozenset({"soaking", "idle", "held", "rolling_back", "halted", "preflight", "retiring"}),
    "held": frozenset({"held", "advancing", "soaking", "rolling_back", "halted", "preflight", "idle", "retiring"}),
    "rolling_back": frozenset({"rolling_back", "idle", "halted", "preflight", "retiring"}),
    "halted": frozenset({"halted", "preflight", "advancing", "rolling_back", "idle", "retiring"}),
    "retiring": frozenset({"retiring", "retired"}),
    "retired": frozenset({"retired", "idle"}),
}
"""phase -> phases that may follow it in one record; checked by the simulator after each step and drawn in the docs."""


def in_flight(rollout: Rollout) -> bool:
    """Whether an operation is under way that a newer deployment would supersede."""
    return isinstance(rollout, Preflight | Advancing | Soaking | Held)


def replica_name(service: str, slot: int, revision: int, attempt: int) -> str:
    """The part of a container's name after ``<cluster>.``: ``<service>.s<slot>.r<revision>.<attempt>``."""
    return f"{service}.s{slot}.r{revision}.{attempt}"
