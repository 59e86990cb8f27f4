"""What owners know of each other: what holds room on the hosts, and who waits there for whom to go."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core.world import HostView, ObservedReplica, Precedence
from autoscaler.engine.neighbours_seen import NeighboursSeen
from autoscaler.engine.observer import ROOM_TOLD_AFTER_S
from tests.engine.scripted_target import ScriptedTarget, Watched, ended, observing

pytestmark = pytest.mark.timeout(30)

PRECEDENCE = {"web": Precedence(80, 0), "job": Precedence(20, 1)}


def a_replica(service: str, slot: int, **changes: Any) -> ObservedReplica:
    given: dict[str, Any] = {"condition": "running", "cpu_millis": 500, "started_at": 100.0} | changes
    return ObservedReplica(
        f"{service}{slot}", f"shop.{service}.s{slot}.r1.1", service, slot, 1, 1, given.pop("host", "h1"), **given
    )


def waiting(*names: str) -> ObservedReplica:
    return a_replica("web", 0, condition="created", started_at=None, displaces=names)


def test_tenants_are_what_holds_room_on_a_host_whosever_it_is() -> None:
    seen = NeighboursSeen(PRECEDENCE)
    job, web, there = a_replica("job", 0), a_replica("web", 1), a_replica("job", 1, host="h2")
    for replica in (job, web, there):
        seen.change("edge", None, replica)
    neighbours = seen.of("edge")
    assert neighbours.tenants["h1"] == (job, web)
    assert (neighbours.steady["job"], neighbours.lowest, len(neighbours.tenants)) == (2, 20, 2)
    seen.change("edge", job, ended(job))
    assert neighbours.tenants["h1"] == (web,)
    assert neighbours.steady["job"] == 1
    assert seen.of("other").tenants["h1"] == ()


def test_claim_is_known_to_those_it_names_until_it_starts_and_they_count_no_more() -> None:
    seen = NeighboursSeen(PRECEDENCE)
    seen.change("edge", None, a_replica("job", 0))
    claim = waiting("job.s0.r1.1")
    assert seen.change("edge", None, claim) == {"job"}
    assert seen.claims("job") == (claim,)
    assert seen.steady("edge", "job") == 0
    assert seen.change("edge", claim, replace(claim, condition="running")) == {"job"}
    assert (seen.claims("job"), seen.steady("edge", "job")) == ((), 1)


def test_nothing_is_kept_of_what_is_gone() -> None:
    seen = NeighboursSeen(PRECEDENCE)
    for replica in (a_replica("job", 0), waiting("job.s0.r1.1")):
        seen.change("edge", None, replica)
        seen.change("edge", replica, None)
    assert not any((seen._by_host, seen._by_service, seen._claims, seen._named))


async def opened(*replicas: ObservedReplica, cpu_millis: int = 1000) -> Watched:
    host = HostView("h1", cpu_millis=cpu_millis)
    watched = observing(ScriptedTarget(hosts={"h1": host}, replicas={r.id: r for r in replicas}))
    await watched.observer.open()
    watched.changes.clear()
    return watched


async def test_claim_that_a_host_tells_of_wakes_those_who_are_to_give_way() -> None:
    watched = await opened(a_replica("job", 0), a_replica("job", 1), cpu_millis=10_000)
    await watched.target.tell(waiting("job.s1.r1.1"))
    assert set(watched.changes) == {"job", "web"}
    world = watched.observer.world("job", "edge", 1000.0, 1, frozenset(), 0.0)
    assert [claim.displaces for claim in world.claims] == [("job.s1.r1.1",)]
    await watched.observer.close()


async def test_all_who_are_on_an_overbooked_host_hear_what_comes_and_goes_there() -> None:
    watched = await opened(a_replica("job", 0), a_replica("log", 0))
    await watched.target.tell(a_replica("web", 1))
    assert set(watched.changes) == {"job", "log", "web"}
    watched.changes.clear()
    await watched.target.tell(ended(a_replica("log", 0)))
    assert {"job", "web"} <= set(watched.changes)
    await watched.observer.close()


async def test_replica_that_reserves_nothing_makes_room_too_for_those_who_want_to_be_apart() -> None:
    watched = await opened(a_replica("job", 0, cpu_millis=0))
    await watched.target.tell(ended(a_replica("job", 0, cpu_millis=0)))
    await asyncio.sleep(ROOM_TOLD_AFTER_S + 0.2)
    assert watched.changes.count("") == 1
    await watched.observer.close()
