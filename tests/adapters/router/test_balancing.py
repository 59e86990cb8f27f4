"""Which backend gets a request: by weight and load, away from what refuses or leaves, and never twice where that
matters."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Sequence

import pytest

from autoscaler.ports.router import Backend
from tests.adapters.router.routed import busy_backend, routing
from tests.parts.http_backend import Server

pytestmark = pytest.mark.timeout(60)


def refusing() -> Backend:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return Backend("gone", f"127.0.0.1:{unused.getsockname()[1]}")


async def test_requests_go_round_among_backends_in_proportion_to_their_weights(servers: Sequence[Server]) -> None:
    first, second, third = servers
    async with routing(first.backend(100), second.backend(50), third.backend(0)) as (_, client):
        answers = Counter([(await client.get("/")).text for _ in range(30)])
    assert answers == {"a": 20, "b": 10}


async def test_a_busy_backend_is_passed_over(servers: Sequence[Server]) -> None:
    first, second, _ = servers
    async with routing(first.backend(), second.backend()) as (router, client):
        slow = asyncio.create_task(client.get("/slow"))
        await busy_backend(router)
        (busy,) = [name for name, count in router.in_flight("web").items() if count]
        answers = {(await client.get("/")).text for _ in range(6)}
        assert answers == {"a", "b"} - {busy}
        first.release.set()
        second.release.set()
        assert (await slow).text == busy


async def test_no_request_fails_while_backends_change_under_constant_load(servers: Sequence[Server]) -> None:
    async with routing(servers[0].backend()) as (router, client):
        ended = asyncio.Event()
        statuses: Counter[str] = Counter()

        async def load() -> None:
            while not ended.is_set():
                response = await client.post("/", content=b"x" * 100)
                statuses[f"{response.status_code} {response.text}"] += 1
                response = await client.get("/")
                statuses[f"{response.status_code} {response.text}"] += 1

        workers = [asyncio.create_task(load()) for _ in range(8)]
        for turn in range(12):
            leaving, coming = servers[turn % 3], servers[(turn + 1) % 3]
            await router.set_backends("web", [leaving.backend(), coming.backend()])
            await asyncio.sleep(0.05)
            await router.set_backends("web", [coming.backend()])
            assert await router.drained("web", leaving.name, 5.0)
            # From here on the replica may be stopped: nothing more reaches it.
            asked = len(leaving.heads)
            await asyncio.sleep(0.05)
            assert len(leaving.heads) == asked
        ended.set()
        await asyncio.gather(*workers)
    assert set(statuses) == {"200 a", "200 b", "200 c"}
    assert sum(statuses.values()) > 20


async def test_a_request_in_flight_ends_on_a_backend_that_was_taken_out(servers: Sequence[Server]) -> None:
    first, second, _ = servers
    async with routing(first.backend()) as (router, client):
        slow = asyncio.create_task(client.get("/slow"))
        await busy_backend(router)
        await router.set_backends("web", [second.backend()])
        assert (await client.get("/")).text == "b"
        assert not await router.drained("web", "a", 0.1)
        waiting = asyncio.create_task(router.drained("web", "a", 5.0))
        first.release.set()
        assert (await slow).text == "a"
        assert await waiting
        assert router.in_flight("web") == {"b": 0}


async def test_a_refused_connection_is_retried_on_another_backend_also_with_a_body(servers: Sequence[Server]) -> None:
    gone = refusing()
    async with routing(gone, servers[0].backend(1)) as (router, client):
        answers = [await client.post("/", content=b"payload") for _ in range(3)]
        assert [answer.text for answer in answers] == ["a"] * 3
        assert router.traffic("web").retried >= 1
        assert router.traffic("web").failed == 0
    assert servers[0].bodies == [b"payload"] * 3


async def test_all_backends_refusing_is_502_and_names_the_service() -> None:
    async with routing(refusing()) as (router, client):
        response = await client.get("/")
        assert response.status_code == 502
        assert "no replica of web could be reached" in response.text
        assert router.traffic("web").failed == 1


async def test_a_get_that_a_dying_backend_left_unanswered_is_asked_of_another(servers: Sequence[Server]) -> None:
    first, second, _ = servers
    async with routing(first.backend(), second.backend()) as (router, client):
        response = await client.get("/dies")
        assert response.status_code == 502  # both die of it, each asked once
        assert (len(first.heads), len(second.heads)) == (1, 1)
        assert router.traffic("web").retried == 2


async def test_a_post_that_may_have_been_acted_on_is_never_repeated(servers: Sequence[Server]) -> None:
    first, second, _ = servers
    async with routing(first.backend(), second.backend()) as (_, client):
        response = await client.post("/dies", content=b"order")
        assert response.status_code == 502
    assert len(first.heads) + len(second.heads) == 1


async def test_services_without_a_route_are_left_alone() -> None:
    async with routing() as (router, _):
        await router.set_backends("other", [Backend("x", "127.0.0.1:1")])
        assert await router.drained("other", "x", 0.0)
