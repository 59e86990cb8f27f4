"""What one host of the pool remembers between calls: stops under way, its circuit; and which containers are ours."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from autoscaler.adapters.docker import DockerTarget, containers
from autoscaler.adapters.docker.failures import CallFailed, Failure
from autoscaler.adapters.docker.host import LOOK_THREADS, Deadlines, Host
from autoscaler.adapters.docker.stopping import Stopping
from autoscaler.configuration.settings import HostSettings, TargetSettings
from autoscaler.core.actions import StopReplica
from autoscaler.core.world import ObservedReplica
from autoscaler.engine.clock import SystemClock
from autoscaler.engine.observer import Observer
from autoscaler.engine.supervision import Supervision
from autoscaler.ports.target import HostListing, ListsByHost
from tests.contract.arena_docker import DockerArena
from tests.contract.replicas import Asks, Listener, eventually
from tests.parts import images

pytestmark = pytest.mark.timeout(90)

NOWHERE = HostSettings("h1", "tcp://127.0.0.1:9", "127.0.0.1", "127.0.0.1")
RUNNING = ObservedReplica("id0", "shop.web.s0.r1.1", "web", 0, 1, 1, "h1", "running", started_at=1.0)


@pytest_asyncio.fixture
async def host() -> AsyncIterator[Host]:
    """A host whose calls need no engine, as long as they do not ask it."""
    opened = Host(NOWHERE, "shop", Deadlines(list_s=0.2), lambda _: None)
    opened._version = "1.41"
    yield opened
    opened.close()


async def test_a_listing_that_found_no_thread_says_nothing_of_the_engine(host: Host) -> None:
    release = threading.Event()
    try:
        busy = [asyncio.create_task(host.ask("resolve", lambda _: release.wait(20), 20)) for _ in range(LOOK_THREADS)]
        await asyncio.sleep(0.1)
        listing = await host.list_replicas()
        assert "not begun" in listing.error
        assert listing.host.known
        assert not host.circuit.is_open
    finally:
        release.set()
    await asyncio.gather(*busy)


async def test_a_listing_without_an_answer_opens_the_circuit_at_once(host: Host) -> None:
    listing = await host.list_replicas()
    assert listing.error
    assert not listing.host.known
    assert host.circuit.is_open


class LosingTarget(DockerTarget):
    """Every stop is lost on its way; the replica runs on."""

    def __init__(self) -> None:
        deadlines = Deadlines(stop_s=0.2)
        super().__init__(TargetSettings("edge", "docker", hosts=(NOWHERE,)), "shop", (), deadlines)
        self.stops: list[str] = []
        self.host = self._hosts["h1"]
        self.answer: Failure | None = Failure("unknown", "no answer", "host")
        self.host.ask = self._ask  # type: ignore[method-assign,assignment]

    async def _ask(self, verb: str, work: Callable[..., Any], deadline_s: float) -> Any:
        if verb == "list":
            return [replace(RUNNING, stopping=RUNNING.id in self.host.stopping)], frozenset(), None, []
        self.stops.append(verb)
        if self.answer is not None:
            raise CallFailed(self.answer)
        return None

    async def shown(self) -> ObservedReplica:
        listing: HostListing = await self.list_host("h1")
        return listing.replicas[0]


def a_stop(grace_s: float) -> StopReplica:
    return StopReplica("web", "h1", RUNNING.id, RUNNING.name, "TERM", grace_s, 0.0)


async def test_a_stop_that_was_lost_is_over_when_it_must_have_taken_effect_and_that_is_told() -> None:
    target = LosingTarget()
    async with Listener(target) as listener:
        assert (await target.stop(a_stop(0.3))).result == "unknown"
        assert (await target.shown()).stopping
        await listener.until(lambda change: change.host == "h1" and change.replica is None)
        assert not (await target.shown()).stopping


@pytest.mark.parametrize("result", ["unavailable", "refused", "conflict"])
async def test_a_stop_that_surely_failed_is_over_at_once(result: Any) -> None:
    target = LosingTarget()
    target.answer = Failure(result, "no")
    assert (await target.stop(a_stop(60.0))).result == result
    assert not (await target.shown()).stopping


def test_stops_are_forgotten_with_what_they_stopped() -> None:
    stopping = Stopping()
    for name, for_s in (("a", 60.0), ("b", 60.0), ("c", 0.0)):
        stopping.begin(name, for_s)
    assert [name in stopping for name in "abc"] == [True, True, False]
    stopping.keep({"a", "c"})
    assert [name in stopping for name in "abc"] == [True, False, False]
    assert len(stopping._until) == 1
    stopping.end("a")
    assert "a" not in stopping


def inspected(**labels: str) -> dict[str, Any]:
    given = {"cluster": "shop", "service": "web", "slot": "0", "revision": "1", "attempt": "1"}
    given |= {"generation": "0", "token": "0"} | labels
    return {
        "Id": "id0",
        "Name": "/shop.web.s0.r1.1",
        "Config": {"Labels": {f"io.eventscaler.{name}": value for name, value in given.items()}},
        "State": {"Status": "running", "ExitCode": 0, "StartedAt": "2024-01-01T00:00:00Z"},
        "NetworkSettings": {"Ports": {}},
        "HostConfig": {"NanoCpus": 0, "Memory": 0, "RestartPolicy": {"Name": "no"}, "NetworkMode": "default"},
    }


def test_labels_of_a_replica_make_a_replica() -> None:
    replica = containers.observe(inspected(slot="7", cpu="100"), NOWHERE, stopping=False)
    assert replica is not None
    assert (replica.service, replica.slot, replica.cpu_millis, replica.memory_bytes) == ("web", 7, 100, 0)
    assert replica.drift == "it is called shop.web.s0.r1.1, its cpu limit is another"


def test_a_container_as_it_was_made_has_no_drift() -> None:
    replica = containers.observe(inspected(), NOWHERE, stopping=False)
    assert replica is not None
    assert replica.drift == ""


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("slot", "-1"),
        ("slot", "x"),
        ("slot", ""),
        ("slot", "\u0661"),
        ("revision", "0"),
        ("revision", str(2**31)),
        ("revision", "9" * 5000),
        ("attempt", "0"),
        ("attempt", str(2**63)),
        ("generation", "-1"),
        ("token", "1.5"),
        ("cpu", "-5"),
        ("memory", "much"),
        ("service", ""),
        ("service", "Web"),
        ("service", "a/b"),
        ("service", "web\n"),
        ("service", "a" * 64),
    ],
)
def test_labels_that_no_replica_can_have_make_none(label: str, value: str) -> None:
    assert containers.observe(inspected(**{label: value}), NOWHERE, stopping=False) is None


async def test_one_host_is_listed_as_among_all(arena: DockerArena) -> None:
    target = arena.target()
    await target.open()
    try:
        replica = await Asks(target, arena.cluster, arena.host).run(arena.serves())
        assert isinstance(target, ListsByHost)
        assert list(target.host_names) == [arena.host]
        listing = await target.list_host(arena.host)
        assert [listed.id for listed in listing.replicas] == [replica.id]
    finally:
        await target.close()


async def test_what_the_engine_restarts_by_hand_is_seen_to_run_again(arena: DockerArena) -> None:
    target = arena.target()
    crashes: list[BaseException] = []
    supervision = Supervision()
    supervision.crashed = crashes.append
    observer = Observer({"edge": target}, SystemClock(), lambda _: None, lambda *_: "own", supervision)
    await observer.open()
    try:
        began = await Asks(target, arena.cluster, arena.host).run(arena.serves())

        async def shown() -> ObservedReplica | None:
            return next(iter(observer.replicas("web")), None)

        await eventually(shown, lambda replica: replica is not None and replica.healthy is True)
        with images.engine(arena.url) as client:
            await asyncio.to_thread(client.restart, began.id, timeout=1)
        again = await eventually(
            shown, lambda r: r is not None and r.condition == "running" and r.started_at != began.started_at
        )
        assert again is not None
        assert again.healthy
    finally:
        await observer.close()
    assert crashes == []


async def test_a_stranger_with_our_label_is_neither_listed_nor_measured(arena: DockerArena) -> None:
    target = arena.target()
    await target.open()
    labels = {f"io.eventscaler.{name}": "0" for name in containers.NUMBERS}
    labels |= {"io.eventscaler.cluster": arena.cluster, "io.eventscaler.service": "web"}
    try:
        asks = Asks(target, arena.cluster, arena.host)
        mine = await asks.run(arena.serves())
        with images.engine(arena.url) as client:
            made = client.create_container("t/httpd:1", labels=labels)
            client.start(made["Id"])
        assert [replica.id for replica in await asks.replicas()] == [mine.id]
        assert [usage.name for usage in await target.usage()] == [mine.name]
    finally:
        await target.close()
