"""The prober against real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from autoscaler.core.revision import Health
from autoscaler.core.world import ObservedReplica
from autoscaler.engine.prober import Prober, ask

pytestmark = pytest.mark.timeout(60)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SICK = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
HTTP = Health(http="/healthz", every_s=0.1, timeout_s=0.3, failures=3, start_s=0.0)


@dataclass
class Replica:
    """A server whose answer can be changed; counts what it is asked."""

    answer: bytes | None = OK
    asked: int = 0
    requests: list[bytes] = field(default_factory=list)
    address: str = ""
    connections: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        self.asked += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionResetError):
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            if self.answer is None:
                await reader.read()
            else:
                writer.write(self.answer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.connections.discard(task)


@contextlib.asynccontextmanager
async def serving(replica: Replica, port: int = 0) -> AsyncIterator[Replica]:
    server = await asyncio.start_server(replica.serve, "127.0.0.1", port)
    replica.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield replica
    finally:
        server.close()
        if replica.connections:
            await asyncio.wait(replica.connections, timeout=2)


@pytest.fixture
async def free_address() -> str:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await server.wait_closed()
    return address


class Reports:
    """Every turn of health, with the time of its arrival."""

    def __init__(self) -> None:
        self.turns: list[tuple[str, bool | None]] = []
        self.since: list[float | None] = []
        self.at: list[float] = []

    def __call__(self, replica_id: str, healthy: bool | None, since: float | None) -> None:  # noqa: FBT001
        self.turns.append((replica_id, healthy))
        self.since.append(since)
        self.at.append(time.time())


@pytest.fixture
async def reports() -> Reports:
    return Reports()


@pytest.fixture
async def prober(reports: Reports) -> AsyncIterator[Prober]:
    opened = Prober(reports, time.time)
    yield opened
    await opened.close()


def observed(replica_id: str = "a", started_ago_s: float = 0.0) -> ObservedReplica:
    return ObservedReplica(
        replica_id, replica_id, "web", 0, 1, 1, "local", "running", started_at=time.time() - started_ago_s
    )


async def eventually(holds: Callable[[], bool], shown: Callable[[], object], within_s: float = 5.0) -> None:
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, shown()
        await asyncio.sleep(0.005)


async def test_a_healthy_replica_is_reported_at_once(prober: Prober, reports: Reports) -> None:
    async with serving(Replica()) as replica:
        began = time.time()
        prober.watch(observed(), HTTP, replica.address)
        await eventually(lambda: bool(reports.turns), lambda: prober)
    assert reports.turns == [("a", True)]
    assert reports.at[0] - began < 0.2
    assert reports.since[0] is not None
    assert began <= reports.since[0] <= reports.at[0]
    assert replica.requests[0].startswith(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:")


async def test_a_replica_that_comes_up_late_is_seen_soon_although_every_is_long(
    prober: Prober, reports: Reports, free_address: str
) -> None:
    health = Health(http="/", every_s=10.0, timeout_s=1.0, start_s=30.0)
    prober.watch(observed(), health, free_address)
    await asyncio.sleep(0.5)
    assert "connection refused" in prober.note("a")
    async with serving(Replica(), int(free_address.rpartition(":")[2])):
        up_at = time.time()
        await eventually(lambda: bool(reports.turns), lambda: prober.note("a"))
    assert reports.at[0] - up_at < 0.4
    assert prober.note("a") == ""


async def test_failures_in_a_row_make_it_unhealthy_and_a_success_healthy_again(
    prober: Prober, reports: Reports
) -> None:
    async with serving(Replica()) as replica:
        prober.watch(observed(), HTTP, replica.address)
        await eventually(lambda: reports.turns == [("a", True)], lambda: reports.turns)
        replica.answer = SICK
        turned_at = time.time()
        await eventually(lambda: reports.turns[1:] == [("a", False)], lambda: reports.turns)
        assert reports.at[1] - turned_at > 0.15
        assert prober.note("a") == "answered HTTP status 503"
        replica.answer = OK
        await eventually(lambda: reports.turns[2:] == [("a", True)], lambda: reports.turns)
    assert reports.since[2] != reports.since[0]


async def test_fewer_failures_than_allowed_change_nothing(prober: Prober, reports: Reports) -> None:
    async with serving(Replica()) as replica:
        prober.watch(observed(), HTTP, replica.address)
        await eventually(lambda: bool(reports.turns), lambda: reports.turns)
        for _ in range(3):
            replica.answer, asked = SICK, replica.asked
            await eventually(lambda: replica.asked >= asked + 1, lambda: replica.asked)  # noqa: B023
            replica.answer, asked = OK, replica.asked
            await eventually(lambda: replica.asked >= asked + 2, lambda: replica.asked)  # noqa: B023
    assert reports.turns == [("a", True)]


async def test_failures_do_not_count_during_the_start_period(prober: Prober, reports: Reports) -> None:
    health = Health(http="/", every_s=0.05, timeout_s=0.2, failures=2, start_s=0.6)
    async with serving(Replica(answer=SICK)) as replica:
        began = time.time()
        prober.watch(observed(), health, replica.address)
        await eventually(lambda: bool(reports.turns), lambda: reports.turns)
    assert reports.turns == [("a", False)]
    assert reports.at[0] - began > 0.6
    assert replica.asked > 4


async def test_quick_first_probes_do_not_use_up_the_failures_allowed(prober: Prober, reports: Reports) -> None:
    health = Health(http="/", every_s=0.5, timeout_s=0.2, failures=3, start_s=0.0)
    async with serving(Replica(answer=SICK)) as replica:
        began = time.time()
        prober.watch(observed(), health, replica.address)
        await eventually(lambda: bool(reports.turns), lambda: reports.turns)
    assert reports.at[0] - began > 0.85
    assert replica.asked >= 5


async def test_the_texts_tell_a_refusal_a_silence_a_status_and_a_stranger_apart(free_address: str) -> None:
    health = Health(http="/", timeout_s=0.2)
    assert await ask(health, free_address) == f"connection refused at {free_address}"
    cases = {None: "no answer within 0.2 s", SICK: "HTTP status 503", b"220 smtp\r\n\r\n": "not in HTTP", b"": "closed"}
    for answer, text in cases.items():
        async with serving(Replica(answer=answer)) as replica:
            assert text in await ask(health, replica.address)


@pytest.mark.parametrize("status", [200, 204, 301, 399])
async def test_statuses_from_200_to_399_are_healthy(status: int) -> None:
    answer = f"HTTP/1.1 {status} x\r\n\r\n".encode()
    async with serving(Replica(answer=b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer)) as replica:
        assert await ask(Health(http="/"), replica.address) == ""


async def test_tcp_asks_for_a_connection_only(free_address: str) -> None:
    health = Health(tcp=True, timeout_s=0.2)
    assert "refused" in await ask(health, free_address)
    async with serving(Replica(answer=None)) as replica:
        assert await ask(health, replica.address) == ""


async def test_a_forgotten_replica_is_neither_asked_nor_reported(prober: Prober, reports: Reports) -> None:
    async with serving(Replica()) as replica:
        prober.watch(observed(), HTTP, replica.address)
        await eventually(lambda: replica.asked > 1, lambda: replica.asked)
        prober.forget("a")
        replica.answer = SICK
        await asyncio.sleep(0.05)
        asked = replica.asked
        await asyncio.sleep(0.5)
        assert replica.asked == asked
    assert reports.turns == [("a", True)]
    assert prober.watched == 0


async def test_a_probe_that_has_not_begun_ends_with_the_others() -> None:
    """Cancelled before its first step, it has no step in which to say that it ended."""
    prober = Prober(lambda *_: None, time.time)
    prober.watch(observed("one"), Health(tcp=True), "127.0.0.1:9")
    prober._launch()
    assert prober.active == 1
    await prober.close()
    assert prober.active == 0


async def test_silent_replicas_hold_up_no_more_than_their_slots(reports: Reports) -> None:
    prober = Prober(reports, time.time, concurrency=4)
    health = Health(http="/", every_s=0.2, timeout_s=0.2, failures=3, start_s=10.0)
    async with serving(Replica(answer=None)) as silent, serving(Replica()) as good:
        for n in range(8):
            prober.watch(observed(f"silent{n}"), health, silent.address)
        prober.watch(observed("good"), health, good.address)
        assert prober.watched == 9
        await eventually(lambda: reports.turns == [("good", True)], lambda: (reports.turns, prober.active))
        assert prober.active <= 4
    await prober.close()
    assert prober.active == 0


async def measured(work: Awaitable[None]) -> float:
    began = time.process_time()
    await work
    return time.process_time() - began


async def test_a_probe_costs_less_than_a_millisecond_of_processor_time(prober: Prober, reports: Reports) -> None:
    async with serving(Replica()) as replica:
        for n in range(300):
            prober.watch(observed(str(n)), Health(http="/", every_s=30.0), replica.address)
        used_s = await measured(eventually(lambda: len(reports.turns) == 300, lambda: len(reports.turns), 20.0))
    # The replica's side runs in this process too, and so does the waiting.
    assert used_s / 300 < 0.003


async def test_what_cannot_be_asked_is_refused_at_once(prober: Prober) -> None:
    with pytest.raises(ValueError, match="not asked over the network"):
        prober.watch(observed(), Health(), "127.0.0.1:80")
    with pytest.raises(ValueError, match="host:port"):
        prober.watch(observed(), HTTP, "nonsense")


async def test_nothing_is_kept_of_replicas_that_are_forgotten_before_they_are_due(
    prober: Prober, reports: Reports
) -> None:
    rarely = Health(http="/healthz", every_s=3600.0)
    async with serving(Replica()) as replica:
        prober.watch(observed("stays"), Health(http="/healthz", every_s=60.0), replica.address)
        names = [f"goes.{n}" for n in range(200)]
        for name in names:
            prober.watch(observed(name), rarely, replica.address)
        await eventually(lambda: len(reports.turns) == 201 and not prober.active, lambda: len(reports.turns))
        for name in names:
            prober.forget(name)
    assert prober.watched == 1
    assert len(prober._due) < 100


async def test_a_hosts_clock_that_runs_ahead_lengthens_no_start_period(
    prober: Prober, reports: Reports, free_address: str
) -> None:
    prompt = Health(tcp=True, every_s=0.05, failures=2, start_s=0.1)
    prober.watch(observed(started_ago_s=-3600.0), prompt, free_address)
    await eventually(lambda: reports.turns == [("a", False)], lambda: reports.turns)
