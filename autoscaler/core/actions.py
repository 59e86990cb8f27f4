"""What the reconciler may ask of a target, and what comes back. Values only.

Made by `plan`, executed by the engine's actuator through the target port, answered as an `Outcome` that goes back into
`decide` as a stimulus and into the audit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from autoscaler.core.facts import EventRef
from autoscaler.core.revision import Pairs, RevisionSpec
from autoscaler.core.world import ObservedReplica


@dataclass(frozen=True, slots=True)
class Resolve:
    """Find out what ``spec``'s image is on the hosts and its secrets are, once, and pin them; ``event`` is the
    deployment that asks for it."""

    service: str
    spec: RevisionSpec
    event: EventRef | None = None
    kind: Literal["resolve"] = "resolve"

    @property
    def key(self) -> str:
        """One resolution is in flight at a time for a deployment: an overtaken one keeps nobody waiting."""
        asked_by = f"{self.event.source}/{self.event.id}" if self.event is not None else self.spec.image
        return f"{self.service}.resolve/{asked_by}/"


@dataclass(frozen=True, slots=True)
class Create:
    """Make the replica on ``host``; the name is the compare-and-set. It is started by `Start`, and says to all who look
    at the host whom it ``displaces``."""

    service: str
    slot: int
    revision: int
    attempt: int
    host: str
    spec: RevisionSpec
    generation: int
    token: int
    content: str
    name: str
    displaces: tuple[str, ...] = ()
    kind: Literal["create"] = "create"

    @property
    def key(self) -> str:
        """The replica's name: one call in flight for it at a time."""
        return self.name


@dataclass(frozen=True, slots=True)
class Start:
    """Start a created replica; ``secrets`` and ``secret_marks`` are its revision's, delivered right before."""

    service: str
    host: str
    id: str
    name: str
    secrets: Pairs = ()
    secret_marks: Pairs = ()
    kind: Literal["start"] = "start"

    @property
    def key(self) -> str:
        """The replica's name: one call in flight for it at a time."""
        return self.name


@dataclass(frozen=True, slots=True)
class StopReplica:
    """Take it out of traffic (at most ``drain_s``), send ``signal``, after ``grace_s`` kill it."""

    service: str
    host: str
    id: str
    name: str
    signal: str
    grace_s: float
    drain_s: float
    kind: Literal["stop"] = "stop"

    @property
    def key(self) -> str:
        """The replica's name: one call in flight for it at a time."""
        return self.name


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a replica that has ended or never started."""

    service: str
    host: str
    id: str
    name: str
    kind: Literal["remove"] = "remove"

    @property
    def key(self) -> str:
        """The replica's name: one call in flight for it at a time."""
        return self.name


Action = Resolve | Create | Start | StopReplica | Remove


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an action ended.

    ``result``: done; conflict (the name is taken by something that is not this replica); refused (the host said no and
    would again); unavailable (surely not done); unknown (no answer: observe). ``blame``: whose fault a failure is.
    ``pinned``, ``platforms``, ``secret_marks``: of `Resolve`, what the image and the secrets are. ``id``: of `Create`,
    the replica's address.
    """

    action: Action
    result: Literal["done", "conflict", "refused", "unavailable", "unknown"]
    text: str = ""
    blame: Literal["", "revision", "host"] = ""
    pinned: str = ""
    platforms: tuple[str, ...] = ()
    secret_marks: Pairs = ()
    id: str = ""
    numbers: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


def created_replica(action: Create, replica_id: str) -> ObservedReplica:
    """The replica as it looks right after its creation, before the host has told more of it."""
    return ObservedReplica(
        id=replica_id,
        name=action.name,
        service=action.service,
        slot=action.slot,
        revision=action.revision,
        attempt=action.attempt,
        host=action.host,
        condition="created",
        generation=action.generation,
        token=action.token,
        cpu_millis=action.spec.resources.cpu_millis,
        memory_bytes=action.spec.resources.memory_bytes,
        displaces=action.displaces,
    )
