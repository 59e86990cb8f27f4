"""`autoscaler run` as its users start it, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.child import ROOT, ChildFailed, environment
from bench.cluster import PARTITIONS, Cluster

START_S = 120.0
STOP_S = 30.0


class Program:
    """The running program; entering waits until every partition is taken over."""

    def __init__(self, cluster: Cluster, *arguments: str) -> None:
        self._cluster = cluster
        command = Path(sys.executable).with_name("autoscaler")
        self._command = [str(command), "run", "--config", str(cluster.configuration), *arguments]
        self._log = cluster.directory / "program.log"
        self._process: asyncio.subprocess.Process | None = None
        self.spawned_at = 0.0

    async def start(self) -> None:
        """Start it, and return at once."""
        self._log.write_bytes(b"")
        with self._log.open("ab") as log:
            self.spawned_at = time.perf_counter()
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, env=environment()
            )

    async def ready(self) -> None:
        """Wait until every partition is taken over."""
        assert self._process is not None
        give_up_at = time.monotonic() + START_S
        while sum(line.get("event") == "partition taken over" for line in self.lines()) < PARTITIONS:
            if self._process.returncode is not None or time.monotonic() > give_up_at:
                raise ChildFailed(f"{' '.join(self._command)}:\n{self._log.read_text(errors='replace')[-3000:]}")
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """End it in order."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def __aenter__(self) -> Program:
        await self.start()
        try:
            await self.ready()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def lines(self) -> list[Mapping[str, Any]]:
        """What it has logged so far."""
        written = self._log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in written if line.startswith("{") and line.endswith("}")]
