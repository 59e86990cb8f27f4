"""An HTTP server that stands for a replica behind a router."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from autoscaler.ports.router import Backend


@dataclass
class Server:
    """A backend that answers with its name; what it does with a request depends on the path."""

    name: str
    address: str = ""
    connections: int = 0
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def backend(self, weight: int = 100) -> Backend:
        return Backend(self.name, self.address, weight)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                await self.answer(head.split()[1], head, reader, writer)
                await writer.drain()
                if head.startswith(b"GET /close"):
                    break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.tasks.discard(task)

    async def answer(
        self, path: bytes, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if path == b"/slow":
            await self.release.wait()
        elif path == b"/early":
            writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.write_eof()
            while await reader.read(65536):  # closed at once, the kernel would take the answer back
                pass
            raise ConnectionError
        elif path == b"/dies":
            raise ConnectionError
        elif path == b"/half":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            raise ConnectionError
        elif path == b"/stream":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
            await writer.drain()
            await self.release.wait()
            writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
            return
        self.bodies.append(await body_of(head, reader))
        body = self.name.encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nKeep-Alive: timeout=5\r\n\r\n%s" % (len(body), body))


async def body_of(head: bytes, reader: asyncio.StreamReader) -> bytes:
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
        return body
    if b"content-length:" in lowered:
        return await reader.readexactly(int(lowered.split(b"content-length:")[1].split(b"\r\n")[0]))
    return b""


@contextlib.asynccontextmanager
async def serving(name: str) -> AsyncIterator[Server]:
    backend = Server(name)
    server = await asyncio.start_server(backend.serve, "127.0.0.1", 0)
    backend.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield backend
    finally:
        server.close()
        backend.release.set()
        if backend.tasks:
            await asyncio.wait(backend.tasks, timeout=2)
