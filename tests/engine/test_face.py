"""What a member shows: ready, healthy, its services."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from autoscaler.adapters.http.server import HttpServer
from autoscaler.configuration.settings import HttpSettings
from autoscaler.core.budgets import Budget, Prices
from autoscaler.engine import face as face_module
from autoscaler.engine.exposition import BUDGET_LABELS_MAX
from autoscaler.errors import StreamError, TargetError
from autoscaler.ports.router import Counts
from autoscaler.ports.stream import Topic
from tests.engine.instances import AtWork, RecordingRouter, at_work, command, deployment, eventually, verdicts
from tests.engine.streams import MemoryLog, MemoryStream

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("impatient")]


@asynccontextmanager
async def browsing(working: AtWork) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the member's pages."""
    server = HttpServer(HttpSettings(), working.face)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(server.app), base_url="http://member") as client:
        yield client


async def status_of(client: httpx.AsyncClient) -> tuple[int, int]:
    """Of /readyz and /healthz."""
    return (await client.get("/readyz")).status_code, (await client.get("/healthz")).status_code


async def test_a_member_is_not_ready_and_yet_healthy_while_the_stream_is_away() -> None:
    log = MemoryLog()
    async with at_work(log) as working, browsing(working) as client:
        await working.rests()
        assert await status_of(client) == (200, 200)
        working.stream.away = True
        await eventually(lambda: not working.member.connected)
        assert await status_of(client) == (503, 200)
        assert (await client.get("/readyz")).text == "the stream is away"
        working.stream.away = False
        await working.rests()
        assert await status_of(client) == (200, 200)


async def test_a_member_that_never_connected_is_not_ready_and_yet_healthy() -> None:
    log = MemoryLog()
    stream = MemoryStream(log)
    stream.open_errors.extend(StreamError("not yet") for _ in range(1000))
    async with at_work(log, stream=stream) as working, browsing(working) as client:
        await eventually(lambda: working.member.polled_at and len(stream.open_errors) < 999)
        assert await status_of(client) == (503, 200)
        stream.open_errors.clear()
        await working.rests()
        assert await status_of(client) == (200, 200)


async def test_a_member_without_partitions_stands_by_and_is_ready() -> None:
    log = MemoryLog()
    async with at_work(log, stream=MemoryStream(log, owns=())) as working:
        await eventually(lambda: working.member.connected)
        assert working.face.unready() == ""
        assert working.face.services() == []


async def test_partitions_that_are_being_restored_are_named() -> None:
    log = MemoryLog(partitions=12)
    stream = MemoryStream(log)
    stream.slow_take_over = asyncio.Event()
    async with at_work(log, stream=stream) as working:
        await eventually(lambda: working.member.connected)
        assert working.face.unready() == f"restoring partitions {', '.join(map(str, range(12)))}"
        stream.slow_take_over.set()
        await eventually(lambda: working.face.unready() == "")


async def test_a_loop_that_no_longer_polls_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_module, "STALLED_S", 0.2)
    log = MemoryLog()
    async with at_work(log) as working, browsing(working) as client:
        await working.rests()
        going_on = asyncio.Event()

        async def hang(_: float) -> list[object]:
            await going_on.wait()
            return []

        with monkeypatch.context() as patched:
            patched.setattr(working.stream, "poll", hang)
            await eventually(working.face.healthy)
            assert (await client.get("/healthz")).status_code == 503
        going_on.set()
        await eventually(lambda: working.face.healthy() == "")


async def test_a_service_is_shown_as_the_stream_has_it() -> None:
    log = MemoryLog()
    async with at_work(log) as working, browsing(working) as client:
        log.send(deployment())
        await eventually(lambda: ("d-1", "applied", True) in verdicts(log))
        await eventually(lambda: working.face.services()[0]["actual"] == 1)
        (summary,) = (await client.get("/api/v1/services")).json()
        assert (summary["service"], summary["desired"], summary["revision"], summary["phase"]) == ("web", 1, 1, "idle")
        whole = (await client.get("/api/v1/services/web")).json()
        assert [replica["slot"] for replica in whole["replicas"]] == [0]
        assert (await client.get("/api/v1/services/nobody")).status_code == 404


async def test_its_first_page_leads_to_the_others() -> None:
    async with at_work(MemoryLog()) as working, browsing(working) as client:
        await working.rests()
        page = await client.get("/")
        assert page.headers["content-type"].startswith("text/html")
        links = re.findall(r'href="([^"]*)"', page.text)
        assert [(await client.get(f"/{link}")).status_code for link in links] == [200] * 4


async def test_an_address_that_is_taken_is_an_error_and_no_exit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        async with at_work(MemoryLog()) as working:
            server = HttpServer(HttpSettings("127.0.0.1", port), working.face)
            with pytest.raises(TargetError, match=rf"^http.listen: 127.0.0.1:{port} is taken. Choose another port"):
                await server.start()


async def test_every_sample_that_was_read_is_counted_once() -> None:
    log = MemoryLog()
    async with at_work(log) as working, browsing(working) as client:
        await working.rests()
        log.put(Topic.METRICS, 0, b"web", b"junk")
        log.send(deployment())
        await eventually(lambda: ("d-1", "applied", True) in verdicts(log))
        await eventually(lambda: working.member.counters.dead_letters)
        page = (await client.get("/metrics")).text
        assert "dead_letter" in page
        assert dict(working.member.counters.dead_letters) == {"not_json": 1}


async def test_what_the_router_has_carried_is_on_the_metrics_page() -> None:
    router = RecordingRouter(carried={"web": Counts(requests=7, held=2, refused=1, failed=3, in_flight=4)})
    async with at_work(MemoryLog(), router=router) as working, browsing(working) as client:
        working.member.traffic.failures = 5
        page = (await client.get("/metrics")).text
    for line in (
        'autoscaler_router_requests_total{service="web"} 7.0',
        'autoscaler_router_held_total{service="web"} 2.0',
        'autoscaler_router_refused_total{service="web"} 1.0',
        'autoscaler_router_failed_total{service="web"} 3.0',
        'autoscaler_router_in_flight{service="web"} 4.0',
        "autoscaler_router_late_total 5.0",
    ):
        assert line in page


def gauges_of(working: AtWork) -> dict[str, dict[tuple[str, ...], float]]:
    """What the metrics page has of budgets: family -> labels -> value."""
    families = [one for one in working.face.collector().collect() if one.name.startswith("autoscaler_budget_")]
    return {
        one.name.removeprefix("autoscaler_budget_"): {tuple(s.labels.values()): s.value for s in one.samples}
        for one in families
    }


async def test_budgets_are_gauges_in_plain_units() -> None:
    limits = (("replicas", 2), ("cpu", 1500), ("memory", 1 << 30), ("cost_per_hour", 5_500_000))
    budget = Budget("shop", frozenset({"web"}), limits, Prices(replica=500_000))  # type: ignore[arg-type]
    log = MemoryLog()
    async with at_work(log, budgets=[budget]) as working:
        await working.rests()
        log.send(deployment())
        await eventually(lambda: working.state().revision == 1)
        log.send(command("web", "scale", "c-1", replicas=3))
        await eventually(lambda: working.state().asking == 3)
        shown = gauges_of(working)
        assert shown["limit"] == {
            ("shop", "replicas"): 2, ("shop", "cpu"): 1.5, ("shop", "memory"): 1 << 30, ("shop", "cost_per_hour"): 5.5,
        }  # fmt: skip
        assert shown["used"]["shop", "replicas"] == 2
        assert (shown["used"]["shop", "cost_per_hour"], shown["asked"]["shop", "cost_per_hour"]) == (1, 1.5)
        assert shown["asked"]["shop", "replicas"] == 3
        assert shown["short_replicas"] == {("shop",): 1}


async def test_budgets_beyond_the_bound_are_one_and_limits_alone_are_shown_before_others_are_heard() -> None:
    budgets = [Budget(f"b{n}", frozenset({"web"}), (("replicas", 2),)) for n in range(BUDGET_LABELS_MAX + 3)]
    log = MemoryLog()
    async with at_work(log, budgets=budgets) as working:
        await working.rests()
        await eventually(lambda: all(book.known for book in working.member.budgets.books.values()))
        shown = gauges_of(working)
        assert len(shown["limit"]) == len(shown["short_replicas"]) == BUDGET_LABELS_MAX + 1
        assert shown["limit"]["other", "replicas"] == 6
        for book in working.member.budgets.books.values():
            book.known = False
        shown = gauges_of(working)
        assert len(shown["limit"]) == BUDGET_LABELS_MAX + 1
        assert shown["used"] == shown["asked"] == shown["short_replicas"] == {}


async def test_alerts_of_the_chart_ask_for_metrics_that_are_there() -> None:
    rules = yaml.safe_load((Path(__file__).parents[2] / "helm" / "autoscaler" / "rules" / "alerts.yaml").read_text())
    asked = {name for rule in rules["groups"][0]["rules"] for name in re.findall(r"autoscaler_[a-z_]+", rule["expr"])}
    async with at_work(MemoryLog()) as working:
        await working.rests()
        there = {family.name for family in working.face.collector().collect()}
    assert asked
    assert {name.removesuffix("_bucket") for name in asked} <= there
