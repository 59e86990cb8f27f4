"""Counts the replicas again and again and asks each at its own address; chapters are judged by what is seen here."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from autoscaler.cli.demo.asking import OK, NoAnswer, ask
from autoscaler.cli.demo.board import Board, Seen
from autoscaler.cli.demo.stage import DemoFailed, Stage

EVERY_S = 0.4
LOOK_S = 0.2
ANSWER_S = 5.0
PATIENCE_S = 90.0
"""For one sight of the story; on an idle machine each comes within a few seconds."""


class Census:
    """The replicas as they are, not as the autoscaler says they are."""

    def __init__(self, stage: Stage, board: Board, patience_s: float = PATIENCE_S) -> None:
        self._stage = stage
        self._patience_s = patience_s
        self._board = board
        self._news = asyncio.Event()
        self.counts = 0
        self.ever: dict[str, Seen] = {}

    @property
    def replicas(self) -> tuple[Seen, ...]:
        """All that exist."""
        return self._board.replicas

    @property
    def answering(self) -> tuple[Seen, ...]:
        """Those that take requests."""
        return tuple(replica for replica in self.replicas if replica.answers)

    def all_answer_as(self, version: str, count: int) -> bool:
        """Whether exactly ``count`` replicas exist, all of that version, and all answer."""
        return len(self.replicas) == count and all(r.answers and r.version == version for r in self.replicas)

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            found = await asyncio.to_thread(self._stage.look)
            asked = await asyncio.gather(*(self._ask(replica) for replica in found))
            self._board.saw(asked)
            for replica in asked:
                self.ever[replica.id] = replica
            self.counts += 1
            self._news.set()
            self._news = asyncio.Event()
            await asyncio.sleep(EVERY_S)

    async def until(self, what: str, true: Callable[[], bool]) -> None:
        """Wait for a sight. Raises `DemoFailed` with what was seen instead."""
        self._board.waiting_for = what
        try:
            async with asyncio.timeout(self._patience_s):
                while not true():
                    await self._next_count()
        except TimeoutError:
            seen = described(self.replicas)
            raise DemoFailed(f"not seen within {self._patience_s:.0f} s: {what}; seen: {seen}") from None
        finally:
            self._board.waiting_for = ""

    async def _next_count(self) -> None:
        """At the next count, or a little later: customers and verdicts have no bell of their own."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), LOOK_S)

    async def _ask(self, replica: Seen) -> Seen:
        try:
            answer = await ask(replica.address, "/healthz", ANSWER_S)
        except NoAnswer:
            return replace(replica, said="no answer yet")
        if answer.status != OK:
            return replace(replica, said=f"status {answer.status}")
        return replace(replica, answers=True, version=json.loads(answer.body)["version"], said="ok")


def described(replicas: Sequence[Seen]) -> str:
    """The replicas in words."""
    return ", ".join(f"{r.name} version {r.version} {r.said}" for r in replicas) or "no replica at all"
