"""The HTTP face of `run`: health, readiness, metrics and the services as they are now. Reads the member, changes
nothing."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any, Protocol

import uvicorn
from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from autoscaler.configuration.settings import HttpSettings
from autoscaler.errors import TargetError

INDEX = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>autoscaler</title></head>
<body><h1>autoscaler</h1>
<ul>
<li><a href="api/v1/services">api/v1/services</a>: the services of this member as they are now</li>
<li><a href="metrics">metrics</a>: for Prometheus</li>
<li><a href="healthz">healthz</a>, <a href="readyz">readyz</a>: whether it works, and is ready to</li>
</ul></body></html>
"""


class Face(Protocol):
    """What the server shows."""

    def healthy(self) -> str:
        """Empty while the loop makes progress, else what stands still."""

    def unready(self) -> str:
        """Empty when ready to work or to stand by, else what is missing."""

    def services(self) -> list[dict[str, Any]]:
        """A summary of each service in this member."""

    def service(self, name: str) -> dict[str, Any] | None:
        """One service whole, or None where this member does not have it."""

    def collector(self) -> Any:
        """A prometheus_client collector."""


class HttpServer:
    """One port for people and programs. `start` returns once it listens."""

    def __init__(self, settings: HttpSettings, face: Face) -> None:
        self._settings = settings
        self._face = face
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._registry.register(face.collector())
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/", self._index),
                Route("/healthz", self._healthz),
                Route("/readyz", self._readyz),
                Route("/metrics", self._metrics),
                Route("/api/v1/services", self._services),
                Route("/api/v1/services/{name}", self._service),
            ]
        )

    async def start(self) -> None:
        """Listen. Raises `TargetError` where the address is taken."""
        settings = self._settings
        config = uvicorn.Config(
            self.app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=2,
            ssl_certfile=str(settings.cert_file) if settings.cert_file else None,
            ssl_keyfile=str(settings.key_file) if settings.key_file else None,
        )
        listening = _bound(settings.host, settings.port)
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]), name="http")

    async def stop(self) -> None:
        """Stop listening; answers under way get two seconds."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await asyncio.wait({self._task}, timeout=4.0)

    async def _index(self, request: Request) -> Response:
        return HTMLResponse(INDEX)

    async def _healthz(self, request: Request) -> Response:
        stalled = self._face.healthy()
        return PlainTextResponse(stalled or "ok", status_code=503 if stalled else 200)

    async def _readyz(self, request: Request) -> Response:
        missing = self._face.unready()
        return PlainTextResponse(missing or "ready", status_code=503 if missing else 200)

    async def _metrics(self, request: Request) -> Response:
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    async def _services(self, request: Request) -> Response:
        return JSONResponse(self._face.services())

    async def _service(self, request: Request) -> Response:
        found = self._face.service(request.path_params["name"])
        if found is None:
            return JSONResponse({"error": "no such service in this member"}, status_code=404)
        return JSONResponse(found)


def _bound(host: str, port: int) -> socket.socket:
    """A socket on that address. Uvicorn's own way to bind one ends the process where the address is taken."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        taken = error.errno == errno.EADDRINUSE
        what = "is taken. Choose another port or end what holds it" if taken else f"cannot be used: {error.strerror}"
        raise TargetError(f"http.listen: {host}:{port} {what}", "refused") from error
    return listening
