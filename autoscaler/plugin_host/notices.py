"""Telling `notify` plugins of durable records: bounded, retried, then dropped and counted; never in the way of a
decision."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

QUEUE_MAX = 10_000
RETRIES_S = (1.0, 5.0)
"""Waits before the second and third try."""

Deliver = Callable[[str, Mapping[str, Any]], Awaitable[str]]
"""Tells one plugin of one record; the error, or ""."""


class Notices:
    """A bounded queue of (plugin, record), worked off in order; past the bound the oldest is dropped."""

    def __init__(self, deliver: Deliver, retries_s: tuple[float, ...] = RETRIES_S, queue_max: int = QUEUE_MAX) -> None:
        self._deliver = deliver
        self._retries_s = retries_s
        self._queue: deque[tuple[str, Mapping[str, Any]]] = deque()
        self._queue_max = queue_max
        self._task: asyncio.Task[None] | None = None
        self.delivered = 0
        self.dropped = 0

    def put(self, plugin: str, record: Mapping[str, Any]) -> None:
        """Queue a record; needs a running event loop."""
        if len(self._queue) >= self._queue_max:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append((plugin, record))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        while self._queue:
            plugin, record = self._queue.popleft()
            error = await self._deliver(plugin, record)
            for wait_s in self._retries_s:
                if not error:
                    break
                await asyncio.sleep(wait_s)
                error = await self._deliver(plugin, record)
            if error:
                self.dropped += 1
            else:
                self.delivered += 1

    async def drain(self, deadline_s: float) -> None:
        """Let the queue empty for ``deadline_s`` seconds; what is left then is dropped and counted."""
        if self._task is None:
            return
        try:
            await asyncio.wait_for(self._task, deadline_s)
        except TimeoutError:
            self.dropped += len(self._queue) + 1
            self._queue.clear()
