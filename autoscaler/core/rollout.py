"""The phases of a service's one operation, as a sum type, and which phase may follow which, as data.

`decide` moves between them, the state record carries the present one whole, so that a restart resumes it and a late or
repeated outcome adds nothing. Every moment is in seconds since the epoch; a wait is a deadline here, never a sleep.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoscaler.core.facts import EventRef, Reason
from autoscaler.core.revision import Deployment
from autoscaler.core.steps import Step

HoldWhy = Literal["operator", "freeze", "failure", "inconclusive", "unknown"]
"""Why a rollout is held: an operator paused it, a freeze, failures with ``on_failure: hold``, a step whose checks could
not decide, or whose checks had no data for ``analysis_patience``."""


@dataclass(frozen=True, slots=True)
class Idle:
    """One revision is wanted (or none yet); nothing is in flight."""

    phase: Literal["idle"] = "idle"


@dataclass(frozen=True, slots=True)
class Preflight:
    """A deployment was accepted; its image is being resolved. No replica is touched.

    ``base`` is the revision to go back to where the image cannot be had and replicas of a superseded one run. ``after``
    is the halt that the deployment found, to return to where it comes to nothing. ``resolved``: the image is pinned or
    there is none; ``lacks``: what the hosts lacked when they were first asked for room, empty where nothing.
    """

    deployment: Deployment
    since: float
    resolve_by: float
    base: int | None
    after: Halted | None = None
    resolved: bool = False
    lacks: str = ""
    phase: Literal["preflight"] = "preflight"


class _Stepped:
    """What goes by steps."""

    __slots__ = ()
    steps: tuple[Step, ...]
    step: int

    @property
    def current_step(self) -> Step | None:
        """The step that it is at or on the way to; None past the last one."""
        return self.steps[self.step] if self.step < len(self.steps) else None


@dataclass(frozen=True, slots=True)
class Advancing(_Stepped):
    """Replicas of ``base`` (and older) are being replaced by ``target``, the new one available before the old one goes.

    ``touched``: slots to replace, fixed at the start. ``failed``: names of target replicas that failed, each once.
    ``demand``: the demand that the split between revisions was last computed for. ``progress_by`` moves with progress.
    ``steps``: those that the rollout began with; ``step``: towards which of them, from 0; past the last one towards the
    whole. ``blue_green``: the target grows beside the others, and gets no request before it is whole.
    """

    target: int
    base: int | None
    event: EventRef | None
    started_at: float
    progress_by: float
    demand: int
    touched: int
    failed: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    step: int = 0
    blue_green: bool = False
    phase: Literal["advancing"] = "advancing"


@dataclass(frozen=True, slots=True)
class Judging(_Stepped):
    """A step is reached and available: it lasts ``until`` (None: until somebody lets it go on), and the policies that
    vote on revisions judge it. Fields as in `Advancing`; ``unknown_since``: since when they cannot tell."""

    target: int
    base: int | None
    event: EventRef | None
    started_at: float
    demand: int
    touched: int
    since: float
    until: float | None
    failed: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    step: int = 0
    blue_green: bool = False
    unknown_since: float | None = None
    phase: Literal["judging"] = "judging"


@dataclass(frozen=True, slots=True)
class Soaking:
    """All replicas run ``target``; health and policies' votes are still judged until ``until`` (unknown:
    ``patience_until``). ``standby``: what it replaced is kept beside it, so that going back is a switch."""

    target: int
    base: int | None
    event: EventRef | None
    since: float
    until: float
    patience_until: float
    standby: bool = False
    phase: Literal["soaking"] = "soaking"


@dataclass(frozen=True, slots=True)
class Held:
    """The rollout stands still: replaces nothing; lost replicas are made again in kind, demand is still split.

    ``resumed`` is the phase to go back to; its clock stopped at ``held_at``. ``until``: where the hold ends by itself.
    ``kept``: how many replicas of which revision stand meanwhile (revision, count), as split for ``demand``.
    """

    why: HoldWhy
    resumed: Advancing | Judging | Soaking
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


STANDBY_MIN_S = 30.0
"""What a preview has replaced stands by at least so long, though its room is wanted."""

Running = Advancing | Judging | Soaking
"""The phases in which a new revision is on its way, and that can be held."""
Rollout = Idle | Preflight | Advancing | Judging | Soaking | Held | RollingBack | Halted | Retiring | Retired

TRANSITIONS: dict[str, frozenset[str]] = {
    "idle": frozenset({"idle", "preflight", "advancing", "rolling_back", "retiring", "retired", "halted"}),
    "preflight": frozenset({"preflight", "advancing", "idle", "halted", "soaking", "rolling_back", "retiring"}),
    "advancing": frozenset(
        {"advancing", "judging", "soaking", "idle", "held", "rolling_back", "halted", "preflight", "retiring"}
    ),
    "judging": frozenset({"judging", "advancing", "idle", "held", "rolling_back", "halted", "preflight", "retiring"}),
    "soaking": frozenset({"soaking", "idle", "held", "rolling_back", "halted", "preflight", "retiring"}),
    "held": frozenset(
        {"held", "advancing", "judging", "soaking", "rolling_back", "halted", "preflight", "idle", "retiring"}
    ),
    "rolling_back": frozenset({"rolling_back", "idle", "halted", "preflight", "retiring"}),
    "halted": frozenset({"halted", "preflight", "advancing", "rolling_back", "idle", "retiring"}),
    "retiring": frozenset({"retiring", "retired"}),
    "retired": frozenset({"retired", "idle"}),
}
"""phase -> phases that may follow it in one record; checked by the simulator after each step and drawn in the docs."""


def in_flight(rollout: Rollout) -> bool:
    """Whether an operation is under way that a newer deployment would supersede."""
    return isinstance(rollout, Preflight | Running | Held)


def is_unproven(rollout: Rollout) -> bool:
    """Whether it is not yet known that what will run carries the load: from a deployment's acceptance to the end of
    its soak, held or not, and on the way back."""
    return isinstance(rollout, Preflight | Running | Held | RollingBack)


def is_stepping(rollout: Advancing | Judging) -> bool:
    """Whether it stands at a step, or grows a preview, with both revisions wanted; else it replaces all."""
    return rollout.current_step is not None or rollout.blue_green


def running_of(rollout: Rollout) -> Rollout:
    """The phase itself, or the one that is held."""
    return rollout.resumed if isinstance(rollout, Held) else rollout


def replica_name(service: str, slot: int, revision: int, attempt: int) -> str:
    """The part of a container's name after ``<cluster>.``: ``<service>.s<slot>.r<revision>.<attempt>``."""
    return f"{service}.s{slot}.r{revision}.{attempt}"
