"""A target that touches nothing: every action succeeds in memory, so that ``run --observe`` decides as if hosts obeyed.

What it shows is what was asked of it. Nothing outlives the process.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from autoscaler.core.actions import Create, Outcome, Remove, Resolve, Start, StopReplica, created_replica
from autoscaler.core.world import HostView, ObservedReplica
from autoscaler.ports.target import HostChange, HostListing, Usage


class PretendTarget:
    """Replicas that are healthy as soon as they are started, on hosts of the given names without limits."""

    def __init__(self, name: str, hosts: Sequence[str]) -> None:
        self.name = name
        self.kind = "pretend"
        self._hosts = tuple(hosts) or ("pretend",)
        self._replicas: dict[str, ObservedReplica] = {}
        self._changes: asyncio.Queue[HostChange] = asyncio.Queue()
        self._ids = itertools.count(1)

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def list_replicas(self) -> Sequence[HostListing]:
        """What was asked for so far."""
        return [
            HostListing(
                HostView(host, replicas=sum(1 for r in self._replicas.values() if r.host == host)),
                [replica for replica in self._replicas.values() if replica.host == host],
            )
            for host in self._hosts
        ]

    async def changes(self) -> AsyncIterator[HostChange]:
        """Each pretended change."""
        while True:
            yield await self._changes.get()

    async def resolve(self, action: Resolve) -> Outcome:
        """The reference stands for itself."""
        return Outcome(action, "done", pinned=action.spec.image)

    async def create(self, action: Create) -> Outcome:
        """It exists from now on."""
        known = next((r for r in self._replicas.values() if r.name == action.name), None)
        if known is not None:
            return Outcome(action, "done", id=known.id)
        replica = replace(created_replica(action, f"pretend-{next(self._ids)}"), own_check=True)
        self._show(replica)
        return Outcome(action, "done", id=replica.id)

    async def start(self, action: Start) -> Outcome:
        """It runs and is healthy from now on."""
        replica = self._replicas.get(action.id)
        if replica is not None and replica.condition == "created":
            self._show(replace(replica, condition="running", healthy=True, started_at=time.time()))
        return Outcome(action, "done")

    async def stop(self, action: StopReplica) -> Outcome:
        """It has ended."""
        replica = self._replicas.get(action.id)
        if replica is not None:
            self._show(replace(replica, condition="exited", healthy=None, exit_code=0))
        return Outcome(action, "done")

    async def remove(self, action: Remove) -> Outcome:
        """It is gone."""
        replica = self._replicas.pop(action.id, None)
        if replica is not None:
            self._changes.put_nowait(HostChange(replica.host, removed=replica.id))
        return Outcome(action, "done")

    async def usage(self) -> Sequence[Usage]:
        """Nothing runs, so nothing is used."""
        return ()

    async def logs(self, replica: ObservedReplica, *, follow: bool, tail: int) -> AsyncIterator[bytes]:
        """Nothing runs, so nothing is written."""
        nothing: tuple[bytes, ...] = ()
        for line in nothing:
            yield line

    def _show(self, replica: ObservedReplica) -> None:
        self._replicas[replica.id] = replica
        self._changes.put_nowait(HostChange(replica.host, replica))
