"""Requests that come while no replica is ready: held, counted as demand, served, or sent away with a word."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from autoscaler.adapters.router import EmbeddedRouter
from tests.adapters.router.routed import routing
from tests.parts.http_backend import Server

pytestmark = pytest.mark.timeout(60)


class Heard:
    """What the router said of its demand."""

    def __init__(self, router: EmbeddedRouter) -> None:
        self.numbers: list[int] = []
        self._changed = asyncio.Event()
        router.hear_demand(self.note)

    def note(self, service: str, waiting: int) -> None:
        assert service == "web"
        self.numbers.append(waiting)
        self._changed.set()

    async def until(self, waiting: int) -> None:
        async with asyncio.timeout(5):
            while not self.numbers or self.numbers[-1] != waiting:
                self._changed.clear()
                await self._changed.wait()


async def test_without_a_backend_the_answer_is_503_with_a_text_and_when_to_come_again() -> None:
    async with routing() as (router, client):
        heard = Heard(router)
        response = await client.get("/")
        posted = await client.post("/", content=b"x" * 300_000)
    for answer in (response, posted):
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.text == "web has no replica that is ready. Try again later.\n"
    assert heard.numbers == [], "where nothing is held, nothing is asked for"


async def test_held_requests_are_served_by_the_replica_that_their_demand_brought_up(servers: Sequence[Server]) -> None:
    async with routing(hold=10) as (router, client):
        heard = Heard(router)
        posted = asyncio.create_task(client.post("/", content=b"hello"))
        await heard.until(1)
        got = asyncio.create_task(client.get("/"))
        await heard.until(2)
        await router.set_backends("web", [servers[0].backend()])
        assert [(await posted).text, (await got).text] == ["a", "a"]
        assert router.traffic("web").held == 2
        assert router.traffic("web").failed == 0
    assert heard.numbers == [1, 2, 1, 0]
    assert sorted(servers[0].bodies) == [b"", b"hello"]


async def test_only_so_many_requests_are_held_and_the_others_are_told_so_at_once() -> None:
    async with routing(hold=2, hold_for_s=30) as (router, client):
        heard = Heard(router)
        held = [asyncio.create_task(client.get("/")) for _ in range(2)]
        await heard.until(2)
        refused = await client.get("/")
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert refused.text == (
            "web has no replica that is ready, and 2 requests wait for one already. Try again later.\n"
        )
        for each in held:
            each.cancel()
        await heard.until(0)


async def test_a_request_is_held_only_so_long() -> None:
    async with routing(hold=2, hold_for_s=0.2) as (router, client):
        heard = Heard(router)
        response = await client.get("/")
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert response.text == "web has had no replica that is ready for 0.2 s. Try again later.\n"
    assert heard.numbers == [1, 0]


@pytest.mark.parametrize("body", [b"", b"x" * 20_000], ids=["no body", "a body"])
async def test_a_client_that_leaves_while_its_request_is_held_leaves_its_place(
    servers: Sequence[Server], body: bytes
) -> None:
    async with routing(hold=1, hold_for_s=30) as (router, client):
        heard = Heard(router)
        host, _, port = router.listen_address("web").rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await heard.until(1)
        writer.transport.abort()
        await heard.until(0)
        waiting = asyncio.create_task(client.get("/"))
        await heard.until(1)
        await router.set_backends("web", [servers[0].backend()])
        assert (await waiting).text == "a"
    assert len(servers[0].heads) == 1, "nobody waited for the first request's answer"


async def test_a_long_body_that_came_while_its_request_was_held_arrives_whole(servers: Sequence[Server]) -> None:
    async with routing(hold=1) as (router, client):
        heard = Heard(router)
        posted = asyncio.create_task(client.post("/", content=b"z" * 1_000_000))
        await heard.until(1)
        await asyncio.sleep(0.1)
        await router.set_backends("web", [servers[0].backend()])
        assert (await posted).text == "a"
    assert servers[0].bodies == [b"z" * 1_000_000]
