"""Which replicas get requests: wanted, running, healthy, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core.settings import Route
from autoscaler.core.state import ServiceState
from autoscaler.core.world import ObservedReplica
from autoscaler.engine.traffic import Traffic
from autoscaler.errors import TargetError
from autoscaler.ports.router import Backend
from tests.core.builders import a_service, some_settings
from tests.engine.instances import RecordingRouter
from tests.engine.scripted_target import ScriptedTarget, Watched, observing, seen, settle

pytestmark = pytest.mark.timeout(30)


def a_replica(slot: int, **changes: Any) -> ObservedReplica:
    """A running replica of `a_service`, at an address of its own."""
    made = seen(f"c{slot}", address={"http": f"10.0.0.{slot}:80", "admin": f"10.0.0.{slot}:81"})
    return replace(made, slot=slot, attempt=slot + 1, **changes)


@asynccontextmanager
async def routed(*replicas: ObservedReplica, port: str = "http") -> AsyncIterator[tuple[Traffic, Watched, Any]]:
    """Traffic to what is shown."""
    watched = observing(ScriptedTarget(replicas={replica.id: replica for replica in replicas}))
    router = RecordingRouter()
    services = {"web": some_settings(route=Route("127.0.0.1:0", port)), "api": some_settings()}
    await watched.observer.open()
    try:
        yield Traffic(router, services, watched.observer, watched.supervision), watched, router
    finally:
        await watched.observer.close()


async def names_told(traffic: Traffic, router: RecordingRouter, state: ServiceState) -> list[str]:
    traffic.refresh("web", state)
    await settle()
    return [backend.name for backend in router.told[-1][1]] if router.told else []


async def test_wanted_healthy_replicas_get_requests_and_no_other() -> None:
    unwanted, ended = a_replica(2), a_replica(1, condition="exited")
    sick = a_replica(3, own_check=True, healthy=False)
    async with routed(a_replica(0), ended, unwanted, sick) as (traffic, _, router):
        state = a_service(4)
        wanted = tuple(replica for replica in state.replicas if replica.slot != 2)
        assert await names_told(traffic, router, replace(state, replicas=wanted)) == ["shop.web.c0"]


async def test_a_replica_loses_its_requests_as_soon_as_it_is_no_longer_wanted() -> None:
    async with routed(a_replica(0), a_replica(1)) as (traffic, _, router):
        assert await names_told(traffic, router, a_service(2)) == ["shop.web.c0", "shop.web.c1"]
        assert await names_told(traffic, router, a_service(1)) == ["shop.web.c0"]
        assert await names_told(traffic, router, a_service(0)) == []
        assert len(router.told) == 3


async def test_what_did_not_change_is_not_told_again() -> None:
    async with routed(a_replica(0)) as (traffic, _, router):
        for _ in range(3):
            await names_told(traffic, router, a_service(1))
        assert len(router.told) == 1


@pytest.mark.parametrize(("port", "address"), [("admin", "10.0.0.0:81"), ("", "10.0.0.0:80"), ("gone", "10.0.0.0:80")])
async def test_the_routes_port_is_the_address(port: str, address: str) -> None:
    async with routed(a_replica(0), port=port) as (traffic, _, router):
        await names_told(traffic, router, a_service(1))
        assert router.told == [("web", [Backend("shop.web.c0", address)])]


async def test_a_service_without_a_route_or_without_a_state_is_nobodys_business() -> None:
    async with routed(a_replica(0)) as (traffic, _, router):
        traffic.refresh("api", a_service(1))
        traffic.refresh("nobody", a_service(1))
        traffic.refresh("web", None)
        await settle()
        assert router.told == []


async def test_the_last_that_is_told_is_the_newest_however_slow_the_router_is() -> None:
    async with routed(a_replica(0), a_replica(1)) as (traffic, _, router):
        router.slow = slow = asyncio.Event()
        traffic.refresh("web", a_service(2))
        await settle()
        traffic.refresh("web", a_service(1))
        await settle()
        slow.set()
        await settle()
        assert [backend.name for backend in router.told[-1][1]] == ["shop.web.c0"]


async def test_one_that_was_available_keeps_its_requests_until_it_is_known_to_be_sick() -> None:
    unasked, never = a_replica(0, own_check=True, healthy=None), a_replica(1, own_check=True, healthy=None)
    state = a_service(2)
    state = replace(state, replicas=(state.replicas[0], replace(state.replicas[1], available_at=None)))
    async with routed(unasked, never) as (traffic, _, router):
        assert await names_told(traffic, router, state) == ["shop.web.c0"]


async def test_what_the_core_says_of_revisions_becomes_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoscaler.engine.traffic.shares", lambda state, settings: ((1, 90), (2, 10)))
    old, new, late = a_replica(0), replace(a_replica(1), revision=2), replace(a_replica(2), revision=2)
    state = a_service(3)
    first, second, third = state.replicas
    canaries = (replace(second, revision=2), replace(third, revision=2, available_at=None))
    async with routed(old, new, late) as (traffic, _, router):
        await names_told(traffic, router, replace(state, replicas=(first, *canaries)))
        told = {backend.name: backend.weight for backend in router.told[-1][1]}
        assert told["shop.web.c2"] == 0, "healthy, and not available yet"
        assert told["shop.web.c0"] == 9 * told["shop.web.c1"] > 0


async def test_a_router_that_is_away_is_told_no_more_than_once_of_each_change_and_stops_nobody() -> None:
    async with routed(a_replica(0), a_replica(1)) as (traffic, watched, router):
        router.failing = TargetError("away", "unavailable")
        await names_told(traffic, router, a_service(2))
        await names_told(traffic, router, a_service(1))
        assert (len(router.told), traffic.failures, watched.crashes) == (2, 2, [])


async def test_draining_waits_until_the_router_has_been_told() -> None:
    async with routed(a_replica(0), a_replica(1)) as (traffic, _, router):
        router.slow = slow = asyncio.Event()
        traffic.refresh("web", a_service(1))
        await settle()
        draining = asyncio.create_task(traffic.drained("web", "shop.web.c1", 5.0))
        await settle()
        assert router.drains == []
        slow.set()
        assert await draining
        assert router.drains == ["shop.web.c1"]


async def test_another_members_service_is_forgotten_and_told_anew_when_it_comes_back() -> None:
    async with routed(a_replica(0)) as (traffic, _, router):
        await names_told(traffic, router, a_service(1))
        traffic.forget("web")
        traffic.forget("api")
        await settle()
        assert router.forgotten == ["web"]
        await names_told(traffic, router, a_service(1))
        assert len(router.told) == 2
