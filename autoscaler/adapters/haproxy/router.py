"""Implements the router port with a HAProxy: servers come and go by its runtime API, while it runs.

One task tells HAProxy everything, in order. It notices another process behind the socket (a restart, a reload) by its
pid and start time within a second, and compares everything then; and every `RECHECK_S`, for what others changed.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from autoscaler.adapters.haproxy.changes import Wanted, astray, commands, leaving
from autoscaler.adapters.haproxy.runtime import Runtime, Server
from autoscaler.errors import TargetError
from autoscaler.ports.router import Backend, Counts

LOOK_S = 1.0
RECHECK_S = 10.0
AWAY_MAX_S = 5.0
APPLY_S = 5.0
DRAIN_LOOK_S = 0.1

log = structlog.get_logger(__name__)


class Origin(Protocol):
    """Where the HAProxy comes from; `ours.OwnProcess` starts one, `Attached` takes it as it is."""

    async def ensure(self) -> None:
        """It runs, as far as that is up to us. Raises `TargetError`."""

    def keep(self, servers: Sequence[Server]) -> None:
        """These are its servers now: a new process is to begin with them."""


class Attached:
    """A HAProxy that somebody else runs."""

    async def ensure(self) -> None:
        """Up to them."""

    def keep(self, servers: Sequence[Server]) -> None:
        """Up to them."""


@dataclass(slots=True)
class Served:
    """One routed service: what is wanted of its HAProxy backend (None: not ours to say), and whether that is so.

    ``told``: names that are or may be there by our doing. ``settled`` is set where HAProxy has taken or refused it.
    """

    backend: str
    wanted: Mapping[str, Backend] | None = None
    told: frozenset[str] = frozenset()
    applied: bool = False
    refusal: TargetError | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    def want(self, backends: Mapping[str, Backend]) -> None:
        """Other backends from now on."""
        self.wanted = backends
        self.told |= frozenset(backends)
        self.applied, self.refusal = False, None
        self.settled.clear()

    def settle(self, refusal: TargetError | None) -> None:
        """HAProxy has taken what is wanted, or refused it."""
        self.applied, self.refusal = refusal is None, refusal
        self.settled.set()

    @property
    def has_work(self) -> bool:
        """Whether HAProxy is to be told of something, or still has a server that goes."""
        return self.wanted is not None and (not self.applied or bool(self.told.difference(self.wanted)))


class HaproxyRouter:
    """``backends``: service -> name of the HAProxy backend that is all its own."""

    def __init__(self, name: str, runtime: Runtime, backends: Mapping[str, str], origin: Origin | None = None) -> None:
        self.name = name
        self.rebuilt = 0
        self._runtime = runtime
        self._origin = origin or Attached()
        self._services = {service: Served(backend) for service, backend in backends.items()}
        self._process: tuple[str | None, str | None] | None = None
        self._numbers: Mapping[str, int] = {}
        self._compared_at = 0.0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def reachable(self) -> bool:
        """Whether it answered when it was last asked."""
        return self._process is not None

    async def open(self) -> None:
        """See the port."""
        try:
            await self._origin.ensure()
            self._numbers = await self._runtime.backends()
        except TargetError as error:
            if not error.retriable:
                raise
            log.warning("the router is away, trying again", router=self.name, error=str(error))
        else:
            for service, served in self._services.items():
                if served.backend not in self._numbers:
                    text = f"services.{service}.route: HAProxy at {self._runtime.address} has no backend"
                    raise TargetError(f"{text} {served.backend}. Add it there, or correct backend", "refused")
        self._task = asyncio.get_running_loop().create_task(self._work(), name=f"router {self.name}")

    async def set_backends(self, service: str, backends: Sequence[Backend]) -> None:
        """See the port. ``unavailable``: HAProxy has not been told within 5 s."""
        served = self._services.get(service)
        if served is None:
            return
        served.want({backend.name: backend for backend in backends})
        self._wake.set()
        try:
            async with asyncio.timeout(APPLY_S):
                await served.settled.wait()
        except TimeoutError:
            text = f"{service}: HAProxy at {self._runtime.address} has not been told of its backends yet"
            raise TargetError(text, "unavailable") from None
        if served.refusal is not None:
            raise served.refusal

    async def drained(self, service: str, name: str, timeout_s: float) -> bool:
        """See the port: HAProxy itself must say that the server gets nothing new and has nothing left."""
        served = self._services.get(service)
        if served is None:
            return True
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    if await self._is_drained(served, name):
                        return True
                    await asyncio.sleep(DRAIN_LOOK_S)
        except TimeoutError:
            return False

    async def forget(self, service: str) -> None:
        """See the port."""
        served = self._services.get(service)
        if served is not None:
            served.wanted = None

    def hear_demand(self, heard: Callable[[str, int], None]) -> None:
        """Nobody waits in HAProxy: a service at zero has the activator as its backend."""

    def counts(self) -> Mapping[str, Counts]:
        """Nothing: HAProxy carries them, and has statistics of its own."""
        return {}

    async def close(self) -> None:
        """HAProxy goes on as it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _is_drained(self, served: Served, name: str) -> bool:
        if served.wanted is not None and (name in served.wanted or not served.applied):
            return False
        try:
            return not (await self._busy(served)).get(name)
        except TargetError:
            return False

    async def _busy(self, served: Served) -> Mapping[str, int]:
        number = self._numbers.get(served.backend)
        if number is None:
            raise TargetError(f"HAProxy at {self._runtime.address} has no backend {served.backend}", "refused")
        return await self._runtime.busy(number)

    # The one task that tells HAProxy anything.

    async def _work(self) -> None:
        away_s = LOOK_S / 4
        while True:
            self._wake.clear()
            try:
                await self._turn()
            except TargetError as error:
                if self._process is not None:
                    log.warning("the router is away, trying again", router=self.name, error=str(error))
                self._process = None
                await asyncio.sleep(away_s)
                away_s = min(AWAY_MAX_S, away_s * 2)
                continue
            away_s = LOOK_S / 4
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _turn(self) -> None:
        await self._origin.ensure()
        info = await self._runtime.info()
        process = (info.get("Pid"), info.get("Start_time_sec"))
        now = asyncio.get_running_loop().time()
        if process != self._process or now - self._compared_at >= RECHECK_S:
            if self._process is not None and process != self._process:
                self.rebuilt += 1
                log.warning("another HAProxy answers, it is told everything anew", router=self.name)
            for served in self._services.values():
                served.applied = False
            self._numbers = await self._runtime.backends()
            self._process, self._compared_at = process, now
        if any(served.has_work for served in self._services.values()):
            await self._compare()

    async def _compare(self) -> None:
        shown: dict[str, dict[str, Server]] = {}
        for server in await self._runtime.servers():
            shown.setdefault(server.backend, {})[server.name] = server
        for service, served in self._services.items():
            wanted = served.wanted
            if wanted is None:
                continue
            refusal: TargetError | None = None
            try:
                await self._bring_about(service, served, wanted, shown.get(served.backend, {}))
            except TargetError as error:
                if error.retriable:
                    raise
                if str(error) != str(served.refusal):
                    log.warning("HAProxy refuses", router=self.name, service=service, error=str(error))
                refusal = error
            if served.wanted is wanted:
                served.settle(refusal)
        self._origin.keep(await self._runtime.servers())

    async def _bring_about(
        self, service: str, served: Served, backends: Mapping[str, Backend], shown: Mapping[str, Server]
    ) -> None:
        wanted = {name: Wanted(await resolved(each.address), each.weight) for name, each in backends.items()}
        going = leaving(service, wanted, shown, served.told)
        for name in astray(wanted, shown):  # of a name there is one address only, but for the activator's
            await self._runtime.tell(f"set server {served.backend}/{name} state maint")
            await self._runtime.tell(f"del server {served.backend}/{name}")
            shown = {other: server for other, server in shown.items() if other != name}
        for command in commands(served.backend, wanted, shown):
            await self._runtime.tell(command)
        for server in going:
            if server.ready:
                await self._runtime.tell(f"set server {served.backend}/{server.name} state drain")
        busy = await self._busy(served) if going else {}
        for server in going:
            if not busy.get(server.name):
                await self._delete(served.backend, server)
        served.told = frozenset(backends) | (served.told & {server.name for server in going})

    async def _delete(self, backend: str, server: Server) -> None:
        """It has nothing left. Where HAProxy still holds an idle connection, the next turn tries again."""
        place = f"{backend}/{server.name}"
        try:
            await self._runtime.tell(f"set server {place} state maint")
            await self._runtime.tell(f"del server {place}")
        except TargetError as error:
            if error.retriable:
                raise


async def resolved(address: str) -> str:
    """``address:port`` with an IP address, as HAProxy wants it of a server that is added while it runs."""
    host, _, port = address.rpartition(":")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise TargetError(f"{address}: not an address that can be resolved: {error}", "refused") from error
    ip = str(found[0][4][0])
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
