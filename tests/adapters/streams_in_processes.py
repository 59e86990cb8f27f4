"""Starts members in processes of their own and reads what they print."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class MemberProcess:
    """A running `stream_process`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL, and wait for the end; the lines that it had printed are kept."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        if self._process.stdout is not None:
            # The last line may be cut off.
            self.lines += (await self._process.stdout.read()).decode().split("\n")[:-1]

    async def says(self, start: str, seconds: float = 30.0) -> str:
        """The next line that begins so."""
        try:
            async with asyncio.timeout(seconds):
                while self._process.stdout is not None and (line := await self._process.stdout.readline()):
                    self.lines.append(line.decode().rstrip())
                    if self.lines[-1].startswith(start):
                        return self.lines[-1]
        except TimeoutError:
            pytest.fail(f"no line {start!r} within {seconds:.0f} s; said {self.lines[-20:]}")
        pytest.fail(f"ended without a line {start!r}; said {self.lines[-20:]}")


@asynccontextmanager
async def member_process(*arguments: str) -> AsyncIterator[MemberProcess]:
    """A member that is killed at the end, if not before."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.adapters.stream_process", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    member = MemberProcess(process)
    try:
        yield member
    finally:
        await member.kill()
