"""The demo's customers: requests at a given rate through the router, every answer counted, none tried again."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

import httpx

WINDOW_S = 1.5
"""The rate is measured over so long, as a monitor would."""
LATE_MAX_S = 1.0
"""What a busy machine could not send is caught up with, but not what is older."""
IN_FLIGHT_MAX = 200
ANSWER_S = 30.0
OK = 200
FAILURES_KEPT = 20


class Traffic:
    """An open-loop client: ``rate`` requests a second leave whether or not earlier ones have been answered.

    ``identity`` reads from an answer which replica gave it, empty where it does not say.
    """

    def __init__(self, url: str, identity: Callable[[Mapping[str, Any]], str]) -> None:
        self.url = url
        self._identity = identity
        self.rate = 0.0
        self.requests = 0
        self.failed = 0
        self.failures: deque[str] = deque(maxlen=FAILURES_KEPT)
        self.by_version: Counter[str] = Counter()
        self.by_replica: Counter[str] = Counter()
        limits = httpx.Limits(max_connections=IN_FLIGHT_MAX, max_keepalive_connections=IN_FLIGHT_MAX)
        self._client = httpx.AsyncClient(timeout=ANSWER_S, limits=limits, trust_env=False)
        self._sent: deque[float] = deque()
        self._flying: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            if self.rate <= 0 or len(self._flying) >= IN_FLIGHT_MAX:
                await asyncio.sleep(0.02)
                due = max(due, loop.time() - LATE_MAX_S) if self.rate > 0 else loop.time()
                continue
            due = max(due + 1 / self.rate, loop.time() - LATE_MAX_S)
            await asyncio.sleep(max(0.0, due - loop.time()))
            self._sent.append(loop.time())
            flying = asyncio.create_task(self._order())
            self._flying.add(flying)
            flying.add_done_callback(self._flying.discard)

    async def knock(self) -> int:
        """One uncounted request: its status, 0 where nobody listens."""
        try:
            return (await self._client.get(self.url)).status_code
        except httpx.HTTPError:
            return 0

    def measured(self) -> float:
        """Requests per second of late."""
        now = asyncio.get_running_loop().time()
        while self._sent and self._sent[0] < now - WINDOW_S:
            self._sent.popleft()
        return len(self._sent) / WINDOW_S

    async def ramp(self, to: float, seconds: float) -> None:
        """Change the rate evenly."""
        loop = asyncio.get_running_loop()
        start, began_at = self.rate, loop.time()
        while (share := (loop.time() - began_at) / seconds) < 1:
            self.rate = start + (to - start) * share
            await asyncio.sleep(0.1)
        self.rate = to

    async def silence(self) -> None:
        """No more requests; those under way have been answered."""
        self.rate = 0.0
        if self._flying:
            await asyncio.wait(set(self._flying))

    async def close(self) -> None:
        """Give up what is under way."""
        flying = list(self._flying)
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)
        await self._client.aclose()

    async def _order(self) -> None:
        try:
            answer = await self._client.get(self.url)
            if answer.status_code == OK:
                who = answer.json()
                self.by_version[who["version"]] += 1
                self.by_replica[self._identity(who)] += 1
            else:
                self._fail(f"status {answer.status_code} {answer.text[:80]!r}")
        except httpx.HTTPError as error:
            self._fail(f"{type(error).__name__} {error}".strip())
        self.requests += 1

    def _fail(self, why: str) -> None:
        self.failed += 1
        self.failures.append(why)
