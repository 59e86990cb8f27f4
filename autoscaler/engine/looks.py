"""Lists the targets' hosts, at most once at a time each, and knows what has become newer than a listing under way.

Where a target lists host by host, each listing counts as soon as it is there: a host that hangs holds up no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from autoscaler.engine.supervision import Supervision
from autoscaler.errors import TargetError
from autoscaler.ports.target import HostListing, ListsByHost, Target

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Newer:
    """What was told since a look began: ids of replicas, and ports (host, number) that became free."""

    replicas: set[str] = field(default_factory=set)
    freed: set[tuple[str, int]] = field(default_factory=set)


Apply = Callable[[str, HostListing, Newer], None]
"""(target, listing, what is newer than it)."""


class _Line:
    """The looks at one host, or at all hosts of a target that knows no single ones. One is under way at a time."""

    def __init__(
        self, lists: Callable[[], Awaitable[Sequence[HostListing]]], take: Callable[[HostListing, Newer], None]
    ) -> None:
        self.newer: Newer | None = None
        self.wanted = False
        self._lists = lists
        self._take = take
        self._turn = asyncio.Lock()
        self._begun = 0
        self._ended = 0

    async def look(self) -> None:
        """Returns when a look that began after this call has ended; many callers share one."""
        asked = self._begun
        async with self._turn:
            self.wanted = False
            if self._ended > asked:
                return
            self._begun += 1
            self.newer = newer = Newer()
            try:
                listings = await self._lists()
            finally:
                self.newer = None
            for listing in listings:
                self._take(listing, newer)
            self._ended = self._begun


class Looks:
    """Looks at the hosts of all targets; ``apply`` gets each listing."""

    def __init__(self, targets: Mapping[str, Target], apply: Apply, supervision: Supervision) -> None:
        self._supervision = supervision
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines: dict[str, dict[str, _Line]] = {}
        for name, target in targets.items():
            take = partial(apply, name)
            if isinstance(target, ListsByHost):
                lines = {host: _Line(partial(_one_host, name, target, host), take) for host in target.host_names}
            else:
                lines = {"": _Line(partial(_every_host, name, target), take)}
            self._lines[name] = lines

    async def look(self, target: str, host: str = "") -> None:
        """Look at one host anew, or at every host of the target."""
        await asyncio.gather(*(line.look() for line in self._chosen(target, host)))

    def soon(self, target: str, host: str = "") -> None:
        """Look anew without waiting for it."""
        for line in self._chosen(target, host):
            if not line.wanted:
                line.wanted = True
                task = self._supervision.start(line.look(), name=f"look at {host or target}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def told(self, target: str, replica_id: str, freed: frozenset[tuple[str, int]]) -> None:
        """Something was told of the replica: a look that is under way may not know it yet."""
        for line in self._lines[target].values():
            if line.newer is not None:
                line.newer.replicas.add(replica_id)
                line.newer.freed |= freed

    async def close(self) -> None:
        """Look no more."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _chosen(self, target: str, host: str) -> list[_Line]:
        lines = self._lines[target]
        return [lines[host]] if host in lines else list(lines.values())


async def _one_host(name: str, target: ListsByHost, host: str) -> Sequence[HostListing]:
    try:
        return [await target.list_host(host)]
    except TargetError as error:
        log.warning("cannot list replicas", target=name, host=host, error=str(error))
        return []


async def _every_host(name: str, target: Target) -> Sequence[HostListing]:
    try:
        return await target.list_replicas()
    except TargetError as error:
        log.warning("cannot list replicas", target=name, error=str(error))
        return []
