"""Background tasks that must not die unseen: one that raises ends the member, since a restart is the cure. No
policy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

Crashed = Callable[[BaseException], None]


def _nobody_listens(error: BaseException) -> None:
    raise error


class Supervision:
    """Starts tasks and keeps them; the first unexpected end is reported to ``crashed``."""

    def __init__(self) -> None:
        self.crashed: Crashed = _nobody_listens
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run ``work`` as a task that is looked after."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            error = task.exception()
            if error is not None:
                self.crashed(error)
