"""Customers at constant load: kept connections, new ones, and requests that take seconds. None of them asks twice."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType

import httpx

SLOW = "/cgi-bin/slow?"
"""The seconds that the answer takes stand behind it."""
QUICK_PAUSE_S = 0.03


@dataclass(frozen=True)
class Visit:
    """A slow request that was answered: when it began and ended, in seconds since the epoch, and by which version."""

    began: float
    ended: float
    version: str


@dataclass
class Customers:
    """Every request counts as it ended for the client: 200 with a whole page of a version, or failed."""

    url: str
    quick: int = 6
    seconds: tuple[int, ...] = (1, 2, 3, 5)
    answers: Counter[str] = field(default_factory=Counter)
    visits: list[Visit] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def slow(self) -> int:
        """Slow requests that were answered."""
        return len(self.visits)

    @property
    def requests(self) -> int:
        return self.answers.total() + len(self.failures)

    async def __aenter__(self) -> Customers:
        for number in range(self.quick):
            self._tasks.append(asyncio.create_task(self._come(kept=number % 2 == 0, pause_s=QUICK_PAUSE_S)))
        for each in self.seconds:
            self._tasks.append(asyncio.create_task(self._come(kept=True, pause_s=0.1, takes_s=each)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        await asyncio.gather(*self._tasks)

    async def see(self, version: str, count: int = 20, within_s: float = 20.0) -> None:
        """So many more answers of that version have come."""
        goal = self.answers[version] + count
        async with asyncio.timeout(within_s):
            while self.answers[version] < goal:
                await asyncio.sleep(0.05)

    async def _come(self, *, kept: bool, pause_s: float, takes_s: int = 0) -> None:
        limits = httpx.Limits(max_keepalive_connections=1 if kept else 0)
        headers = {} if kept else {"Connection": "close"}
        async with httpx.AsyncClient(trust_env=False, timeout=30, limits=limits, headers=headers) as client:
            while not self._ended.is_set():
                path, began = f"{SLOW}{takes_s}" if takes_s else "/", time.time()
                try:
                    response = await client.get(f"{self.url}{path}")
                except httpx.HTTPError as error:
                    self.failures.append(f"{path}: {error!r}")
                else:
                    text = response.text.strip()
                    if response.status_code == httpx.codes.OK and text.startswith("version "):
                        self.answers[text] += 1
                        if takes_s:
                            self.visits.append(Visit(began, time.time(), text))
                    else:
                        self.failures.append(f"{path}: {response.status_code} {text[:200]}")
                await asyncio.sleep(pause_s)
