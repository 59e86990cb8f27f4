"""The Prometheus source against a real server, and against a stub for what a real one seldom does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from autoscaler.adapters.prometheus import PrometheusSource
from autoscaler.configuration.settings import PrometheusSettings
from autoscaler.errors import TargetError
from autoscaler.ports.metrics import PolledSample

pytestmark = pytest.mark.timeout(90)
WEB = frozenset({"web"})


@contextlib.contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(ConnectionError):
                answer(self)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def replying(body: bytes, status: int = 200, location: str = "") -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", "text/plain")
        handler.send_header("Retry-After", "1")
        if location:
            handler.send_header("Location", location)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def vector(*values: str) -> bytes:
    result = [{"metric": {"n": str(n)}, "value": [1700000000.5, value]} for n, value in enumerate(values)]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


def a_source(url: str, timeout_s: float = 1.0, **queries: str) -> PrometheusSource:
    return PrometheusSource(PrometheusSettings(url, 0.5, {"web": queries or {"load": "sum(x)"}}, timeout_s))


async def polled(source: PrometheusSource) -> dict[str, PolledSample]:
    try:
        return {sample.name: sample for sample in await source.poll(WEB)}
    finally:
        await source.close()


async def test_values_of_a_real_server_come_with_their_times(start_prometheus: Callable[..., Any]) -> None:
    exposed = b'orders_total 5\nbacklog 7.5\nworkers 1\nworkers{n="2"} 1\nbroken NaN\n'
    with answering(replying(exposed)) as exporter:
        server = start_prometheus(targets=[exporter.removeprefix("http://")])
        queries = {
            "backlog": "backlog",
            "workers": "sum(workers)",
            "half": "scalar(sum(backlog)) / 2",
            "absent": "no_such_series",
            "several": "workers",
            "nonsense": "sum(",
            "not_a_number": "broken",
            "divided_by_zero": "sum(workers) / 0",
        }
        source = a_source(server.url, 2.0, **queries)
        until = time.monotonic() + 30
        while "backlog" not in {sample.name for sample in await source.poll(WEB)}:
            assert time.monotonic() < until, source.problems
            await asyncio.sleep(0.2)
        await asyncio.sleep(1.5)
        began = time.time()
        samples = await polled(source)
    assert {name: sample.value for name, sample in samples.items()} == {"backlog": 7.5, "workers": 2.0, "half": 3.75}
    assert began - 2.5 < samples["backlog"].at < began  # of the scrape, a second at most before the question
    assert abs(samples["workers"].at - time.time()) < 2.0
    assert samples["workers"].service == "web"
    problems = {metric: text for (_, metric), text in source.problems.items()}
    assert problems.keys() == {"absent", "several", "nonsense", "not_a_number", "divided_by_zero"}
    assert problems["absent"] == "no series"
    assert problems["several"].startswith("2 series")
    assert problems["nonsense"].startswith("refused: HTTP Status Code 400")
    assert "nan" in problems["not_a_number"]
    assert "inf" in problems["divided_by_zero"]


async def test_an_old_value_keeps_the_time_of_its_scrape(start_prometheus: Callable[..., Any]) -> None:
    with answering(replying(b"backlog 7\n")) as exporter:
        server = start_prometheus(targets=[exporter.removeprefix("http://")])
        source = a_source(server.url, 2.0, backlog="backlog", counted="count_over_time(backlog[5m])")
        until = time.monotonic() + 30
        while not await source.poll(WEB):
            assert time.monotonic() < until, source.problems
            await asyncio.sleep(0.2)
        before = (await source.poll(WEB))[0]
        await asyncio.sleep(2.5)
        after = await polled(source)
    assert after["backlog"].at > before.at
    assert after["backlog"].id != before.id
    assert after["backlog"].at < after["counted"].at


async def test_the_same_query_and_time_have_the_same_id() -> None:
    with answering(replying(vector("3"))) as url:
        first, second = await polled(a_source(url)), await polled(a_source(url))
        other = await polled(a_source(url, load="sum(y)"))
    assert first["load"] == second["load"] == PolledSample("web", "load", 3.0, 1700000000.5, first["load"].id)
    assert other["load"].id != first["load"].id


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
async def test_what_is_no_finite_number_yields_no_sample(value: str) -> None:
    with answering(replying(vector(value))) as url:
        source = a_source(url)
        assert await polled(source) == {}
        assert "not a finite number" in source.problems["web", "load"]


async def test_services_that_are_not_asked_for_are_not_polled() -> None:
    with answering(replying(vector("3"))) as url:
        source = a_source(url)
        assert source.services() == WEB
        assert await source.poll(frozenset({"other"})) == ()
        await source.close()


async def test_a_redirect_is_not_followed_and_says_what_to_do() -> None:
    asked: list[str] = []

    def elsewhere(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        replying(vector("666"))(handler)

    with (
        answering(elsewhere) as other,
        answering(replying(b"", 302, other)) as url,
        pytest.raises(TargetError, match="redirects, which is not followed") as caught,
    ):
        await polled(a_source(url))
    assert caught.value.outcome == "unavailable"
    assert asked == []


async def test_a_server_error_is_unavailable_and_not_asked_again_at_once() -> None:
    asked: list[str] = []

    def failing(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        replying(b"{}", 503)(handler)

    with answering(failing) as url, pytest.raises(TargetError, match="503") as caught:
        await polled(a_source(url))
    assert caught.value.outcome == "unavailable"
    assert len(asked) == 1


def silent(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(1.5)


def dripping(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(20):
        handler.wfile.write(b" ")
        time.sleep(0.1)


@pytest.mark.parametrize("answer", [pytest.param(silent, id="silent"), pytest.param(dripping, id="a byte at a time")])
async def test_a_slow_server_is_unknown_after_the_timeout(answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
    with answering(answer) as url:
        began = time.monotonic()
        with pytest.raises(TargetError, match=r"no answer within 0\.3 s") as caught:
            await polled(a_source(url, 0.3))
        assert time.monotonic() - began < 1.2
    assert caught.value.outcome == "unknown"


async def test_one_slow_query_neither_fails_nor_starves_the_others() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if "slow" in handler.path:
            time.sleep(0.8)
        else:
            replying(vector("1"))(handler)

    queries = {"a": "sum(a)", "b": "sum(slow)", "c": "sum(c)", "d": "sum(d)"}
    with answering(answer) as url:
        source = a_source(url, 0.2, **queries)
        assert {sample.name for sample in await source.poll(WEB)} == {"a", "c", "d"}
        await source.close()


async def test_an_answer_without_end_is_cut_off() -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        while True:
            handler.wfile.write(b" " * 1_000_000)

    with answering(endless) as url, pytest.raises(TargetError, match="AnswerUnfit"):
        await polled(a_source(url, 5.0))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": {}}', b'{"data": {"result": [{"value": 3}]}}'])
async def test_an_answer_that_is_not_prometheus_is_unavailable(body: bytes) -> None:
    with answering(replying(body)) as url, pytest.raises(TargetError, match="otherwise than Prometheus") as caught:
        await polled(a_source(url))
    assert caught.value.outcome == "unavailable"


async def test_a_dead_server_is_unavailable_and_no_password_is_told() -> None:
    with answering(replying(b"")) as url:
        pass
    source = a_source(url.replace("http://", "http://user:secret@"))
    with pytest.raises(TargetError, match="cannot be asked") as caught:
        await polled(source)
    assert caught.value.outcome == "unavailable"
    assert "secret" not in str(caught.value) + source.name


async def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with answering(replying(vector("3"))) as url:
        assert (await polled(a_source(url)))["load"].value == 3.0
