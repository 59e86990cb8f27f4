"""A member: how it joins, what it does when the stream or a partition goes, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

import pytest

from autoscaler.adapters.pretend.target import PretendTarget
from autoscaler.core.actions import Create, Outcome
from autoscaler.core.revision import Health, Port
from autoscaler.core.settings import Route
from autoscaler.core.world import ObservedReplica
from autoscaler.engine import member as member_module
from autoscaler.errors import StreamError
from autoscaler.ports.router import Backend
from autoscaler.ports.stream import Topic, partition_of
from tests.core.builders import a_revision, a_service, a_spec
from tests.engine.instances import (
    RecordingRouter,
    at_work,
    deployment,
    eventually,
    quick_settings,
    store,
    store_record,
    stored_record,
    verdicts,
)
from tests.engine.scripted_target import ScriptedTarget, seen
from tests.engine.streams import MemoryLog, MemoryStream

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("impatient")]

PARTITIONS = 3
HOME = partition_of(b"web", PARTITIONS)
OTHER = (HOME + 1) % PARTITIONS


@asynccontextmanager
async def an_answering_port() -> AsyncIterator[str]:
    """The address of a server that takes connections."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"{host}:{port}"
    finally:
        server.close()
        await server.wait_closed()


def a_log_of_a_running_service(replicas: int = 2) -> MemoryLog:
    """A released partition whose service is asked for its health over the network."""
    log = MemoryLog()
    spec = a_spec(ports=(("http", Port(80)),), health=Health(tcp=True, port="http", every_s=0.2, start_s=0.0))
    store(log, a_service(replicas, revisions=(a_revision(1, spec=spec),), hosts=("h1",)))
    store_record(log, released=True)
    return log


def running_at(address: str, replicas: int = 2) -> ScriptedTarget:
    """Its replicas, all at that address."""
    shown: dict[str, ObservedReplica] = {}
    for slot in range(replicas):
        name = f"shop.web.s{slot}.r1.{slot + 1}"
        made: dict[str, Any] = {"started_at": 100.0, "address": {"http": address}, "generation": 1, "token": 1}
        shown[f"c{slot}"] = ObservedReplica(f"c{slot}", name, "web", slot, 1, slot + 1, "h1", "running", **made)
    return ScriptedTarget(replicas=shown)


async def test_after_a_take_over_what_runs_is_watched_and_gets_its_traffic() -> None:
    log, router = a_log_of_a_running_service(), RecordingRouter()
    services = {"web": quick_settings(route=Route("127.0.0.1:0", "http"))}
    async with an_answering_port() as address:
        target = running_at(address)
        async with at_work(log, services, target=target, router=router) as working:
            await eventually(lambda: working.member.observer.prober.watched == 2)
            backends = [Backend("shop.web.s0.r1.1", address), Backend("shop.web.s1.r1.2", address)]
            await eventually(lambda: router.told and router.told[-1] == ("web", backends))
            (shard,) = working.member.shards()
            replicas = working.member.observer.replicas
            await eventually(lambda: [replica.healthy for replica in replicas("web")] == [True, True])
            assert working.face.services()[0]["actual"] == 2
            await working.rests()
            assert shard.states["web"].demand == 2
        assert target.calls == []


async def test_held_requests_of_a_service_at_zero_bring_its_first_replica() -> None:
    log, router = a_log_of_a_running_service(0), RecordingRouter()
    services = {"web": quick_settings(route=Route("127.0.0.1:0", "http"))}
    async with at_work(log, services, target=ScriptedTarget(), router=router) as working:
        await eventually(lambda: router.told == [("web", [])])
        assert router.heard is not None
        router.heard("web", 2)
        await eventually(lambda: [shard.states["web"].demand for shard in working.member.shards()] == [1])
        router.heard("web", 0)
        (shard,) = working.member.shards()
        reason = shard.states["web"].conclusion
        assert reason is not None
        assert reason.winner == "activation"


async def test_what_is_no_longer_ours_is_asked_for_nothing() -> None:
    log = a_log_of_a_running_service()
    async with an_answering_port() as address, at_work(log, target=running_at(address)) as working:
        await eventually(lambda: working.member.observer.prober.watched == 2)
        await working.member.revoked(frozenset({0}))
        assert working.member.observer.prober.watched == 0
        working.member.assigned(frozenset({0}))
        await eventually(lambda: working.member.observer.prober.watched == 2)


async def test_a_member_whose_stream_opens_at_the_second_try_only_connects_then() -> None:
    log = MemoryLog()
    stream = MemoryStream(log)
    stream.open_errors += [StreamError("not yet"), StreamError("not yet")]
    async with at_work(log, stream=stream) as working:
        log.send(deployment())
        await eventually(lambda: ("d-1", "applied", True) in verdicts(log))
        assert working.client.opened == 1


async def test_a_stream_that_was_away_goes_on_where_it_was() -> None:
    log = MemoryLog()
    async with at_work(log) as working:
        await working.rests()
        working.stream.away = True
        await eventually(lambda: not working.member.connected)
        log.send(deployment())
        await asyncio.sleep(0.1)
        assert verdicts(log) == []
        working.stream.away = False
        await eventually(lambda: ("d-1", "applied", True) in verdicts(log))
    assert len(working.stream.taken_over) == 1


async def test_a_fenced_partition_that_is_still_ours_is_taken_over_again_ever_more_slowly() -> None:
    log = MemoryLog(PARTITIONS)
    async with at_work(log) as working:
        await working.rests()
        taken_over = working.stream.taken_over
        for times in range(1, 4):
            # Somebody else fences us; it shows in the next append.
            log.epochs[HOME] += 1
            log.send(deployment(version=str(times), identity=f"d-{times}"))
            await eventually(lambda: HOME not in working.member.runners)
            assert working.face.unready() == f"restoring partitions {HOME}"
            await eventually(lambda: working.face.unready() == "")
            await eventually(lambda times=times: f"d-{times}" in {i for i, _, _ in verdicts(log, HOME)})
        moments = [at for partition, at in taken_over if partition == HOME]
        gaps = [after - before for before, after in pairwise(moments)]
        first = member_module.FENCED_FIRST_S
        for gap, at_least in zip(gaps, (first, 2 * first, 4 * first), strict=True):
            assert gap >= at_least
        assert len([p for p, _ in taken_over if p != HOME]) == PARTITIONS - 1


async def test_a_fenced_partition_that_the_group_gave_away_is_left_alone() -> None:
    log = MemoryLog()
    async with at_work(log) as working:
        await working.rests()
        log.epochs[0] += 1
        log.send(deployment())
        await eventually(lambda: 0 not in working.member.runners)
        await working.member.revoked(frozenset({0}))
        await asyncio.sleep(3 * member_module.FENCED_FIRST_S)
        assert working.member.runners == {}
        assert working.face.unready() == ""
    assert len(working.stream.taken_over) == 1


async def test_a_partition_that_cannot_be_read_on_is_taken_over_again_and_the_others_go_on() -> None:
    log = MemoryLog(PARTITIONS)
    services = {"web": quick_settings(), "api": quick_settings(), "shop": quick_settings(), "cart": quick_settings()}
    elsewhere = next(s for s in services if partition_of(s.encode(), PARTITIONS) != HOME)
    async with at_work(log, services) as working:
        await working.rests()
        working.stream.stuck.add(HOME)
        log.send(deployment(elsewhere, identity="d-other"))
        log.send(deployment(identity="d-web"))
        home = partition_of(elsewhere.encode(), PARTITIONS)
        await eventually(lambda: ("d-other", "applied", True) in verdicts(log, home))
        await eventually(lambda: ("d-web", "applied", True) in verdicts(log, HOME))
        assert working.member.connected
        assert [p for p, _ in working.stream.taken_over].count(HOME) == 2
    assert len(working.stream.taken_over) == PARTITIONS + 1


class BreakingTarget(PretendTarget):
    """Its adapter has a defect."""

    async def create(self, action: Create) -> Outcome:
        raise RuntimeError("nobody thought of this")


async def test_a_part_that_dies_ends_the_member_and_it_says_so() -> None:
    log = MemoryLog()
    async with at_work(log, target=BreakingTarget("edge", ["h1"]), fails=True) as working:
        log.send(deployment())
        await eventually(working.stop.is_set)
    assert working.member.failed


async def test_a_member_that_ends_in_order_releases_all_its_partitions() -> None:
    log = MemoryLog(PARTITIONS)
    async with at_work(log):
        log.send(deployment())
        await eventually(lambda: ("d-1", "applied", True) in verdicts(log, HOME))
    assert [stored_record(log, partition).released for partition in range(PARTITIONS)] == [True] * PARTITIONS
    assert stored_record(log, HOME).positions[Topic.DEPLOYMENTS] == 1


async def test_the_next_member_goes_on_and_creates_nothing_anew() -> None:
    log = MemoryLog()
    target = PretendTarget("edge", ["h1"])
    async with at_work(log, target=target) as working:
        log.send(deployment())
        await eventually(lambda: ("d-1", "applied", True) in verdicts(log))
    before = dict(target._replicas)
    async with at_work(log, target=target, member_id="m2") as working:
        await working.rests()
        log.send(deployment(identity="d-1"))
        await eventually(lambda: ("d-1", "duplicate", False) in verdicts(log))
        await working.rests()
    assert target._replicas == before
    assert stored_record(log).token == 2


async def test_a_replica_that_nobody_asked_for_is_put_away_after_a_take_over() -> None:
    log = MemoryLog()
    store(log, a_service(0))
    store_record(log, released=True)
    target = ScriptedTarget(replicas={"c1": seen(generation=1, token=1)})
    async with at_work(log, target=target):
        await eventually(lambda: [action.kind for action in target.calls][:2] == ["stop", "remove"])
