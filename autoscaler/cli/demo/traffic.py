"""The demo's customers: requests at a given rate through the router, every answer counted, none tried again."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

from autoscaler.cli.demo.asking import OK, Asker, NoAnswer

WINDOW_S = 1.5
"""The rate is measured over so long, as a monitor would."""
LATE_MAX_S = 5.0
"""A customer whom this machine was too busy to send for so long turns away."""
IN_FLIGHT_MAX = 100
LOOK_S = 0.02
ANSWER_S = 60.0
FAILURES_KEPT = 20


class Traffic:
    """An open-loop client: ``rate`` customers a second come whether or not earlier ones have been served.

    The offered rate is that of the customers who came. On a machine that is too busy to send at that rate they are sent
    late; those who turned away unsent are counted apart. ``identity`` reads from an answer which replica gave it, empty
    where it does not say.
    """

    def __init__(self, address: str, identity: Callable[[Mapping[str, Any]], str]) -> None:
        self._identity = identity
        self.rate = 0.0
        self.requests = 0
        self.failed = 0
        self.unsent = 0
        self.failures: deque[str] = deque(maxlen=FAILURES_KEPT)
        self.by_version: Counter[str] = Counter()
        self.by_replica: Counter[str] = Counter()
        self._asker = Asker(address, ANSWER_S)
        self._came: deque[float] = deque()
        self._waiting: deque[float] = deque()
        self._next_at = 0.0
        self._flying: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._arrive(loop.time())
            while self._waiting and len(self._flying) < IN_FLIGHT_MAX:
                self._waiting.popleft()
                flying = asyncio.create_task(self._order())
                self._flying.add(flying)
                flying.add_done_callback(self._flying.discard)
            while self._waiting and self._waiting[0] < loop.time() - LATE_MAX_S:
                self._waiting.popleft()
                self.unsent += 1
            await asyncio.sleep(LOOK_S)

    async def knock(self) -> int:
        """One uncounted request: its status, 0 where nobody listens."""
        try:
            return (await self._asker.get("/")).status
        except NoAnswer:
            return 0

    def offered(self) -> float:
        """Customers per second of late."""
        now = asyncio.get_running_loop().time()
        self._arrive(now)
        while self._came and self._came[0] < now - WINDOW_S:
            self._came.popleft()
        return len(self._came) / WINDOW_S

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
        self._waiting.clear()
        if self._flying:
            await asyncio.wait(set(self._flying))

    async def close(self) -> None:
        """Give up what is under way."""
        flying = list(self._flying)
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)
        await self._asker.close()

    def _arrive(self, now: float) -> None:
        """Everybody who was to come until now has come."""
        if self.rate <= 0:
            self._next_at = now
            return
        # After a standstill of the whole machine there is no crowd that nobody could have measured.
        self._next_at = max(self._next_at, now - WINDOW_S)
        while self._next_at <= now:
            self._came.append(self._next_at)
            self._waiting.append(self._next_at)
            self._next_at += 1 / self.rate

    async def _order(self) -> None:
        try:
            answer = await self._asker.get("/")
            if answer.status == OK:
                who = json.loads(answer.body)
                self.by_version[who["version"]] += 1
                self.by_replica[self._identity(who)] += 1
            else:
                self._fail(f"status {answer.status} {answer.text[:80]!r}")
        except NoAnswer as error:
            self._fail(str(error))
        self.requests += 1

    def _fail(self, why: str) -> None:
        self.failed += 1
        self.failures.append(why)
