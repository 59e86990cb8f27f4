"""A relay in front of an engine's socket that keeps when each request went by: the program itself is not touched.

Ours and the control both go through it.
"""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

CHUNK = 65_536
_CREATE = re.compile(rb"^POST /v[0-9.]+/containers/create\?(?:.*&)?name=([A-Za-z0-9_.-]+)")


class Relay:
    """Listens beside the engine; ``created_at`` has the moment at which each container's creation was asked for."""

    def __init__(self, url: str, path: Path) -> None:
        self._target = urlsplit(url)
        self._path = path
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.created_at: dict[str, float] = {}

    @property
    def url(self) -> str:
        return f"unix://{self._path}"

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._target.scheme == "unix":
            engine_reader, engine_writer = await asyncio.open_unix_connection(self._target.path)
        else:
            engine_reader, engine_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        ways = {
            asyncio.create_task(self._pass(reader, engine_writer, asked=True)),
            asyncio.create_task(self._pass(engine_reader, writer, asked=False)),
        }
        try:
            await asyncio.wait(ways)
        finally:
            for way in ways:
                way.cancel()
            writer.close()
            engine_writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, asked: bool) -> None:
        try:
            while chunk := await reader.read(CHUNK):
                if asked and (found := _CREATE.match(chunk)):
                    self.created_at.setdefault(found[1].decode(), time.perf_counter())
                writer.write(chunk)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except (ConnectionError, BrokenPipeError):
            return  # the other side has gone: so has this talk
