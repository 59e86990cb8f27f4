"""No request fails while replicas come and go, counted by the clients: real replicas, real HAProxy, constant load."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from autoscaler.events.writing import samples_event
from autoscaler.ports.stream import Topic
from tests.parts import haproxy
from tests.parts.processes import free_ports
from tests.system.customers import Customers
from tests.system.installation import QUICK_UPDATE, SOURCE, Installation
from tests.system.patience import eventually
from tests.system.trail import Recorded, at_rest, judge, noted, trail, verdict

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
        server = haproxy.start(Path(directory), ["web", "steps", "colours"])
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


async def tell(shop: Installation, ratios: Mapping[int, float]) -> None:
    """As a monitor would, of each revision, until cancelled: its share of errors."""
    while True:
        samples = [{"name": "error_ratio", "value": value, "revision": number} for number, value in ratios.items()]
        await shop.publish(Topic.METRICS, "steps", samples_event("steps", samples, SOURCE))
        await asyncio.sleep(0.5)


async def canary_that_passes_and_one_that_fails(shop: Installation, customers: Customers) -> None:
    """Judged by the samples of its own revision: the first one is taken whole, the second one is taken back."""
    ratios = {1: 0.0, 2: 0.0, 3: 1.0}
    telling = asyncio.create_task(tell(shop, ratios))
    try:
        event = await shop.deploy("steps", "two", "good")
        assert (await verdict(shop, event, within_s=90)).data["verdict"] == "applied"
        await shop.wanted("steps", 2, revision=2)
        await customers.see("version 2")
        event = await shop.deploy("steps", "one", "bad", labels={"n": "3"})
        told = await verdict(shop, event, within_s=90)
        assert (told.data["verdict"], told.data["after"]["revision"]) == ("rolled_back", 2), told
        await shop.wanted("steps", 2, revision=2)
    finally:
        telling.cancel()


async def switch_that_is_promoted_and_one_that_is_aborted(shop: Installation, customers: Customers) -> None:
    """No customer meets a preview; the switch is one moment; the one that an operator aborts was met by nobody."""
    event = await shop.deploy("colours", "two", "good")
    await noted(shop, "the preview", partial(judging, "colours", 2))
    assert not customers.answers["version 2"], "a preview gets no request"
    await shop.command("colours", "promote", "switch")
    assert (await verdict(shop, event, within_s=90)).data["verdict"] == "applied"
    await shop.wanted("colours", 2, revision=2)
    await customers.see("version 2")
    old = customers.answers["version 1"]
    event = await shop.deploy("colours", "one", "aborted", labels={"n": "3"})
    await noted(shop, "the second preview", partial(judging, "colours", 3))
    await shop.command("colours", "abort", "abort")
    assert (await verdict(shop, event, within_s=90)).data["verdict"] == "rolled_back"
    await shop.wanted("colours", 2, revision=2)
    await customers.see("version 2")
    assert customers.answers["version 1"] == old


def judging(service: str, revision: int, recorded: Recorded) -> bool:
    data = recorded.data
    at = (recorded.chain, data["after"]["revision"], data["reason"]["code"])
    return at == (service, revision, "judging")


@pytest.mark.timeout(300)  # what a switch has replaced stands by for half a minute, and the engines are shared
async def test_canaries_and_switches_of_containers_behind_haproxy(
    pooled: Callable[..., Installation], edge: haproxy.Haproxy
) -> None:
    shop = pooled()
    through(shop, edge)
    settings = shop.services.pop("web") | {"replicas": {"min": 2, "max": 4}}
    judge_by = {"use": "canary", "with": {"limits": [{"metric": "error_ratio", "above": 0.05, "every": "1s"}]}}
    steps = {"strategy": "canary", "steps": [{"weight": "50%", "pause": "2s"}]}
    preview = {"strategy": "blue_green", "steps": [{"weight": "100%", "pause": "until promote"}]}
    shop.services["steps"] = settings | {"policies": [judge_by], "update": UPDATE | steps}
    shop.services["colours"] = settings | {"policies": [], "update": UPDATE | preview}
    await shop.open()
    shop.start()
    for service in shop.services:
        await at_rest(shop, service)
    visitors = {each: Customers(f"http://{edge.address(each)}", quick=4, seconds=(1, 2, 5)) for each in shop.services}
    async with visitors["steps"], visitors["colours"]:
        for customers in visitors.values():
            await customers.see("version 1")
        async with asyncio.TaskGroup() as both:
            both.create_task(canary_that_passes_and_one_that_fails(shop, visitors["steps"]))
            both.create_task(switch_that_is_promoted_and_one_that_is_aborted(shop, visitors["colours"]))
    for service, customers in visitors.items():
        assert not customers.failures, f"{service}: {customers.failures[:5]} of {customers.requests}\n{shop.logs()}"
        own = await trail(shop.client, service)
        # What a switch replaces stands by for half a minute: its requests go with the switch itself.
        left = departures(own, revision=1) if service == "steps" else [r.at for r in own if switches(r)]
        old = [visit for visit in customers.visits if visit.version == "version 1"]
        carried = [visit for visit in old if any(visit.began < at < visit.ended for at in left)]
        assert carried, f"{service}: no slow request was in flight when the old revision had to go: {left}"
    await judge(shop)


def switches(recorded: Recorded) -> bool:
    """Whether the second revision has everything from now on."""
    return (recorded.data["after"]["revision"], recorded.data["reason"]["code"]) == (2, "soaking")


def departures(own: Sequence[Recorded], revision: int) -> list[float]:
    """When replicas of the revision were no longer wanted."""
    moments, before = [], set[tuple[int, int]]()
    for recorded in own:
        if "replicas" not in recorded.data["changes"]:
            continue
        listed = recorded.data["changes"]["replicas"]
        after = {(each["slot"], each["attempt"]) for each in listed if each["revision"] == revision}
        if before - after:
            moments.append(recorded.at)
        before = after
    return moments


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
