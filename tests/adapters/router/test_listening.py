"""Who listens for a service, from when and until when; of several members on a machine one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence

import httpx
import pytest

from autoscaler.adapters.router import EmbeddedRouter
from autoscaler.core.settings import Route
from autoscaler.errors import TargetError
from tests.adapters.router.routed import busy_backend, routing
from tests.parts.http_backend import Server
from tests.parts.processes import free_ports

pytestmark = pytest.mark.timeout(60)


async def test_a_taken_address_is_named_and_nothing_is_left_listening() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        router = EmbeddedRouter({"api": Route("127.0.0.1:0"), "web": Route(address)})
        with pytest.raises(TargetError, match=f"services.web.route.listen: cannot listen on {address}") as caught:
            await router.open()
        assert caught.value.outcome == "refused"
        with pytest.raises(KeyError):
            router.listen_address("api")


async def test_of_two_members_on_one_machine_the_owner_of_the_service_listens(servers: Sequence[Server]) -> None:
    (port,) = free_ports(1)
    route = Route(f"127.0.0.1:{port}", hold=0)
    former, owner = (EmbeddedRouter({"web": route}, others=lambda: True) for _ in range(2))
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as kept:
            await former.open()
            with pytest.raises(httpx.ConnectError):
                await kept.get(url)
            await former.set_backends("web", [servers[0].backend()])
            await owner.open()
            slow = asyncio.create_task(kept.get(f"{url}/slow"))
            await busy_backend(former)
            with pytest.raises(TargetError, match="web is served as soon as it is free") as caught:
                await owner.set_backends("web", [servers[1].backend()])
            assert caught.value.outcome == "unavailable"
            await former.forget("web")
            servers[0].release.set()
            assert (await slow).text == "a", "a request in flight ends where it began"
            await listening(owner)
            assert [(await kept.get(url)).text for _ in range(3)] == ["b", "b", "b"]
        assert (former.counts()["web"].requests, owner.counts()["web"].requests) == (1, 3)
    finally:
        await former.close()
        await owner.close()


async def test_a_member_that_is_alone_goes_on_serving_what_it_may_have_back(servers: Sequence[Server]) -> None:
    async with routing(servers[0].backend()) as (router, client):
        await router.forget("web")
        assert (await client.get("/")).text == "a"


async def test_what_waits_is_told_at_once_that_another_member_serves_it() -> None:
    (port,) = free_ports(1)
    router = EmbeddedRouter({"web": Route(f"127.0.0.1:{port}", hold=9, hold_for_s=60.0)}, others=lambda: True)
    await router.open()
    await router.set_backends("web", [])
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client:
            waiting = asyncio.create_task(client.get("/"))
            while not router.traffic("web").held:
                await asyncio.sleep(0.01)
            await router.forget("web")
            answer = await waiting
        assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert answer.text == "web is served by another member now. Try again later.\n"
        counts = router.counts()["web"]
        assert (counts.requests, counts.held, counts.refused, counts.failed, counts.in_flight) == (1, 1, 1, 0, 0)
    finally:
        await router.close()


async def listening(router: EmbeddedRouter) -> None:
    for _ in range(500):
        with contextlib.suppress(KeyError):
            router.listen_address("web")
            return
        await asyncio.sleep(0.01)
    raise AssertionError("does not listen within 5 s")


async def test_closing_lets_a_request_in_flight_end(servers: Sequence[Server]) -> None:
    async with routing(servers[0].backend()) as (router, client):
        slow = asyncio.create_task(client.get("/slow"))
        await busy_backend(router)
        closing = asyncio.create_task(router.close())
        await asyncio.sleep(0.1)
        with pytest.raises(httpx.ConnectError):
            await client.get("/")
        servers[0].release.set()
        assert (await slow).text == "a"
        await closing
