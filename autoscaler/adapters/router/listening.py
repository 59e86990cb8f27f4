"""Where the embedded router listens: at a service's address while the service is this member's, so that members on one
machine share a configuration and the owner alone takes its requests.

Used by `embedded` in one event loop. An address that another has is tried again until it is free or not wanted.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable

import structlog

from autoscaler.errors import TargetError

RETRY_S = 0.2
"""A former owner on this machine stops listening as soon as it lets go: few are the requests that come in between."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

log = structlog.get_logger(__name__)


class Listener:
    """One address, ``host:port``. A port of 0 is any that is free, listened at from `check` on and never let go."""

    def __init__(self, service: str, listen: str, serve: Serve) -> None:
        host, _, port = listen.rpartition(":")
        self._service = service
        self._listen = listen
        self._host, self._port = host.strip("[]") or None, port
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._trying: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """``host:port`` with the real port. Raises KeyError while it does not listen."""
        if self._server is None:
            raise KeyError(self._service)
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def check(self, others: Callable[[], bool]) -> None:
        """The address can be listened at. Raises ``refused`` where it cannot, but for one that is in use while there
        are ``others`` of ours on this machine."""
        try:
            server = await self._bind(listening=self._port == "0")
        except (OSError, ValueError) as error:
            if not (isinstance(error, OSError) and error.errno == errno.EADDRINUSE and others()):
                raise TargetError(f"{self._says(error)}. Free it or change it", "refused", "listen") from error
            log.warning("another member of this machine listens", service=self._service, address=self._listen)
            return
        if self._port == "0":
            self._server = server
        else:
            server.close()

    async def open(self) -> None:
        """It listens. Raises ``unavailable`` where it cannot yet; it does as soon as it can."""
        if self._server is not None or self._trying is not None:
            return
        try:
            self._server = await self._bind()
        except OSError as error:
            self._trying = asyncio.get_running_loop().create_task(self._try(), name=f"listen on {self._listen}")
            text = f"{self._says(error)}. {self._service} is served as soon as it is free"
            raise TargetError(text, "unavailable", "listen") from error

    async def let_go(self) -> None:
        """It is another's to listen here."""
        if self._port != "0":
            await self.close()

    async def close(self) -> None:
        """It listens no more; connections that were accepted go on."""
        if self._trying is not None:
            self._trying.cancel()
            await asyncio.gather(self._trying, return_exceptions=True)
            self._trying = None
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _try(self) -> None:
        while self._server is None:
            await asyncio.sleep(RETRY_S)
            try:
                self._server = await self._bind()
            except OSError:
                continue
        self._trying = None
        log.info("listens", service=self._service, address=self._listen)

    async def _bind(self, *, listening: bool = True) -> asyncio.Server:
        return await asyncio.start_server(
            self._serve, self._host, int(self._port), backlog=1024, start_serving=listening
        )

    def _says(self, error: Exception) -> str:
        return f"services.{self._service}.route.listen: cannot listen on {self._listen}: {error}"
