"""A HAProxy that we start: a master with a worker, a configuration that we write, and a life of its own.

It goes on when we end, and is found again by its sockets. The file always lists the servers as they are, so that a
process which is started anew, by us or by anybody, begins with them.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from autoscaler.adapters.haproxy.runtime import Runtime, Server
from autoscaler.errors import TargetError

START_S = 10.0
LOOK_S = 0.05
SOCKET_PATH_MAX = 90
"""Bytes of a unix socket's path; the system takes 107, and HAProxy binds a temporary name that is longer by a few."""
MARK = "# listeners "

HEAD = """\
# Written by eventscaler; changes are overwritten.
{mark}{digest}
global
  stats socket {admin} mode 600 level admin expose-fd listeners
  stats timeout 60s
  hard-stop-after 10m
defaults
  mode http
  balance roundrobin
  timeout connect 2s
  timeout client 75s
  timeout http-keep-alive 75s
  timeout server 5m
  timeout queue 30s
  retries 3
  option redispatch
  option forwardfor
  option http-server-close
"""

log = structlog.get_logger(__name__)


class OwnProcess:
    """Implements `router.Origin`. ``listeners``: backend (the service's name) -> ``host:port`` to listen at."""

    def __init__(self, program: str, directory: Path, listeners: Mapping[str, str]) -> None:
        self.runtime = Runtime(str(directory / "admin.sock"))
        self._master = Runtime(str(directory / "master.sock"))
        self._program = program
        self._directory = directory
        self._file = directory / "haproxy.cfg"
        self._listeners = dict(listeners)
        self._servers: Sequence[Server] = ()
        self._written = ""
        self._checked = False

    async def ensure(self) -> None:
        """It runs with these listeners. Raises ``refused`` where it cannot be started, saying HAProxy's own reason."""
        try:
            await self.runtime.info()
        except TargetError:
            await self._start()
        else:
            if not self._checked and f"{MARK}{self._digest}" not in self._on_disk():
                await self._reload()
        self._checked = True

    def keep(self, servers: Sequence[Server]) -> None:
        """Written down for the next process."""
        self._servers = [server for server in servers if server.ready and server.backend in self._listeners]
        self._write()

    @property
    def _digest(self) -> str:
        return hashlib.sha256(self._head("").encode() + repr(sorted(self._listeners.items())).encode()).hexdigest()[:16]

    def _head(self, digest: str) -> str:
        return HEAD.format(mark=MARK, digest=digest, admin=self.runtime.address)

    def _on_disk(self) -> str:
        try:
            return self._file.read_text()
        except OSError:
            return ""

    def _text(self) -> str:
        parts = [self._head(self._digest)]
        for backend, listen in self._listeners.items():
            parts.append(f"frontend {backend}\n  bind {listen}\n  default_backend {backend}\nbackend {backend}\n")
            parts += [
                f"  server {server.name} {server.address} weight {server.weight}\n"
                for server in self._servers
                if server.backend == backend
            ]
        return "".join(parts)

    def _write(self) -> None:
        text = self._text()
        if text != self._written:
            self._put(text)

    def _put(self, text: str) -> None:
        new = self._file.with_suffix(".new")
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            new.write_text(text)
            new.replace(self._file)
        except OSError as error:
            raise TargetError(f"{self._file} cannot be written: {error}. Free it, or change dir", "refused") from error
        self._written = text

    async def _start(self) -> None:
        if len(os.fsencode(self.runtime.address)) > SOCKET_PATH_MAX:
            raise TargetError(f"{self._directory} is too long a path for a socket. Choose a shorter dir", "refused")
        self._written = ""  # the directory may have been emptied meanwhile
        self._write()
        master = ["-S", self._master.address, "-p", str(self._directory / "haproxy.pid")]
        await self._run("-W", "-D", "-f", str(self._file), *master)
        for _ in range(int(START_S / LOOK_S)):
            try:
                await self.runtime.info()
            except TargetError:
                await asyncio.sleep(LOOK_S)
            else:
                break
        log.info("HAProxy is started", directory=str(self._directory))

    async def _run(self, *arguments: str) -> None:
        said = self._directory / "haproxy.log"  # a pipe would be the daemon's for good
        try:
            with said.open("wb") as output:
                process = await asyncio.create_subprocess_exec(
                    self._program,
                    *arguments,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        except OSError as error:
            text = f"{self._program} cannot be run: {error}. Install HAProxy, or name its program"
            raise TargetError(text, "refused") from error
        try:
            async with asyncio.timeout(START_S):
                code = await process.wait()
        except TimeoutError:
            process.kill()
            raise TargetError(f"{self._program} does not start within {START_S:g} s", "unknown") from None
        if code:
            alerts = [line for line in said.read_text(errors="replace").splitlines() if "[ALERT]" in line]
            why = alerts[0].partition(" : ")[2] if alerts else f"exit code {code}, see {said}"
            raise TargetError(f"HAProxy does not start: {why}. Correct it or free the address", "refused", "listen")

    async def _reload(self) -> None:
        """Other listeners than the running process has: it takes them over without closing the others."""
        before = self._on_disk()
        self.keep(await self.runtime.servers())
        try:
            await self._master.ask("reload")
        except TargetError:
            # It was not told, as just after its start, so the file must not say that it was.
            self._put(before)
            raise
        log.info("HAProxy is told of other listeners", directory=str(self._directory))
