"""Actions and patience for tests of targets: what the engine would ask of a target, in a line each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from autoscaler.core.actions import Create, Outcome, Remove, Start, StopReplica
from autoscaler.core.revision import RevisionSpec, content_hash
from autoscaler.core.rollout import replica_name
from autoscaler.core.world import HostView, ObservedReplica
from autoscaler.ports.target import HostChange, Target

T = TypeVar("T")

SETTLE_S = 0.1
"""What a target may take from the first ask for changes until it misses none."""


class Asks:
    """Asks one target on one host for replicas of one service."""

    def __init__(self, target: Target, cluster: str, host: str, service: str = "web") -> None:
        self.target = target
        self.cluster = cluster
        self.host = host
        self.service = service

    def creation(self, spec: RevisionSpec, *, slot: int = 0, revision: int = 1, attempt: int = 1) -> Create:
        """The action as `plan` would make it; generation 7, token 3."""
        name = f"{self.cluster}.{replica_name(self.service, slot, revision, attempt)}"
        content = content_hash(spec)
        return Create(self.service, slot, revision, attempt, self.host, spec, 7, 3, content, name)

    async def create(
        self, spec: RevisionSpec, *, slot: int = 0, revision: int = 1, attempt: int = 1
    ) -> ObservedReplica:
        """A created replica, as it is then listed."""
        action = self.creation(spec, slot=slot, revision=revision, attempt=attempt)
        done = await self.target.create(action)
        assert done.result == "done", done
        assert done.id
        return await self.shown(action.name)

    async def run(self, spec: RevisionSpec, *, slot: int = 0, revision: int = 1, attempt: int = 1) -> ObservedReplica:
        """A started replica, as it is then listed."""
        created = await self.create(spec, slot=slot, revision=revision, attempt=attempt)
        done = await self.start(created, spec)
        assert done.result == "done", done
        return await self.shown(created.name)

    async def start(self, replica: ObservedReplica, spec: RevisionSpec | None = None) -> Outcome:
        """Start it, with the secrets of ``spec``."""
        secrets, marks = (spec.secrets, spec.secret_marks) if spec is not None else ((), ())
        return await self.target.start(Start(self.service, replica.host, replica.id, replica.name, secrets, marks))

    async def stop(self, replica: ObservedReplica, *, grace_s: float = 5.0, signal: str = "TERM") -> Outcome:
        """Stop it."""
        action = StopReplica(self.service, replica.host, replica.id, replica.name, signal, grace_s, 0.0)
        return await self.target.stop(action)

    async def remove(self, replica: ObservedReplica) -> Outcome:
        """Remove it."""
        return await self.target.remove(Remove(self.service, replica.host, replica.id, replica.name))

    async def replicas(self) -> list[ObservedReplica]:
        """All that the hosts list, which must have answered."""
        listings = await self.target.list_replicas()
        assert all(not listing.error for listing in listings), listings
        return [replica for listing in listings for replica in listing.replicas]

    async def shown(self, name: str) -> ObservedReplica:
        """The listed replica of that name."""
        (replica,) = [replica for replica in await self.replicas() if replica.name == name]
        return replica

    async def view(self) -> HostView:
        """The host as listed."""
        (view,) = [listing.host for listing in await self.target.list_replicas() if listing.host.name == self.host]
        return view

    async def ended(self, name: str) -> ObservedReplica:
        """The replica of that name when it has ended."""

        async def look() -> ObservedReplica:
            return await self.shown(name)

        return await eventually(look, lambda replica: replica.condition == "exited")


async def eventually(look: Callable[[], Awaitable[T]], holds: Callable[[T], bool], within_s: float = 15.0) -> T:
    """What ``look`` gives once it ``holds``; fails with the last thing seen."""
    until = time.monotonic() + within_s
    while not holds(seen := await look()):
        assert time.monotonic() < until, f"not within {within_s} s; last seen: {seen}"
        await asyncio.sleep(0.05)
    return seen


class Listener:
    """Collects a target's changes while it is entered."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._arrived = asyncio.Event()
        self._taken = 0
        self.heard: list[HostChange] = []

    async def __aenter__(self) -> Listener:
        self._task = asyncio.create_task(self._listen())
        await asyncio.sleep(SETTLE_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def until(self, holds: Callable[[HostChange], bool], within_s: float = 15.0) -> HostChange:
        """The next change that ``holds``, after those that were waited for before; fails with all that was heard."""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    while self._taken < len(self.heard):
                        self._taken += 1
                        if holds(self.heard[self._taken - 1]):
                            return self.heard[self._taken - 1]
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(f"no such change within {within_s} s; heard {self.heard}") from None

    async def _listen(self) -> None:
        async for change in self._target.changes():
            self.heard.append(change)
            self._arrived.set()


def shows(condition: str) -> Callable[[HostChange], bool]:
    """Whether a change shows a replica in this condition."""
    return lambda change: change.replica is not None and change.replica.condition == condition
