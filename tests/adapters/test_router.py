"""The embedded router with real sockets on both sides."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest

from autoscaler.adapters.router import EmbeddedRouter
from autoscaler.adapters.router.exchange import Patience
from autoscaler.core.settings import Route
from autoscaler.errors import TargetError
from autoscaler.ports.router import Backend
from tests.parts.http_backend import Server, serving
from tests.parts.processes import free_ports

pytestmark = pytest.mark.timeout(60)


@contextlib.asynccontextmanager
async def routing(
    *backends: Backend, hold: int = 0, hold_for_s: float = 5.0, patience: Patience | None = None
) -> AsyncIterator[tuple[EmbeddedRouter, httpx.AsyncClient]]:
    route = Route("127.0.0.1:0", "http", hold=hold, hold_for_s=hold_for_s)
    router = EmbeddedRouter({"web": route}, patience=patience)
    await router.open()
    await router.set_backends("web", backends)
    try:
        base = f"http://{router.listen_address('web')}"
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=10) as client:
            yield router, client
    finally:
        await router.close()


@pytest.fixture
async def servers() -> AsyncIterator[Sequence[Server]]:
    async with serving("a") as first, serving("b") as second, serving("c") as third:
        yield first, second, third


async def busy_backend(router: EmbeddedRouter) -> None:
    for _ in range(200):
        if any(router.in_flight("web").values()):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"no request in flight within 2 s: {router.traffic('web')}")


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


async def test_services_without_a_route_are_left_alone() -> None:
    async with routing() as (router, _):
        await router.set_backends("other", [Backend("x", "127.0.0.1:1")])
        assert await router.drained("other", "x", 0.0)
