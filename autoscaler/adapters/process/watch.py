"""Changes of replicas as they happen.

A running replica's supervisor is watched by a pidfd, so that an end is seen at once, whoever started it. What other
members create, start and remove is seen by the root directory's time stamp, looked at every 0.25 s (one stat call).
Where no pidfd can be had (old kernel, too many open files) that replica is looked at every 0.25 s too.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor

from autoscaler.adapters.process.identity import ProcessIdentity, reap
from autoscaler.adapters.process.record import HOST, ReplicaDirectories
from autoscaler.core.world import ObservedReplica
from autoscaler.ports.target import HostChange

POLL_S = 0.25
SAME_STAMP_NS = 20_000_000
"""Two changes within one tick of the file system's clock share a stamp: look once more until it is that old."""


class Watch:
    """One consumer's view of the replicas; reports what differs from what it saw before."""

    def __init__(self, directories: ReplicaDirectories, threads: Executor) -> None:
        self._directories = directories
        self._threads = threads
        self._seen: dict[str, ObservedReplica] = {}
        self._pidfds: dict[str, int] = {}
        self._pids: dict[str, int] = {}
        self._polled: set[str] = set()
        self._nudged: set[str] = set()
        self._wake = asyncio.Event()
        self._stamp = 0
        self._settled = False
        self._readable = True

    def nudge(self, name: str) -> None:
        """Look at that replica now: this member has just changed it."""
        self._nudged.add(name)
        self._wake.set()

    def close(self) -> None:
        """Lets go of every descriptor."""
        for name in list(self._pidfds):
            self._unwatch(name)

    async def changes(self) -> AsyncIterator[HostChange]:
        """Every change from now on, for ever."""
        try:
            await self._look()
            for name in self._nudged:  # changed while the first look was under way: to be told, not taken as known
                self._seen.pop(name, None)
            while True:
                await self._woken()
                for change in await self._look():
                    yield change
        finally:
            self.close()

    async def _woken(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self._wake.wait()
        except TimeoutError:
            self._nudged |= self._polled
        self._wake.clear()

    async def _look(self) -> list[HostChange]:
        nudged, self._nudged = self._nudged, set()
        try:
            looks = await asyncio.get_running_loop().run_in_executor(self._threads, self._read, nudged)
        except OSError:
            # The listing names the trouble; here it only means, once: ask for it.
            self._stamp = 0
            self._nudged |= nudged
            known, self._readable = self._readable, False
            return [HostChange(HOST)] if known else []
        changes = [self._compare(name, look) for name, look in looks.items()]
        if not self._readable:
            self._readable = True
            changes.insert(0, HostChange(HOST))
        return [change for change in changes if change is not None]

    def _read(self, nudged: set[str]) -> dict[str, tuple[ObservedReplica | None, ProcessIdentity | None]]:
        """In a thread: the replicas to compare, and their supervisors. Nothing else changes what is read here."""
        looks: dict[str, tuple[ObservedReplica | None, ProcessIdentity | None]] = {}
        for name in sorted(self._due(nudged)):
            replica = self._directories.observe(name)
            running = replica is not None and replica.condition == "running"
            looks[name] = (replica, self._directories.standing(name).supervisor if running else None)
        return looks

    def _due(self, nudged: set[str]) -> set[str]:
        due = set(nudged)
        try:
            stamp = self._directories.root.stat()
        except FileNotFoundError:
            return due | set(self._seen)
        if stamp.st_mtime_ns != self._stamp or not self._settled:
            self._settled = time.time_ns() - stamp.st_mtime_ns > SAME_STAMP_NS
            self._stamp = stamp.st_mtime_ns
            names = self._directories.names()
            due |= names.symmetric_difference(self._seen)
            due |= {name for name, replica in self._seen.items() if replica.condition != "running"}
        return due

    def _compare(self, name: str, look: tuple[ObservedReplica | None, ProcessIdentity | None]) -> HostChange | None:
        before = self._seen.get(name)
        now, supervisor = look
        if now is None:
            self._unwatch(name)
            self._polled.discard(name)
            self._seen.pop(name, None)
            return HostChange(HOST, removed=before.id) if before is not None else None
        self._follow(name, now, supervisor)
        self._seen[name] = now
        return None if now == before else HostChange(HOST, replica=now)

    def _follow(self, name: str, replica: ObservedReplica, supervisor: ProcessIdentity | None) -> None:
        if replica.condition != "running":
            self._unwatch(name)
            self._polled.discard(name)
        elif name not in self._pidfds and name not in self._polled:
            self._watch(name, supervisor)

    def _watch(self, name: str, supervisor: ProcessIdentity | None) -> None:
        try:
            descriptor = supervisor.open_pidfd() if supervisor is not None else None
        except OSError:
            descriptor = None
        if supervisor is None or descriptor is None:
            self._polled.add(name)
            return
        self._pidfds[name] = descriptor
        self._pids[name] = supervisor.pid
        asyncio.get_running_loop().add_reader(descriptor, self._ended, name)

    def _unwatch(self, name: str) -> None:
        descriptor = self._pidfds.pop(name, None)
        if descriptor is not None:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
            reap(self._pids.pop(name))

    def _ended(self, name: str) -> None:
        self._unwatch(name)
        self._polled.add(name)  # until it is seen to have ended: its supervisor may have been killed before it
        self.nudge(name)
