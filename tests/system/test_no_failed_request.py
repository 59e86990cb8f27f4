"""No request fails while replicas come and go, counted by the clients: real replicas, real HAProxy, constant load."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.parts import haproxy
from tests.parts.processes import free_ports
from tests.system.customers import Customers
from tests.system.installation import QUICK_UPDATE, Installation
from tests.system.patience import eventually
from tests.system.trail import at_rest, judge, verdict

pytestmark = pytest.mark.timeout(170)

UPDATE = QUICK_UPDATE | {"drain_timeout": "15s", "deadline": "60s", "startup_deadline": "20s", "soak": "500ms"}

SERVER = """
import os, sys, time, http.server
class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        time.sleep(float(self.path.partition("?")[2] or 0))
        page = ("version %s" % sys.argv[1]).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(page))); self.end_headers()
        self.wfile.write(page)
    def log_message(self, *arguments): pass
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
Server(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"""


def a_process(version: str, **changes: Any) -> dict[str, Any]:
    """A server that ends at once when it is told to, whatever it is answering."""
    health = {"http": "/", "port": "http", "every": "200ms", "timeout": "1s", "start": "5s"}
    command = [sys.executable, "-I", "-S", "-u", "-c", SERVER, version]
    return {"command": command, "ports": {"http": 8080}, "health": health, "stop": {"grace": "1s"}} | changes


@pytest.fixture
def edge(find_part: Callable[[str], str]) -> Iterator[haproxy.Haproxy]:
    """A HAProxy that somebody else runs."""
    find_part("haproxy")
    with tempfile.TemporaryDirectory(prefix="edge-") as directory:
        server = haproxy.start(Path(directory), ["web"])
        try:
            yield server
        finally:
            server.stop()


def through(installation: Installation, edge: haproxy.Haproxy, **changes: Any) -> str:
    """Give the service a route through the HAProxy; the url that its customers come to."""
    installation.extra["routers"] = {"edge": {"kind": "haproxy", "socket": edge.socket}}
    service = installation.service(update=UPDATE, route={"router": "edge", "port": "http"}, **changes)
    installation.services = {"web": service}
    return f"http://{edge.address('web')}"


async def phases_without_a_failure(shop: Installation, customers: Customers, good: dict[str, Any], bad: Any) -> None:
    """An update, a bad version that is taken back, and a scale-down, each judged by the customers."""
    assert not customers.failures, "before anything happens"
    event = await shop.deploy("web", "one", "good", **good)
    assert (await verdict(shop, event, within_s=90)).data["verdict"] == "applied"
    await shop.wanted("web", 3, revision=2)
    await customers.see("version 2")
    assert not customers.failures, f"update: {customers.failures[:5]} of {customers.requests}\n{shop.logs()}"

    event = await shop.deploy("web", "one", "bad", **bad)
    assert (await verdict(shop, event, within_s=90)).data["verdict"] == "rolled_back"
    await shop.wanted("web", 3, revision=2)
    await customers.see("version 2")
    assert not customers.failures, f"rollback: {customers.failures[:5]} of {customers.requests}\n{shop.logs()}"

    event = await shop.command("web", "scale", "down", replicas=1)
    assert (await verdict(shop, event)).data["verdict"] == "applied"
    await shop.wanted("web", 1, revision=2)
    await customers.see("version 2")
    assert not customers.failures, f"scale-down: {customers.failures[:5]} of {customers.requests}\n{shop.logs()}"
    await at_rest(shop, "web")


async def test_containers_on_two_engines_behind_haproxy(
    pooled: Callable[..., Installation], edge: haproxy.Haproxy
) -> None:
    shop = pooled()
    url = through(shop, edge, replicas=3)
    await shop.open()
    shop.start()
    await shop.wanted("web", 3, revision=1)
    await at_rest(shop, "web")
    async with Customers(url) as customers:
        await customers.see("version 1")
        good, bad = shop.ground.revision("two"), shop.ground.revision("sick")
        await phases_without_a_failure(shop, customers, good, bad)
        event = await shop.command("web", "scale", "again", replicas=2)
        assert (await verdict(shop, event)).data["verdict"] == "applied"
        await shop.wanted("web", 2, revision=2)
        assert {standing.host for standing in shop.ground.standing()} == {"h1", "h2"}
        code, _, said = await shop.call("hosts", "drain", "h2")
        assert code == 0, said
        await eventually("h2 empty", shop.ground.standing, lambda seen: {s.host for s in seen} == {"h1"})
        await shop.wanted("web", 2, revision=2)
        await customers.see("version 2")
    assert not customers.failures, f"drain: {customers.failures[:5]} of {customers.requests}\n{shop.logs()}"
    assert set(customers.answers) == {"version 1", "version 2"}
    assert customers.slow > 5
    await judge(shop)


@pytest.fixture(params=["embedded", pytest.param("haproxy", marks=pytest.mark.haproxy)])
async def stall(
    request: pytest.FixtureRequest, local: Callable[..., Installation], find_part: Callable[[str], str]
) -> AsyncIterator[tuple[Installation, str]]:
    """Three processes behind the embedded router, or behind a HAProxy that the program starts itself; and their url."""
    shop = local()
    (port,) = free_ports(1)
    route: dict[str, Any] = {"listen": f"127.0.0.1:{port}", "port": "http"}
    with tempfile.TemporaryDirectory(prefix="own-") as directory:
        if request.param == "haproxy":
            find_part("haproxy")
            shop.extra["routers"] = {"own": {"kind": "haproxy", "dir": directory}}
            route["router"] = "own"
        shop.services = {"web": shop.service(replicas=3, update=UPDATE, route=route, revision=a_process("1"))}
        try:
            yield shop, f"http://127.0.0.1:{port}"
        finally:
            await shop.close()
            haproxy.kill_own(Path(directory))


async def test_processes_behind_the_program_s_own_routers(stall: tuple[Installation, str]) -> None:
    shop, url = stall
    await shop.open()
    shop.start()
    await shop.wanted("web", 3, revision=1)
    await at_rest(shop, "web")
    sick = {"http": "/?9", "port": "http", "every": "200ms", "timeout": "300ms", "start": "0s"}
    async with Customers(url) as customers:
        await customers.see("version 1")
        await phases_without_a_failure(shop, customers, a_process("2"), a_process("3", health=sick))
        assert not customers.answers["version 3"]
        if "routers" in shop.extra:  # it outlives the program, and so do the requests
            assert await shop.members[-1].terminated() == 0
            await customers.see("version 2")
            shop.start()
            event = await shop.command("web", "scale", "up", replicas=2)
            assert (await verdict(shop, event)).data["verdict"] == "applied"
            await shop.wanted("web", 2, revision=2)
            await customers.see("version 2")
    assert not customers.failures, f"{customers.failures[:5]} of {customers.requests}\n{shop.logs()}"


async def test_requests_for_a_service_at_zero_wait_for_its_first_replica(stall: tuple[Installation, str]) -> None:
    shop, url = stall
    shop.services["web"] |= {"replicas": {"min": 0, "max": 4, "initial": 0}, "policies": []}
    await shop.open()
    shop.start()
    await at_rest(shop, "web")
    assert shop.ground.standing() == []
    async with Customers(url, quick=4, seconds=()) as customers:
        await customers.see("version 1")
        await shop.wanted("web", 1, revision=1)
    assert not customers.failures, f"{customers.failures[:5]}\n{shop.logs()}"
    code, out, said = await shop.call("audit", "web", "--json")
    assert code == 0, said
    assert "held for a first replica" in out
    event = await shop.command("web", "scale", "none", replicas=0)
    assert (await verdict(shop, event)).data["verdict"] == "applied"
    await shop.wanted("web", 0, revision=1)


async def test_past_its_patience_a_held_request_is_told_when_to_come_again(stall: tuple[Installation, str]) -> None:
    shop, url = stall
    shop.services["web"] |= {"replicas": {"min": 0, "max": 4, "initial": 0}, "policies": []}
    shop.services["web"]["route"] |= {"hold": 1, "hold_for": "1s"}
    shop.services["web"]["revision"] = a_process("1", command=[sys.executable, "-c", "import time; time.sleep(99)"])
    await shop.open()
    shop.start()
    await at_rest(shop, "web")
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        response = await client.get(url)
    assert response.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert response.headers["retry-after"] == "1"
    assert response.text == "web has had no replica that is ready for 1 s. Try again later.\n"


@pytest.mark.parametrize("stall", ["haproxy"], indirect=True)
@pytest.mark.parametrize(
    ("strategy", "steps"),
    [
        pytest.param("canary", [{"weight": "20%", "pause": "3s"}, {"weight": "50%", "pause": "1s"}], id="canary"),
        pytest.param("blue_green", [], id="blue-green"),
    ],
)
async def test_requests_are_shared_as_the_strategy_says(
    stall: tuple[Installation, str], strategy: str, steps: list[dict[str, str]]
) -> None:
    shop, url = stall
    shop.services["web"]["update"] = UPDATE | {"strategy": strategy, "steps": steps}
    await shop.open()
    shop.start()
    await shop.wanted("web", 3, revision=1)
    await at_rest(shop, "web")
    async with Customers(url, seconds=(1, 2)) as customers:
        await customers.see("version 1")
        event = await shop.deploy("web", "one", "good", **a_process("2"))
        if strategy == "canary":
            await customers.see("version 2", 1)
            before = customers.answers.copy()
            await customers.see("version 1", 60)
            new, old = (customers.answers[version] - before[version] for version in ("version 2", "version 1"))
            assert 0.08 < new / (new + old) < 0.35, f"a fifth, not {new} of {new + old}"
        assert (await verdict(shop, event, within_s=90)).data["verdict"] == "applied"
        await shop.wanted("web", 3, revision=2)
        await customers.see("version 2")
        before = customers.answers.copy()
        await customers.see("version 2")
        assert customers.answers["version 1"] == before["version 1"]
    assert not customers.failures, f"{customers.failures[:5]} of {customers.requests}\n{shop.logs()}"


@pytest.mark.nightly
@pytest.mark.timeout(0)
async def test_rounds_of_updates_scales_and_restarts(stall: tuple[Installation, str]) -> None:
    """``AUTOSCALER_SOAK_ROUNDS`` rounds (10): each a version, a demand, and where the router outlives it a restart."""
    shop, url = stall
    await shop.open()
    shop.start()
    await shop.wanted("web", 3, revision=1)
    async with Customers(url) as customers:
        await customers.see("version 1")
        for number in range(2, 2 + int(os.environ.get("AUTOSCALER_SOAK_ROUNDS", "10"))):
            event = await shop.deploy("web", "one", f"d-{number}", **a_process(str(number)))
            if "routers" in shop.extra:
                await customers.see(f"version {number}", 1, within_s=60)
                shop.members[-1].kill()
                shop.start()
            assert (await verdict(shop, event, within_s=120)).data["verdict"] == "applied"
            replicas = 1 + number % 4
            event = await shop.command("web", "scale", f"s-{number}", replicas=replicas)
            assert (await verdict(shop, event)).data["verdict"] == "applied"
            await shop.wanted("web", replicas, revision=number)
            await customers.see(f"version {number}")
            assert not customers.failures, f"round {number}: {customers.failures[:5]} of {customers.requests}"
