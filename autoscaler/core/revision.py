"""What to run: a revision's content, immutable, hashed, without a replica count.

Called by decide, plan, the codecs and the targets. Pure.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Literal

from autoscaler.core.facts import EventRef

Pairs = tuple[tuple[str, str], ...]
Standing = Literal["unproven", "healthy", "stable", "rejected"]
"""unproven: accepted, never seen healthy; healthy: was available once; stable: passed its soak; rejected: failed by
its own fault."""


@dataclass(frozen=True, slots=True)
class Port:
    """A container port; ``host`` is the fixed host port, None for an ephemeral one. Numbers 1-65535."""

    container: int
    host: int | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """How the owner asks a replica for its health; durations in seconds.

    ``http`` is a path asked on ``port`` (a name of `RevisionSpec.ports`); ``tcp`` asks for a connection only; neither:
    the image's own HEALTHCHECK, or merely running.
    """

    http: str = ""
    tcp: bool = False
    port: str = ""
    every_s: float = 1.0
    timeout_s: float = 1.0
    failures: int = 3
    start_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Stop:
    """How a replica is asked to end: ``signal`` without SIG, then SIGKILL after ``grace_s`` seconds."""

    signal: str = "TERM"
    grace_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Resources:
    """What one replica reserves on its host: cpu in millicores, memory in bytes; 0 = nothing reserved."""

    cpu_millis: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class RevisionSpec:
    """Everything that makes one replica, except how many and where.

    ``image`` as written (``shop/web:2``); ``pinned`` is what really runs, a digest reference or an image id, empty
    until resolved and always empty on the process target, which takes ``command`` instead. ``command`` and
    ``entrypoint`` are argv; empty = as in the image. ``secrets`` maps a name to a file path on the owner's machine,
    ``secret_marks`` the name to a mark of the content that was accepted; ``platforms`` is what the image is made for
    (``linux/amd64``), empty where nobody could tell: both are known when resolved. The fields from ``privileged`` to
    ``read_only`` loosen or tighten the container's isolation; what loosens it needs the configuration's ``allow``
    (`autoscaler.core.permissions`).
    """

    image: str = ""
    pinned: str = ""
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    env: Pairs = ()
    ports: tuple[tuple[str, Port], ...] = ()
    resources: Resources = Resources()
    health: Health | None = None
    stop: Stop = Stop()
    user: str = ""
    volumes: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    secrets: Pairs = ()
    labels: Pairs = ()
    pull: Literal["missing", "always", "never", ""] = ""
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    pid: Literal["host", ""] = ""
    ipc: Literal["host", ""] = ""
    read_only: bool = False
    secret_marks: Pairs = ()
    platforms: tuple[str, ...] = ()

    @property
    def unresolved(self) -> RevisionSpec:
        """The spec as it was asked for, without what was found out about it."""
        return replace(self, pinned="", secret_marks=(), platforms=())

    @property
    def pins_host(self) -> bool:
        """Whether two replicas can't run side by side on one host: a fixed host port or a local volume."""
        return bool(self.volumes) or any(port.host is not None for _, port in self.ports)


ISOLATION = ("privileged", "cap_add", "cap_drop", "devices", "pid", "ipc", "read_only")
"""Fields that say how isolated a container is."""

FOUND = ("pinned", "secret_marks", "platforms")
"""Fields that nobody writes: they are found out when the spec is resolved."""

ADDED = (*ISOLATION, "secret_marks")
"""Fields that revisions accepted by an older program did not have: where they have their default they do not count in
the hash."""


def content_hash(spec: RevisionSpec) -> str:
    """SHA-256 (first 32 hex digits) of what would run; the tag's spelling and the pull rule do not count once
    pinned."""
    counted = replace(spec, image="" if spec.pinned else spec.image, pull="")
    values = asdict(counted)
    del values["platforms"]  # the pinned content has them
    for name in ADDED:
        if not values[name]:
            del values[name]
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Revision:
    """A numbered, accepted spec of one service; ``accepted_at`` in seconds since the epoch, UTC."""

    number: int
    spec: RevisionSpec
    content: str
    accepted_at: float
    version: str = ""
    standing: Standing = "unproven"
    event: EventRef | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment event that passed the guards and is not yet a revision: its image may still be a tag."""

    event: EventRef
    spec: RevisionSpec
    arrived_at: float
    version: str = ""
