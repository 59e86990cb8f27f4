"""The target port: what can run replicas. `docker` (a pool of engines) and `process` (local processes) implement it.

A target keeps no memory of what it was asked: names and labels on the replicas are the compare-and-set, and
`list_replicas` tells the truth. Every call has a deadline of its own inside the adapter and never blocks the event
loop. One contract suite (tests/contract/test_target.py) runs on all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from autoscaler.core.actions import Create, Outcome, Remove, Resolve, Start, StopReplica
from autoscaler.core.revision import Pairs
from autoscaler.core.world import HostView, ObservedReplica


@dataclass(frozen=True, slots=True)
class HostListing:
    """What one host runs of this cluster, or why it could not be asked.

    ``error`` empty: ``replicas`` is complete (running, created and exited ones) and ``host`` current. Else
    ``replicas`` is empty and means nothing: absence of information is not absence.
    """

    host: HostView
    replicas: Sequence[ObservedReplica]
    error: str = ""


@dataclass(frozen=True, slots=True)
class HostChange:
    """Something changed on a host. ``replica``: the replica's new appearance (condition exited after its end); None
    with ``removed`` set: that id is gone; both None: look at the whole host again (connection lost or regained)."""

    host: str
    replica: ObservedReplica | None = None
    removed: str | None = None


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of one image on one host: removed; absent before; used by a container or by a revision under another
    name; named by somebody else as well, and so left; unknown, as the host did not answer."""

    host: str
    pinned: str
    result: Literal["removed", "absent", "used", "named", "unknown"]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a replica uses now: cpu in cores, memory in bytes."""

    name: str
    service: str
    revision: int
    cpu_cores: float
    memory_bytes: int


class Target(Protocol):
    """One configured target. Health that needs asking over the network is the engine's prober, not the target's;
    ``ObservedReplica.healthy`` is set here only from an image's own HEALTHCHECK, and to False where a replica surely
    cannot serve, as when it is paused."""

    name: str
    kind: str

    async def open(self) -> None:
        """Start workers and connections. Hosts that cannot be reached are no error: their listing says so."""

    async def close(self) -> None:
        """Let go of connections within a few seconds; the replicas go on."""

    async def list_replicas(self) -> Sequence[HostListing]:
        """Every host's listing of this cluster's replicas, hosts asked side by side."""

    def changes(self) -> AsyncIterator[HostChange]:
        """Changes as the hosts tell them, for ever; starts with nothing and resumes by itself after a lost connection
        (yielding a whole-host change)."""

    async def resolve(self, action: Resolve) -> Outcome:
        """Done with ``pinned``; or refused with ``blame`` revision (no such image, different contents by host)."""

    async def create(self, action: Create) -> Outcome:
        """Done with ``id``; done as well where exactly this replica exists already; conflict where the name is
        foreign."""

    async def start(self, action: Start) -> Outcome:
        """Done, as well where it runs already; refused where the command cannot run (blame revision) or a port is taken
        (blame host)."""

    async def stop(self, action: StopReplica) -> Outcome:
        """Done when it has ended, as well where it had before or is gone."""

    async def remove(self, action: Remove) -> Outcome:
        """Done when it is gone, as well where it was before."""

    async def usage(self) -> Sequence[Usage]:
        """CPU and memory of each running replica, hosts that do not answer left out."""

    def logs(self, replica: ObservedReplica, *, follow: bool, tail: int) -> AsyncIterator[bytes]:
        """The replica's output lines, oldest of the last ``tail`` first."""


@runtime_checkable
class ListsByHost(Protocol):
    """What a target of many hosts may offer as well: their listings one by one, so that a slow one delays no other."""

    @property
    def host_names(self) -> Sequence[str]:
        """Every host, in the order of the configuration."""

    async def list_host(self, name: str) -> HostListing:
        """One host's listing; KeyError for a name that is none of `host_names`."""


@runtime_checkable
class Prunes(Protocol):
    """What a target whose hosts keep images may offer as well."""

    async def prune(self, images: Pairs, needed: frozenset[str]) -> Sequence[Pruned]:
        """Remove images (as written, pinned content) from every host, where no container uses them, none of ``needed``
        is the same content, and nobody else gave it a name. Raises nothing for what a host does."""
