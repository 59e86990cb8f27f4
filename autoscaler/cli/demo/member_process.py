"""The autoscaler of the demo: `autoscaler run` as a process of its own, watched from outside over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from autoscaler.cli.demo.asking import OK, Asker, NoAnswer
from autoscaler.cli.demo.board import Board
from autoscaler.cli.demo.stage import SERVICE, DemoFailed

READY_S = 90.0
STOP_S = 25.0
ASK_S = 10.0
EVERY_S = 0.5
LAST_WORDS = 5
START = "from autoscaler.cli.main import main; main()"

_ACTIVE = re.compile(r'^autoscaler_active_tasks\{task="(\w+)"\} ([0-9.]+)$', re.MULTILINE)


class MemberProcess:
    """One `autoscaler run` on the file at ``configuration``; its HTTP face is at ``address``."""

    def __init__(self, configuration: Path, address: str, environ: Mapping[str, str]) -> None:
        self._configuration = configuration
        self._log = configuration.with_name("run.log")
        self._environ = dict(environ)
        self._asker = Asker(address, ASK_S)
        self._process: asyncio.subprocess.Process | None = None
        self.tasks_max: dict[str, int] = {}

    async def start(self) -> None:
        """It runs and knows the service's first revision. Raises `DemoFailed` where it ends or is not ready in time."""
        with self._log.open("wb") as log:
            # A session of its own: Ctrl-C on the terminal is the demo's to handle.
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                START,
                "run",
                "--config",
                str(self._configuration),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(READY_S):
                while not await self._ready():
                    if self._process.returncode is not None:
                        raise DemoFailed(self.obituary())
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise DemoFailed(f"the autoscaler is not ready after {READY_S:.0f} s: {self.last_words()}") from None

    @property
    def pid(self) -> int:
        """Its process id, 0 before the start."""
        return self._process.pid if self._process is not None else 0

    async def ended(self) -> str:
        """Returns when it has ended, with what can be said about that."""
        if self._process is not None:
            await self._process.wait()
        return self.obituary()

    def obituary(self) -> str:
        """That it has ended, how, and its last words."""
        code = self._process.returncode if self._process is not None else None
        how = f"by signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"
        return f"the autoscaler itself ended {how}; its last words: {self.last_words()}"

    def last_words(self) -> str:
        """The end of its log."""
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return " | ".join(line[:300] for line in lines[-LAST_WORDS:]) or "none"

    async def watch(self, board: Board) -> None:
        """Keep the active tasks on the board until cancelled; remembers the most of each kind."""
        while True:
            text = await self._text("/metrics")
            if text:
                board.tasks = {task: int(float(count)) for task, count in _ACTIVE.findall(text)}
                for task, count in board.tasks.items():
                    self.tasks_max[task] = max(count, self.tasks_max.get(task, 0))
            await asyncio.sleep(EVERY_S)

    async def stop(self) -> int | None:
        """End it in order, by force where that takes too long; its exit code, None where it had never begun."""
        await self._asker.close()
        process = self._process
        if process is None:
            return None
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
        return await process.wait()

    async def _ready(self) -> bool:
        if await self._text("/readyz") is None:
            return False
        services = json.loads(await self._text("/api/v1/services") or "[]")
        return any(found["service"] == SERVICE and found["revision"] > 0 for found in services)

    async def _text(self, path: str) -> str | None:
        """What is there, None where it says no or nothing."""
        try:
            answer = await self._asker.get(path)
        except NoAnswer:
            return None
        return answer.text if answer.status == OK else None


def environment(keep_security: bool) -> dict[str, str]:  # noqa: FBT001 - one question, one caller
    """The environment without overrides of some other configuration; those of the brokers' security stay for Kafka."""
    kept = ("AUTOSCALER_FAILPOINT", *(("AUTOSCALER_STREAM__SECURITY",) if keep_security else ()))
    return {
        name: value for name, value in os.environ.items() if not name.startswith("AUTOSCALER_") or name.startswith(kept)
    }
