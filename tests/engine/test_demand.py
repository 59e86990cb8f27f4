"""Held requests become samples: at once, again while they wait, and a zero at the end."""

from __future__ import annotations

import asyncio
import json

import pytest

from autoscaler.engine import demand as module
from autoscaler.engine.demand import Demand
from autoscaler.engine.supervision import Supervision
from autoscaler.errors import StreamError
from autoscaler.ports.stream import Headers, Topic
from tests.engine.scripted_target import settle

pytestmark = pytest.mark.timeout(30)


class Topics:
    """Remembers what is published; ``away`` calls fail first."""

    def __init__(self, away: int = 0) -> None:
        self.numbers: list[float] = []
        self.away = away
        self.changed = asyncio.Event()

    async def publish(self, topic: Topic, key: bytes, value: bytes, headers: Headers) -> None:
        event = json.loads(value)
        assert (topic, key, event["subject"], event["source"]) == (Topic.METRICS, b"web", "web", "/eventscaler/shop/m")
        if self.away:
            self.away -= 1
            raise StreamError("away")
        self.numbers.append(event["data"]["requests_held"])
        self.changed.set()

    async def until(self, count: int) -> list[float]:
        async with asyncio.timeout(10):
            while len(self.numbers) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.numbers


def hearing(topics: Topics) -> Demand:
    return Demand("/eventscaler/shop/m", topics.publish, Supervision())


async def test_the_first_request_is_told_at_once_and_the_last_ones_end_too() -> None:
    topics = Topics()
    demand = hearing(topics)
    for waiting in (1, 2, 3, 2):
        demand.heard("web", waiting)
        await settle()
    assert topics.numbers == [1], "a burst is one event"
    demand.heard("web", 0)
    assert await topics.until(2) == [1, 0]
    demand.heard("web", 1)
    assert await topics.until(3) == [1, 0, 1]
    demand.heard("web", 0)
    await topics.until(4)


async def test_nothing_held_is_nothing_told() -> None:
    topics = Topics()
    hearing(topics).heard("web", 0)
    await settle()
    assert topics.numbers == []


async def test_their_number_is_told_again_while_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPEAT_S", 0.05)
    topics = Topics()
    demand = hearing(topics)
    demand.heard("web", 1)
    demand.heard("web", 4)
    assert (await topics.until(3))[:3] == [4, 4, 4]
    demand.heard("web", 0)
    async with asyncio.timeout(10):
        while topics.numbers[-1]:
            await asyncio.sleep(0.01)


async def test_what_could_not_be_told_is_told_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.05)
    topics = Topics(away=2)
    demand = hearing(topics)
    demand.heard("web", 1)
    assert await topics.until(1) == [1]
    demand.heard("web", 0)
    assert await topics.until(2) == [1, 0]


async def test_a_new_wait_right_after_the_last_ended_is_not_lost() -> None:
    topics = Topics()
    demand = hearing(topics)
    demand.heard("web", 1)
    await topics.until(1)
    demand.heard("web", 0)
    demand.heard("web", 1)
    await settle()
    assert topics.numbers == [1, 1]
    demand.heard("web", 0)
    assert await topics.until(3) == [1, 1, 0]
