"""A target in memory whose hosts answer when the test lets them, and which tells what the test tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from autoscaler.core.actions import Action, Create, Outcome, Remove, Resolve, Start, StopReplica
from autoscaler.core.revision import Health
from autoscaler.core.world import HostView, ObservedReplica
from autoscaler.engine.clock import SystemClock
from autoscaler.engine.observer import HealthOf, Observer
from autoscaler.engine.supervision import Supervision
from autoscaler.ports.target import HostChange, HostListing, Usage


def seen(replica_id: str = "c1", **changes: Any) -> ObservedReplica:
    """A replica that runs on ``h1`` since second 100."""
    given: dict[str, Any] = {"condition": "running", "started_at": 100.0, "host": "h1"}
    given |= changes
    return ObservedReplica(replica_id, f"shop.web.{replica_id}", "web", 0, 1, 1, **given)


@dataclass
class ScriptedTarget:
    """``replicas``: what the hosts run. ``held``: hosts whose listing, taken at once, is answered later."""

    name: str = "edge"
    kind: str = "docker"
    hosts: dict[str, HostView] = field(default_factory=lambda: {"h1": HostView("h1")})
    replicas: dict[str, ObservedReplica] = field(default_factory=dict)
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    listed: list[str] = field(default_factory=list)
    calls: list[Action] = field(default_factory=list)
    answers: Callable[[Action], Outcome] = lambda action: Outcome(action, "done", id="c1")
    told: asyncio.Queue[HostChange] = field(default_factory=asyncio.Queue)

    @property
    def host_names(self) -> Sequence[str]:
        return tuple(self.hosts)

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def list_host(self, name: str) -> HostListing:
        self.listed.append(name)
        host, replicas = self.hosts[name], tuple(r for r in self.replicas.values() if r.host == name)
        if name in self.held:
            await self.held[name].wait()
        error = self.errors.get(name, "")
        return HostListing(host, () if error else replicas, error)

    async def list_replicas(self) -> Sequence[HostListing]:
        return await asyncio.gather(*(self.list_host(name) for name in self.hosts))

    async def changes(self) -> AsyncIterator[HostChange]:
        while True:
            yield await self.told.get()

    async def tell(self, replica: ObservedReplica) -> None:
        """The replica looks so now, and the host says so."""
        self.replicas[replica.id] = replica
        self.told.put_nowait(HostChange(replica.host, replica=replica))
        await settle()

    async def tell_removal(self, replica_id: str) -> None:
        """The replica is gone, and the host says so."""
        self.told.put_nowait(HostChange(self.replicas.pop(replica_id).host, removed=replica_id))
        await settle()

    async def _call(self, action: Action) -> Outcome:
        self.calls.append(action)
        return self.answers(action)

    async def resolve(self, action: Resolve) -> Outcome:
        return await self._call(action)

    async def create(self, action: Create) -> Outcome:
        return await self._call(action)

    async def start(self, action: Start) -> Outcome:
        return await self._call(action)

    async def stop(self, action: StopReplica) -> Outcome:
        return await self._call(action)

    async def remove(self, action: Remove) -> Outcome:
        return await self._call(action)

    async def usage(self) -> Sequence[Usage]:
        return ()

    async def logs(self, replica: ObservedReplica, *, follow: bool, tail: int) -> AsyncIterator[bytes]:
        for line in ():
            yield line


class WholeTarget:
    """The same target as one that lists all of its hosts or none."""

    def __init__(self, inner: ScriptedTarget) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        if name in ("host_names", "list_host"):
            raise AttributeError(name)
        return getattr(self._inner, name)


@dataclass
class ScriptedClock(SystemClock):
    """``now`` is the wall's time."""

    now: float = 1000.0

    def wall(self) -> float:
        return self.now


@dataclass
class Watched:
    """An observer at work, with what it told."""

    observer: Observer
    target: ScriptedTarget
    clock: ScriptedClock
    supervision: Supervision
    changes: list[str]
    crashes: list[BaseException]
    healths: dict[str, Health | str | None]

    def shown(self) -> dict[str, str]:
        """Id -> condition of the service's replicas."""
        return {replica.id: replica.condition for replica in self.observer.replicas("web")}

    def host(self, name: str = "h1") -> HostView:
        """The host as placement sees it."""
        return next(view for view in self.observer.hosts()["edge"] if view.name == name)


def observing(target: ScriptedTarget, *, whole: bool = False) -> Watched:
    """An observer of the target, not open yet. Services are ours and healthy where they run, unless said."""
    changes: list[str] = []
    crashes: list[BaseException] = []
    healths: dict[str, Health | str | None] = {"web": "own"}
    supervision = Supervision()
    supervision.crashed = crashes.append
    clock = ScriptedClock()
    health_of: HealthOf = lambda service, _: healths.get(service)  # type: ignore[return-value,assignment]  # noqa: E731
    shown: Any = WholeTarget(target) if whole else target
    observer = Observer({"edge": shown}, clock, changes.append, health_of, supervision)
    return Watched(observer, target, clock, supervision, changes, crashes, healths)


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


def ended(replica: ObservedReplica, **changes: Any) -> ObservedReplica:
    """The replica after its end."""
    return replace(replica, condition="exited", exit_code=0, **changes)
