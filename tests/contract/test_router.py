"""What every router promises, on the embedded one and on a real HAProxy, with real sockets on both sides."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import httpx
import pytest

from autoscaler.adapters.haproxy import HaproxyRouter
from autoscaler.adapters.haproxy.runtime import Runtime
from autoscaler.errors import TargetError
from autoscaler.ports.router import Backend, Router
from tests.contract.router_kinds import KINDS, AttachedHaproxy, Embedded, OwnHaproxy, open_kind
from tests.parts.http_backend import Server, serving
from tests.parts.processes import free_ports

pytestmark = pytest.mark.timeout(90)
Kind = Embedded | AttachedHaproxy | OwnHaproxy
HAPROXIES = [pytest.param(name, marks=pytest.mark.haproxy) for name in KINDS if "haproxy" in name]
ALL = [pytest.param(name) for name in KINDS if "haproxy" not in name] + HAPROXIES


@pytest.fixture
def kind(request: pytest.FixtureRequest, find_part: Callable[[str], str]) -> Iterator[Kind]:
    name = str(getattr(request, "param", "haproxy"))
    if "haproxy" in name:
        find_part("haproxy")
    with open_kind(name) as opened:
        yield opened


@pytest.fixture
async def router(kind: Kind) -> AsyncIterator[Router]:
    made = kind.make()
    await made.open()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def servers() -> AsyncIterator[Sequence[Server]]:
    async with serving("shop.web.s0.r1.1") as a, serving("shop.web.s1.r1.2") as b, serving("shop.web.s2.r2.3") as c:
        yield a, b, c


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as made:
        yield made


async def reaches(server: Server, path: str = "/slow") -> None:
    """A request is in flight on the server."""
    async with asyncio.timeout(5):
        while not any(path.encode() in head.split(b"\r\n")[0] for head in server.heads):
            await asyncio.sleep(0.01)


async def answered_by(client: httpx.AsyncClient, address: str, seconds: float = 15.0) -> str:
    """Who answers, as soon as anybody does."""
    last = ""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                try:
                    response = await client.get(f"http://{address}/")
                    if response.status_code == 200:
                        return response.text
                    last = str(response.status_code)
                except httpx.TransportError as error:
                    last = repr(error)
                await asyncio.sleep(0.05)
    raise AssertionError(f"nobody answers within {seconds:.0f} s: {last}")


@pytest.mark.parametrize("kind", ALL, indirect=True)
async def test_requests_go_to_the_backends_that_were_set_last(
    kind: Kind, servers: Sequence[Server], router: Router, client: httpx.AsyncClient
) -> None:
    first, second, third = servers
    url = f"http://{kind.address('web')}/"
    assert (await client.get(url)).status_code == 503
    await router.set_backends("web", [first.backend(), second.backend()])
    assert {(await client.get(url)).text for _ in range(8)} == {first.name, second.name}
    await router.set_backends("web", [third.backend()])
    assert {(await client.get(url)).text for _ in range(8)} == {third.name}
    await router.set_backends("web", [])
    assert (await client.get(url)).status_code == 503
    assert (await client.get(f"http://{kind.address('api')}/")).status_code == 503


@pytest.mark.parametrize("kind", ALL, indirect=True)
async def test_weights_are_respected_within_a_tenth(
    kind: Kind, servers: Sequence[Server], router: Router, client: httpx.AsyncClient
) -> None:
    first, second, third = servers
    url = f"http://{kind.address('web')}/"
    await router.set_backends("web", [first.backend(90), second.backend(10), third.backend(0)])
    answers = Counter([(await client.get(url)).text for _ in range(200)])
    assert abs(answers[first.name] - 180) <= 20, answers
    assert answers[third.name] == 0
    await router.set_backends("web", [first.backend(0), second.backend(1), third.backend(256)])
    answers = Counter([(await client.get(url)).text for _ in range(100)])
    assert answers[first.name] == 0
    assert answers[third.name] >= 90, answers


@pytest.mark.parametrize("kind", ALL, indirect=True)
async def test_drained_returns_only_when_the_requests_in_flight_have_ended(
    kind: Kind, servers: Sequence[Server], router: Router, client: httpx.AsyncClient
) -> None:
    first, second, _ = servers
    url = f"http://{kind.address('web')}"
    await router.set_backends("web", [first.backend()])
    slow = asyncio.create_task(client.get(f"{url}/slow"))
    await reaches(first)
    assert not await router.drained("web", first.name, 0.3), "it is still wanted, and busy"
    await router.set_backends("web", [second.backend()])
    assert {(await client.get(f"{url}/")).text for _ in range(5)} == {second.name}
    assert not await router.drained("web", first.name, 0.3)
    waiting = asyncio.create_task(router.drained("web", first.name, 10.0))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    first.release.set()
    assert (await slow).text == first.name
    assert await waiting
    assert await router.drained("web", second.name, 0.2) == (not kind.separate), "a wanted one gets new requests"


@pytest.mark.parametrize("kind", ALL, indirect=True)
async def test_no_request_fails_while_backends_change_under_load(
    kind: Kind, servers: Sequence[Server], router: Router, client: httpx.AsyncClient
) -> None:
    url = f"http://{kind.address('web')}/"
    await router.set_backends("web", [servers[0].backend()])
    ended = asyncio.Event()
    statuses: Counter[str] = Counter()

    async def load(*, keep_alive: bool) -> None:
        headers = {} if keep_alive else {"Connection": "close"}
        while not ended.is_set():
            statuses[str((await client.post(url, content=b"x" * 100, headers=headers)).status_code)] += 1
            statuses[str((await client.get(url, headers=headers)).status_code)] += 1

    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(load(keep_alive=number % 2 == 0))
        for turn in range(9):
            leaving, coming = servers[turn % 3], servers[(turn + 1) % 3]
            await router.set_backends("web", [leaving.backend(), coming.backend()])
            await asyncio.sleep(0.05)
            await router.set_backends("web", [coming.backend()])
            assert await router.drained("web", leaving.name, 5.0)
            asked = len(leaving.heads)  # from here on the replica may be stopped: nothing more reaches it
            await asyncio.sleep(0.05)
            assert len(leaving.heads) == asked
        ended.set()
    assert set(statuses) == {"200"}
    assert statuses["200"] > 20


@pytest.mark.parametrize("kind", ALL, indirect=True)
async def test_an_unknown_backend_is_drained_and_an_unknown_service_left_alone(kind: Kind, router: Router) -> None:
    await router.set_backends("web", [])
    assert await router.drained("web", "shop.web.s9.r9.9", 1.0)
    await router.set_backends("other", [Backend("x", "127.0.0.1:1")])
    assert await router.drained("other", "x", 1.0)
    await router.forget("other")


@pytest.mark.parametrize("kind", ALL, indirect=True)
async def test_what_runs_inside_stops_with_us_and_a_router_of_its_own_goes_on(
    kind: Kind, servers: Sequence[Server], client: httpx.AsyncClient
) -> None:
    router = kind.make()
    await router.open()
    await router.set_backends("web", [servers[0].backend()])
    url = f"http://{kind.address('web')}/"
    await router.close()
    if not kind.separate:
        with pytest.raises(httpx.ConnectError):
            await client.get(url)
        return
    assert (await client.get(url)).text == servers[0].name
    again = kind.make()
    await again.open()  # the next member finds it, and takes nothing away that it has not been told of
    assert (await client.get(url)).text == servers[0].name
    await again.set_backends("web", [servers[1].backend()])
    assert {(await client.get(url)).text for _ in range(5)} == {servers[1].name}
    await again.close()


@pytest.mark.parametrize("kind", HAPROXIES, indirect=True)
async def test_a_restarted_haproxy_is_told_everything_anew(
    kind: Kind, servers: Sequence[Server], router: Router, client: httpx.AsyncClient
) -> None:
    await router.set_backends("web", [servers[0].backend()])
    await asyncio.to_thread(kind.restart)
    assert await answered_by(client, kind.address("web")) == servers[0].name
    await router.set_backends("web", [servers[1].backend()])
    assert {(await client.get(f"http://{kind.address('web')}/")).text for _ in range(5)} == {servers[1].name}


@pytest.mark.parametrize("kind", HAPROXIES, indirect=True)
async def test_what_somebody_else_changes_is_put_right_and_their_servers_are_left_alone(
    kind: AttachedHaproxy | OwnHaproxy,
    servers: Sequence[Server],
    router: HaproxyRouter,
    client: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("autoscaler.adapters.haproxy.router.RECHECK_S", 0.5)
    first, second, _ = servers
    await router.set_backends("web", [first.backend()])
    kind.command(f"add server web/theirs {second.address} weight 100")
    kind.command("enable server web/theirs")
    kind.command(f"set server web/{first.name} state maint")
    async with asyncio.timeout(10):
        while (await client.get(f"http://{kind.address('web')}/")).text != first.name:
            await asyncio.sleep(0.05)
    await router.set_backends("web", [])
    assert "theirs" in kind.command("show servers state web")
    assert await answered_by(client, kind.address("web")) == second.name


@pytest.mark.haproxy
@pytest.mark.parametrize("kind", ["haproxy"], indirect=True)
async def test_while_haproxy_is_away_calls_end_in_time_and_are_made_good_later(
    kind: AttachedHaproxy, servers: Sequence[Server], router: Router, client: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("autoscaler.adapters.haproxy.router.APPLY_S", 0.3)
    kind.server.kill()
    with pytest.raises(TargetError, match="has not been told") as caught:
        await router.set_backends("web", [servers[2].backend()])
    assert caught.value.outcome == "unavailable"
    assert not await router.drained("web", servers[2].name, 0.3)
    await asyncio.to_thread(kind.restart)
    assert await answered_by(client, kind.address("web")) == servers[2].name


@pytest.mark.haproxy
@pytest.mark.parametrize("kind", ["haproxy"], indirect=True)
async def test_haproxy_away_at_the_start_is_no_reason_not_to_start(
    kind: AttachedHaproxy, servers: Sequence[Server], client: httpx.AsyncClient
) -> None:
    kind.server.kill()
    router = kind.make()
    await router.open()
    try:
        setting = asyncio.create_task(router.set_backends("web", [servers[0].backend()]))
        await asyncio.to_thread(kind.restart)
        assert await answered_by(client, kind.address("web")) == servers[0].name
        with contextlib.suppress(TargetError):
            await setting
    finally:
        await router.close()


@pytest.mark.haproxy
@pytest.mark.parametrize("kind", ["haproxy"], indirect=True)
async def test_a_backend_that_haproxy_does_not_have_is_named_at_the_start(kind: AttachedHaproxy) -> None:
    router = HaproxyRouter("edge", Runtime(kind.server.socket), {"web": "shop_web"})
    with pytest.raises(TargetError, match=r"services\.web\.route: .* has no backend shop_web") as caught:
        await router.open()
    assert caught.value.outcome == "refused"


@pytest.mark.haproxy
@pytest.mark.parametrize("kind", ["own haproxy"], indirect=True)
async def test_a_taken_listen_address_is_named_by_haproxys_own_reason(kind: OwnHaproxy) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        kind.listeners["web"] = address
        with pytest.raises(TargetError, match=address) as caught:
            await kind.make().open()
    assert caught.value.outcome == "refused"


@pytest.mark.haproxy
@pytest.mark.parametrize("kind", ["own haproxy"], indirect=True)
async def test_other_listeners_are_taken_over_without_a_failed_request(
    kind: OwnHaproxy, servers: Sequence[Server], client: httpx.AsyncClient
) -> None:
    first = kind.make()
    await first.open()
    await first.set_backends("web", [servers[0].backend()])
    await first.close()
    pid = kind.master.pid
    kind.listeners["api"] = f"127.0.0.1:{free_ports(1)[0]}"
    second = kind.make()
    statuses = Counter[int]()
    ended = asyncio.Event()

    async def load() -> None:
        while not ended.is_set():
            response = await client.get(f"http://{kind.address('web')}/", headers={"Connection": "close"})
            statuses[response.status_code] += 1

    async with asyncio.TaskGroup() as group:
        group.create_task(load())
        await second.open()
        await second.set_backends("web", [servers[0].backend()])
        await second.set_backends("api", [servers[1].backend()])
        assert await answered_by(client, kind.address("api")) == servers[1].name
        ended.set()
    await second.close()
    assert set(statuses) == {200}
    assert kind.master.pid == pid
