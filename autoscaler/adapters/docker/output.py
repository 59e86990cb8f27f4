"""A replica's output as lines, read one chunk at a time as they are taken, so that a slow reader holds up nobody."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Iterator

from autoscaler.adapters.docker.client import EngineStream
from autoscaler.adapters.docker.failures import FOREIGN, CallFailed, read_failure
from autoscaler.adapters.docker.host import Host
from autoscaler.adapters.docker.workers import WorkerPool

HEADER = struct.Struct(">BxxxL")
"""The engine's frame: which stream (1 stdout, 2 stderr), and how many bytes follow."""

LINE_BYTES_MAX = 64 * 1024
"""A longer line is handed out in pieces."""


class LineSplitter:
    """Makes whole lines of frames; stdout and stderr are kept apart until a line is whole."""

    def __init__(self) -> None:
        self._rest: dict[int, bytes] = {}

    def feed(self, source: int, data: bytes) -> Iterator[bytes]:
        """The lines that these bytes complete, without their newline."""
        *lines, rest = (self._rest.get(source, b"") + data).split(b"\n")
        yield from lines
        while len(rest) > LINE_BYTES_MAX:
            yield rest[:LINE_BYTES_MAX]
            rest = rest[LINE_BYTES_MAX:]
        self._rest[source] = rest

    def end(self) -> Iterator[bytes]:
        """What was left without a newline."""
        yield from filter(None, self._rest.values())


async def read_lines(host: Host, container: str, *, follow: bool, tail: int) -> AsyncIterator[bytes]:
    """Yield the last ``tail`` lines and, with ``follow``, those to come until the replica ends. Raises CallFailed."""
    reader = WorkerPool(f"docker-{host.name}-logs", host.connect, 1, idle_s=None)
    stream: EngineStream | None = None
    splitter = LineSplitter()
    try:
        settings = {"stdout": 1, "stderr": 1, "follow": int(follow), "tail": str(tail)}
        stream = await reader.call(
            lambda client: client.open_stream("/containers/{0}/logs", container, **settings), host.deadlines.list_s
        )
        opened = stream
        while frame := await reader.call(lambda _: _read_frame(opened), None):
            for line in splitter.feed(*frame):
                yield line
        for line in splitter.end():
            yield line
    except FOREIGN as error:
        raise CallFailed(read_failure(error, "read")) from error
    finally:
        if stream is not None:
            stream.cut()
        reader.close()


def _read_frame(stream: EngineStream) -> tuple[int, bytes] | None:
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    source, size = HEADER.unpack(header)
    return source, stream.read(size)
