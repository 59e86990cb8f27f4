"""What the hosts show of one service at one moment: an argument of `decide` and `plan`, never stored.

Built by the engine's observer from the target's list and events and from the health prober. Pure values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

ReplicaCondition = Literal["created", "running", "exited"]
HostCondition = Literal["ready", "suspect", "lost", "cordoned", "draining"]


@dataclass(frozen=True, slots=True)
class ObservedReplica:
    """One container or process that carries our cluster's label.

    ``id`` addresses it (immutable). ``healthy``: True, False (failed its checks past their limit), or None, not known
    yet. ``healthy_since``: start of the unbroken healthy run. ``address``: port name -> ``host:port``. ``token`` and
    ``generation`` are its labels. ``own_check``: the image has a health check of its
    own, so that not knowing is not the same as having none. ``stopping``: we asked it to stop and it has not ended yet.
    ``drift``: what somebody's hand changed on it since it was made, in words; empty where nothing differs.
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


@dataclass(frozen=True, slots=True)
class HostView:
    """One host of the pool: capacity and what is reserved on it by labels, in millicores and bytes; 0 capacity =
    unknown.

    ``known``: its list of replicas is current. Where it is False, absence means nothing. ``since``: when the condition
    began. ``images``: pinned contents known to be there (may be incomplete).
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


@dataclass(frozen=True, slots=True)
class World:
    """All that one decision about one service may know of the outside; ``token`` is this owner's.

    ``uncertain``: names of replicas with a call in flight or an answer lost, untouched until seen anew.
    ``watched_since``: when this owner began to look; what happened before, nobody could have seen.
    """

    now: float
    replicas: tuple[ObservedReplica, ...] = ()
    hosts: tuple[HostView, ...] = ()
    token: int = 0
    uncertain: frozenset[str] = frozenset()
    watched_since: float = 0.0

    def judged_from(self, at: float, host: str = "") -> float:
        """From when a clock that began at ``at`` may count against what is seen: only while it could be seen, by this
        owner and on a host that answers."""
        view = self.host(host) if host else None
        return max(at, self.watched_since, view.since if view is not None else 0.0)

    def host(self, name: str) -> HostView | None:
        """The host of that name, or None where the pool no longer has it."""
        return next((h for h in self.hosts if h.name == name), None)
