"""One service's durable state: the fold of its records, and nothing that cannot be rebuilt from them.

Written to the state topic by the ledger, restored on take-over, changed by `evolve` only. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoscaler.core.facts import EventRef, Reason
from autoscaler.core.revision import Deployment, Pairs, Revision
from autoscaler.core.rollout import Idle, Rollout


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica that must exist: which slot, revision and attempt, on which host.

    ``created_at``: when its creation was confirmed, None before. ``available_at``: when it first had been healthy for
    ``min_healthy`` without a break. ``at`` moments in seconds since the epoch, UTC. ``displaces``: names of other
    services' replicas that have to give way before it is started; empty once there is room.
    """

    slot: int
    revision: int
    attempt: int
    host: str
    placed_at: float
    created_at: float | None = None
    available_at: float | None = None
    displaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Setback:
    """When replicas of a slot failed lately (newest last), where the last did, and before when it is not tried
    again. ``hosts``: where each of them failed; ``revision``: what the last one ran; ``blame``: whose fault it was."""

    slot: int
    at: tuple[float, ...]
    retry_at: float
    host: str = ""
    hosts: tuple[str, ...] = ()
    revision: int = 0
    blame: str = ""


@dataclass(frozen=True, slots=True)
class Displaced:
    """A slot whose replica gave way to a service of higher priority, and that has found no other host since."""

    slot: int
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Leaving:
    """A host that is to be emptied and that replicas of the service have not left, ``since`` it was found so; ``told``:
    that it takes too long has been said."""

    host: str
    since: float
    told: bool = False


@dataclass(frozen=True, slots=True)
class Override:
    """An operator's demand, in force until ``until`` (None: until ``scale auto``)."""

    replicas: int
    until: float | None
    event: EventRef


@dataclass(frozen=True, slots=True)
class Scheduled:
    """An operator's demand that is to be in force from ``begins_at`` until ``until`` (None: until ``scale auto``)."""

    replicas: int
    begins_at: float
    until: float | None
    event: EventRef
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Freeze:
    """An operator's freeze: ``update`` stops updates, ``all`` stops scaling as well; ends at ``until`` (None:
    never)."""

    scope: Literal["update", "all"]
    until: float | None
    event: EventRef


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """A deployment or control event that already has its place in the ledger; ``verdict`` empty while undecided."""

    event: EventRef
    verdict: str


@dataclass(frozen=True, slots=True)
class Verification:
    """A rollback that policies asked for has ended, and whether they have nothing against ``revision`` any more is to
    be seen by ``until``; ``late``: it was not, and still is not. ``text``: what they had against the other one."""

    revision: int
    text: str
    until: float
    late: bool = False


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What the last evaluation came to, as far as a change of it is worth a record: never numbers or text."""

    kind: str
    to: int
    code: str
    winner: str
    clamps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServiceState:
    """Everything durable about one service.

    ``generation`` grows by one with each decided record that changes desired state (demand, revision); ``seq`` by one
    with each record; ``chain`` is the hash of the last audit event. ``revision`` is the wanted revision's number, 0
    before the first. ``replicas`` are those that must exist now, ordered by slot then attempt; what runs beyond them is
    to be stopped, but for ``lost``: what was available on hosts that were lost, and is left alone until they are back
    or it is not needed. ``attempts`` never resets. ``waiting`` is a deployment that waits behind a rollback.
    ``former``: images (as written, pinned content) whose revisions are not kept any more, until the hosts are rid of
    them. ``asked``: the demand without budgets, where one allows less.
    """

    service: str
    generation: int = 0
    seq: int = 0
    chain: str = ""
    demand: int = 0
    asked: int | None = None
    initialised: bool = False
    revision: int = 0
    revisions: tuple[Revision, ...] = ()
    former: Pairs = ()
    rollout: Rollout = Idle()
    waiting: Deployment | None = None
    replicas: tuple[Replica, ...] = ()
    lost: tuple[Replica, ...] = ()
    attempts: int = 0
    setbacks: tuple[Setback, ...] = ()
    pending: Reason | None = None
    displaced: tuple[Displaced, ...] = ()
    leaving: tuple[Leaving, ...] = ()
    override: Override | None = None
    scheduled: tuple[Scheduled, ...] = ()
    freeze: Freeze | None = None
    last_up_at: float | None = None
    last_down_at: float | None = None
    steps: tuple[tuple[float, int], ...] = ()
    rollbacks: tuple[float, ...] = ()
    verification: Verification | None = None
    conclusion: Conclusion | None = None
    seen: tuple[SeenEvent, ...] = ()
    updated_at: float = 0.0

    def revision_numbered(self, number: int) -> Revision | None:
        """The kept revision of that number, or None where history no longer has it."""
        return next((r for r in self.revisions if r.number == number), None)

    @property
    def asking(self) -> int:
        """The demand that there would be without budgets."""
        return self.demand if self.asked is None else self.asked

    @property
    def current(self) -> Revision | None:
        """The wanted revision."""
        return self.revision_numbered(self.revision)
