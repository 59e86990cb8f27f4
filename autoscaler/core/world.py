"""What the hosts show of one service at one moment: an argument of `decide` and `plan`, never stored.

Built by the engine's observer from the target's list and events and from the health prober. Pure values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from autoscaler.core.grants import UNLIMITED, Grants

ReplicaCondition = Literal["created", "running", "exited"]
HostCondition = Literal["ready", "suspect", "lost", "cordoned", "draining"]


@dataclass(frozen=True, slots=True)
class ObservedReplica:
    """One container or process that carries our cluster's label.

    ``id`` addresses it (immutable). ``healthy``: True, False (failed its checks past their limit), or None, not known
    yet. ``healthy_since``: start of the unbroken healthy run. ``address``: port name -> ``host:port``. ``token`` and
    ``generation`` are its labels. ``own_check``: the image has a health check of its
    own, so that not knowing is not the same as having none. ``stopping``: we asked it to stop and it has not ended yet.
    ``drift``: what somebody's hand changed on it since it was made, in words; empty where nothing differs. ``made_at``:
    when it was made, by its host's clock. ``displaces``: replicas of other services that are to go before it starts.
    """

    id: str
    name: str
    service: str
    slot: int
    revision: int
    attempt: int
    host: str
    condition: ReplicaCondition
    healthy: bool | None = None
    healthy_since: float | None = None
    started_at: float | None = None
    exit_code: int | None = None
    address: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    generation: int = 0
    token: int = 0
    stopping: bool = False
    cpu_millis: int = 0
    memory_bytes: int = 0
    note: str = ""
    own_check: bool = False
    drift: str = ""
    made_at: float | None = None
    displaces: tuple[str, ...] = ()


TaintEffect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


@dataclass(frozen=True, slots=True)
class Taint:
    """What keeps replicas off a host that do not tolerate it, in Kubernetes' words: ``NoSchedule`` takes no new one,
    ``NoExecute`` also moves those that are there, ``PreferNoSchedule`` only counts against the host."""

    key: str
    value: str = ""
    effect: TaintEffect = "NoSchedule"

    def __str__(self) -> str:
        return f"{self.key}{'=' if self.value else ''}{self.value}:{self.effect}"


@dataclass(frozen=True, slots=True)
class HostView:
    """One host of the pool: capacity and what is reserved on it by labels, in millicores and bytes; 0 capacity =
    unknown.

    ``known``: its list of replicas is current. Where it is False, absence means nothing. ``since``: when the condition
    began. ``images``: contents known to be there, by digest reference or image id, with their size in bytes.
    ``cpu_percent``, ``memory_percent``: how much of the capacity may be reserved, before ``kept_*`` is taken off.
    ``cpu_load``, ``memory_load``: shares of the capacity that replicas used lately, 60 s mean; None: not measured.
    ``services``: those that have a replica there.
    """

    name: str
    condition: HostCondition = "ready"
    known: bool = True
    since: float = 0.0
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    cpu_millis: int = 0
    memory_bytes: int = 0
    reserved_cpu_millis: int = 0
    reserved_memory_bytes: int = 0
    replicas: int = 0
    ports_taken: frozenset[int] = frozenset()
    lacks_images: frozenset[str] = frozenset()
    platform: str = ""
    taints: tuple[Taint, ...] = ()
    cpu_percent: int = 100
    memory_percent: int = 100
    kept_cpu_millis: int = 0
    kept_memory_bytes: int = 0
    images: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    cpu_load: float | None = None
    memory_load: float | None = None
    services: frozenset[str] = frozenset()

    @property
    def cpu_room(self) -> int:
        """Millicores that may be reserved in all: capacity times overcommit less what is kept back; 0: unknown."""
        if not self.cpu_millis:
            return 0
        return max(1, self.cpu_millis * self.cpu_percent // 100 - self.kept_cpu_millis)

    @property
    def memory_room(self) -> int:
        """Bytes that may be reserved in all, as `cpu_room`; 0: unknown."""
        if not self.memory_bytes:
            return 0
        return max(1, self.memory_bytes * self.memory_percent // 100 - self.kept_memory_bytes)

    def is_exceeded_by(self, cpu_millis: int, memory_bytes: int) -> bool:
        """Whether that is more than may be reserved in all."""
        cpu, memory = self.cpu_room, self.memory_room
        return bool((cpu and cpu_millis > cpu) or (memory and memory_bytes > memory))


class Hosts(tuple[HostView, ...]):  # noqa: SLOT001 - a tuple has no room for slots
    """The hosts of a pool, by name as well.

    ``memo``: what is worked out from single hosts once, shared by all views of one pool, as most hosts are the same
    objects in the next. ``serial`` numbers the views; this one differs from ``former`` in the hosts ``changed`` only.
    """

    memo: dict[object, object]
    serial: int
    former: int
    changed: tuple[str, ...]
    _at: dict[str, int] | None

    def __new__(cls, hosts: Iterable[HostView] = (), memo: dict[object, object] | None = None) -> Hosts:
        """The hosts in this order; ``memo`` of an earlier view of the same pool."""
        made = super().__new__(cls, hosts)
        made.memo = {} if memo is None else memo
        counted = made.memo.get("serial")
        made.serial = (counted if isinstance(counted, int) else 0) + 1
        made.memo["serial"] = made.serial
        made.former, made.changed, made._at = 0, (), None
        return made

    def replaced(self, views: Mapping[str, HostView]) -> Hosts:
        """The same hosts, some of them as they are now."""
        hosts, places = list(self), self._places()
        for name, view in views.items():
            hosts[places[name]] = view
        made = Hosts(hosts, self.memo)
        made.former, made.changed, made._at = self.serial, tuple(views), places
        return made

    def named(self, name: str) -> HostView | None:
        """The host of that name, or None."""
        place = self._places().get(name)
        return None if place is None else self[place]

    def _places(self) -> dict[str, int]:
        """Host name -> its place, worked out once for all views with the same hosts in the same order."""
        if self._at is None:
            found = self.memo.get("places")
            same = isinstance(found, dict) and self._has_names_of(found)
            self._at = found if same else {host.name: place for place, host in enumerate(self)}  # type: ignore[assignment]
            self.memo["places"] = self._at
        return self._at or {}

    def _has_names_of(self, places: dict[str, int]) -> bool:
        return len(places) == len(self) and all(places.get(host.name) == at for at, host in enumerate(self))


@dataclass(frozen=True, slots=True)
class Precedence:
    """What one service may do to others in a full pool: its ``priority``, and how many replicas it keeps at least."""

    priority: int
    replicas_min: int


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What runs on the hosts of a target, whosever it is; looked at only where room lacks, or where two took the last.

    ``tenants``: host -> all that holds room there. ``steady``: service -> how many of its replicas hold room and are
    not to give way. ``precedence`` of every configured service; ``lowest`` of their priorities.
    """

    tenants: Mapping[str, Sequence[ObservedReplica]] = field(default_factory=lambda: MappingProxyType({}))
    steady: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    precedence: Mapping[str, Precedence] = field(default_factory=lambda: MappingProxyType({}))
    lowest: int = 0


ALONE = Neighbours()


@dataclass(frozen=True, slots=True)
class World:
    """All that one decision about one service may know of the outside; ``token`` is this owner's.

    ``uncertain``: names of replicas with a call in flight or an answer lost, untouched until seen anew.
    ``watched_since``: when this owner began to look; what happened before, nobody could have seen. ``scores``: what
    `score_host` plugins said: label -> host -> millionths. ``claims``: replicas of other services that wait for some of
    this one to give way. ``grants``: what budgets say of it.
    """

    now: float
    replicas: tuple[ObservedReplica, ...] = ()
    hosts: tuple[HostView, ...] = ()
    token: int = 0
    uncertain: frozenset[str] = frozenset()
    watched_since: float = 0.0
    scores: Mapping[str, Mapping[str, int]] = field(default_factory=lambda: MappingProxyType({}))
    neighbours: Neighbours = ALONE
    claims: tuple[ObservedReplica, ...] = ()
    grants: Grants = UNLIMITED

    def __post_init__(self) -> None:
        if not isinstance(self.hosts, Hosts):
            object.__setattr__(self, "hosts", Hosts(self.hosts))

    def judged_from(self, at: float, host: str = "") -> float:
        """From when a clock that began at ``at`` may count against what is seen: only while it could be seen, by this
        owner and on a host that answers."""
        view = self.host(host) if host else None
        return max(at, self.watched_since, view.since if view is not None else 0.0)

    def host(self, name: str) -> HostView | None:
        """The host of that name, or None where the pool no longer has it."""
        return self.hosts.named(name) if isinstance(self.hosts, Hosts) else None
