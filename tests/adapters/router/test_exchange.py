"""One request and its answer on their way through: bodies, headers, kept connections, and whatever breaks off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest

from autoscaler.adapters.router import EmbeddedRouter
from autoscaler.adapters.router.exchange import Patience
from tests.adapters.router.routed import routing
from tests.parts.http_backend import Server

pytestmark = pytest.mark.timeout(60)


async def test_bodies_stream_both_ways(servers: Sequence[Server]) -> None:
    first = servers[0]
    async with routing(first.backend()) as (_, client):

        async def upload() -> AsyncIterator[bytes]:
            for _ in range(50):
                yield b"y" * 10_000

        assert (await client.post("/", content=upload())).text == "a"
        assert first.bodies[-1] == b"y" * 500_000
        async with client.stream("GET", "/stream") as response:
            pieces = response.aiter_raw()
            assert await anext(pieces) == b"one"
            first.release.set()
            assert await anext(pieces) == b"two"


async def test_an_answer_before_the_end_of_the_body_reaches_the_client(servers: Sequence[Server]) -> None:
    async with routing(servers[0].backend()) as (_, client):
        response = await client.post("/early", content=b"z" * 3_000_000)
        assert response.status_code == 413
        assert (await client.get("/")).text == "a"


async def test_an_answer_that_breaks_off_is_cut_off_for_the_client_too(servers: Sequence[Server]) -> None:
    async with routing(servers[0].backend()) as (router, client):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/half")
        assert await router.drained("web", "a", 1.0)
        assert (await client.get("/")).text == "a"


async def test_connections_of_clients_and_to_backends_are_kept(servers: Sequence[Server]) -> None:
    async with routing(servers[0].backend()) as (_, client):
        for _ in range(10):
            assert (await client.get("/")).text == "a"
    assert servers[0].connections == 1


async def test_a_kept_connection_that_the_backend_closed_costs_no_request(servers: Sequence[Server]) -> None:
    async with routing(servers[0].backend()) as (_, client):
        for _ in range(20):
            assert (await client.get("/close")).status_code == 200
    assert servers[0].connections == 20


async def test_headers_of_one_connection_stay_there_and_the_client_is_named(servers: Sequence[Server]) -> None:
    async with routing(servers[0].backend()) as (_, client):
        headers = {
            "Connection": "keep-alive, x-private",
            "X-Private": "1",
            "X-Forwarded-For": "10.0.0.1",
            "X-Mine": "2",
        }
        response = await client.get("/", headers=headers)
    head = servers[0].heads[0].lower()
    assert b"x-private" not in head
    assert b"x-mine: 2" in head
    assert b"x-forwarded-for: 10.0.0.1, 127.0.0.1" in head
    assert "keep-alive" not in response.headers


async def raw(router: EmbeddedRouter, request: bytes) -> bytes:
    host, _, port = router.listen_address("web").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(b"nonsense\r\n\r\n", b"400", id="nonsense"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", b"431", id="head too long"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close, upgrade\r\nUpgrade: websocket\r\n\r\n",
            b"501",
            id="upgrade",
        ),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", b"200", id="HTTP/1.0 without a host"),
    ],
)
async def test_requests_out_of_the_ordinary_get_the_status_for_it(
    servers: Sequence[Server], request_bytes: bytes, status: bytes
) -> None:
    async with routing(servers[0].backend()) as (router, _):
        assert (await raw(router, request_bytes)).split()[1] == status


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(servers: Sequence[Server]) -> None:
    async with routing(servers[0].backend()) as (router, _):
        host, _, port = router.listen_address("web").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).split()[1] == b"100"
        writer.write(b"body")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).split()[1] == b"200"
        writer.close()
        await writer.wait_closed()
    assert servers[0].bodies == [b"body"]


async def test_a_silent_backend_is_504_after_the_patience_given(servers: Sequence[Server]) -> None:
    async with routing(servers[0].backend(), patience=Patience(backend_s=0.2)) as (_, client):
        assert (await client.get("/slow")).status_code == 504


async def test_a_client_that_leaves_frees_its_backend(servers: Sequence[Server]) -> None:
    async with routing(servers[0].backend()) as (router, client):
        async with client.stream("GET", "/stream") as response:
            await anext(response.aiter_raw())
        servers[0].release.set()
        assert await router.drained("web", "a", 2.0)
