"""Processes that the benchmark starts and talks to, a JSON document a line; and `serve`, their side of the talk."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parents[1]
START_S = 120.0

Answer = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class ChildFailed(RuntimeError):
    """A process of the benchmark ended or did not answer; the message holds the end of its log."""


class Child:
    """A module of this package as a process of its own. Its first line says that it is ready."""

    def __init__(self, module: str, settings: Mapping[str, Any], log: Path, prefix: Sequence[str] = ()) -> None:
        self._log = log
        self._command = [*prefix, sys.executable, "-m", f"bench.{module}", json.dumps(settings)]
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Child:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=ROOT, env=environment()
            )
        try:
            await self._answer(START_S)
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def ask(self, seconds: float = 300.0, **request: Any) -> dict[str, Any]:
        """What the process answers."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        return await self._answer(seconds)

    async def _answer(self, seconds: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                line = await self._process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            tail = self._log.read_text(errors="replace")[-3000:]
            raise ChildFailed(f"{' '.join(self._command[1:3])} gave no answer:\n{tail}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()  # its sign to end
        try:
            async with asyncio.timeout(20.0):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def environment() -> dict[str, str]:
    """What a process that is measured gets: nothing that would change its configuration."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AUTOSCALER_")}


async def serve(ready: Mapping[str, Any], answer: Answer) -> None:
    """Say that this process is ready, then answer requests until the other side closes."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    _say(ready)
    while line := await reader.readline():
        _say(await answer(json.loads(line)))


def _say(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()
