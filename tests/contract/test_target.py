"""What every target promises, whatever runs the replicas: one suite over real hosts of each kind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import httpx
import pytest
import pytest_asyncio

from autoscaler.core.actions import Resolve
from autoscaler.core.world import ObservedReplica
from autoscaler.ports.target import Target
from tests.contract.arena import Arena
from tests.contract.replicas import Asks, Listener, eventually, shows

pytestmark = pytest.mark.timeout(90)

DEAF_S = 1.0
"""What a shell may take from its start until it ignores TERM."""

KILL_TOLD_S = 1.0
"""Longest time from a replica's death to the change that tells of it."""


@pytest_asyncio.fixture
async def target(arena: Arena) -> AsyncIterator[Target]:
    """An open target of the arena's cluster."""
    opened = arena.target()
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
def asks(arena: Arena, target: Target) -> Asks:
    """The open target, asked on the arena's host."""
    return Asks(target, arena.cluster, arena.host)


async def test_a_replica_goes_from_creation_to_removal(arena: Arena, asks: Asks) -> None:
    created = await asks.create(arena.serves())
    assert (created.condition, created.started_at, created.exit_code) == ("created", None, None)
    began = time.time()
    assert (await asks.start(created)).result == "done"
    running = await asks.shown(created.name)
    assert running.condition == "running"
    assert running.started_at == pytest.approx(began, abs=5)
    assert (await asks.stop(running)).result == "done"
    exited = await asks.shown(created.name)
    assert exited.condition == "exited"
    assert exited.exit_code is not None
    assert (await asks.remove(exited)).result == "done"
    assert await asks.replicas() == []


async def test_a_listed_replica_says_what_it_is(arena: Arena, asks: Asks) -> None:
    shown = await asks.run(arena.serves(), slot=4, revision=12, attempt=31)
    assert shown.name == f"{arena.cluster}.web.s4.r12.31"
    assert (shown.service, shown.slot, shown.revision, shown.attempt) == ("web", 4, 12, 31)
    assert (shown.generation, shown.token, shown.host) == (7, 3, arena.host)
    assert (shown.cpu_millis, shown.memory_bytes) == (100, 32 * 1024 * 1024)
    assert not shown.stopping


async def test_replica_that_waits_for_others_to_go_says_whom_it_displaces_and_when_it_was_made(
    arena: Arena, asks: Asks
) -> None:
    names = ("job.s0.r1.1", "job.s12.r3.40")
    outcome = await asks.target.create(replace(asks.creation(arena.serves()), displaces=names))
    assert outcome.result == "done"
    (shown,) = await asks.replicas()
    assert (shown.condition, shown.displaces) == ("created", names)
    assert shown.made_at is not None
    assert abs(shown.made_at - time.time()) < 60


async def test_creating_twice_makes_one_replica(arena: Arena, asks: Asks) -> None:
    action = asks.creation(arena.serves())
    outcomes = [await asks.target.create(action), await asks.target.create(action)]
    assert [outcome.result for outcome in outcomes] == ["done", "done"]
    assert outcomes[0].id == outcomes[1].id
    assert len(await asks.replicas()) == 1


async def test_creating_at_once_makes_one_replica(arena: Arena, asks: Asks) -> None:
    action = asks.creation(arena.serves())
    outcomes = await asyncio.gather(*(asks.target.create(action) for _ in range(4)))
    assert "done" in {outcome.result for outcome in outcomes}
    assert {outcome.result for outcome in outcomes} <= {"done", "unknown"}, outcomes
    assert len(await asks.replicas()) == 1


async def test_another_content_under_the_same_name_is_a_conflict(arena: Arena, asks: Asks) -> None:
    spec = arena.serves()
    first = await asks.create(spec)
    other = await asks.target.create(asks.creation(replace(spec, env=(("MODE", "other"),))))
    assert other.result == "conflict"
    assert [replica.id for replica in await asks.replicas()] == [first.id]


async def test_a_name_that_something_foreign_holds_is_a_conflict_and_left_alone(arena: Arena, asks: Asks) -> None:
    action = asks.creation(arena.serves())
    foreign = arena.occupy(action.name)
    outcome = await asks.target.create(action)
    assert outcome.result == "conflict"
    assert outcome.text
    assert arena.foreign_runs(foreign)
    assert await asks.replicas() == []


async def test_something_foreign_is_never_stopped_started_or_removed(arena: Arena, asks: Asks) -> None:
    name = asks.creation(arena.serves()).name
    foreign = arena.occupy(name)
    replica = ObservedReplica(foreign, name, "web", 0, 1, 1, arena.host, "running")
    for ask in (asks.stop, asks.remove, asks.start):
        await ask(replica)
    assert arena.foreign_runs(foreign)


async def test_starting_twice_starts_once(arena: Arena, asks: Asks) -> None:
    running = await asks.run(arena.serves())
    assert (await asks.start(running)).result == "done"
    again = await asks.shown(running.name)
    assert (again.id, again.started_at) == (running.id, running.started_at)


async def test_stopping_what_has_ended_or_gone_is_done(arena: Arena, asks: Asks) -> None:
    await asks.run(arena.exits(0))
    ended = await asks.ended(f"{arena.cluster}.web.s0.r1.1")
    assert (await asks.stop(ended)).result == "done"
    assert (await asks.remove(ended)).result == "done"
    assert (await asks.stop(ended)).result == "done"


async def test_removing_twice_is_done(arena: Arena, asks: Asks) -> None:
    created = await asks.create(arena.serves())
    outcomes = [await asks.remove(created), await asks.remove(created)]
    assert [outcome.result for outcome in outcomes] == ["done", "done"]


async def test_a_running_replica_is_not_removed(arena: Arena, asks: Asks) -> None:
    running = await asks.run(arena.serves())
    assert (await asks.remove(running)).result == "refused"
    assert (await asks.shown(running.name)).condition == "running"


async def test_the_exit_code_is_seen(arena: Arena, asks: Asks) -> None:
    await asks.create(arena.exits(3))
    created = await asks.shown(f"{arena.cluster}.web.s0.r1.1")
    await asks.start(created)
    assert (await asks.ended(created.name)).exit_code == 3


async def test_what_ignores_its_signal_is_killed_after_the_grace(arena: Arena, asks: Asks) -> None:
    running = await asks.run(arena.ignores_term())
    await asyncio.sleep(DEAF_S)
    began = time.monotonic()
    assert (await asks.stop(running, grace_s=1.0)).result == "done"
    assert 0.9 < time.monotonic() - began < 8
    assert (await asks.shown(running.name)).condition == "exited"


async def test_a_replica_that_is_being_stopped_says_so(arena: Arena, asks: Asks) -> None:
    running = await asks.run(arena.ignores_term())
    await asyncio.sleep(DEAF_S)
    stopping = asyncio.create_task(asks.stop(running, grace_s=2.0))
    shown = await eventually(lambda: asks.shown(running.name), lambda replica: replica.stopping, within_s=1.5)
    assert shown.condition == "running"
    await stopping
    assert not (await asks.shown(running.name)).stopping


async def test_changes_tell_of_start_end_and_removal(arena: Arena, asks: Asks) -> None:
    async with Listener(asks.target) as listener:
        created = await asks.create(arena.serves())
        await asks.start(created)
        change = await listener.until(shows("running"))
        assert change.replica is not None
        assert change.replica.id == created.id
        await asks.stop(created)
        await listener.until(shows("exited"))
        await asks.remove(created)
        assert (await listener.until(lambda c: c.removed is not None)).removed == created.id


async def test_changes_tell_of_a_killed_replica_within_a_second(arena: Arena, asks: Asks) -> None:
    running = await asks.run(arena.serves())
    async with Listener(asks.target) as listener:
        began = time.monotonic()
        arena.kill(running)
        change = await listener.until(shows("exited"))
        assert time.monotonic() - began < KILL_TOLD_S
    assert change.replica is not None
    assert (change.replica.id, change.host) == (running.id, arena.host)


async def test_changes_go_to_every_listener(arena: Arena, asks: Asks) -> None:
    async with Listener(asks.target) as one, Listener(asks.target) as other:
        await asks.run(arena.serves())
        for listener in (one, other):
            await listener.until(shows("running"))


async def test_another_clusters_replicas_are_not_listed(arena: Arena, asks: Asks) -> None:
    neighbour = arena.target(f"{arena.cluster}n")
    await neighbour.open()
    try:
        theirs = await Asks(neighbour, f"{arena.cluster}n", arena.host).create(arena.serves())
        mine = await asks.create(arena.serves())
        assert [replica.id for replica in await asks.replicas()] == [mine.id]
        assert (await asks.remove(theirs)).result in ("conflict", "done", "refused")
        assert len((await neighbour.list_replicas())[0].replicas) == 1
    finally:
        await neighbour.close()


async def test_the_host_tells_its_capacity_and_what_is_reserved(arena: Arena, asks: Asks) -> None:
    before = await asks.view()
    assert (before.known, before.condition, before.replicas) == (True, "ready", 0)
    assert before.cpu_millis >= 1000
    assert before.memory_bytes > 64 * 1024 * 1024
    for slot in range(2):
        await asks.create(arena.serves(), slot=slot, attempt=slot + 1)
    after = await asks.view()
    assert after.reserved_cpu_millis == before.reserved_cpu_millis + 200
    assert after.reserved_memory_bytes == before.reserved_memory_bytes + 64 * 1024 * 1024
    assert after.replicas == 2


async def test_a_replica_answers_at_its_address(arena: Arena, asks: Asks) -> None:
    running = await asks.run(arena.serves())

    async def answer() -> int:
        address = (await asks.shown(running.name)).address["http"]
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(f"http://{address}/", timeout=2)).status_code
            except httpx.TransportError:
                return 0

    assert await eventually(answer, lambda status: status != 0) == 200


async def test_usage_tells_of_running_replicas(arena: Arena, asks: Asks) -> None:
    running = await asks.run(arena.serves())
    await asks.create(arena.serves(), slot=1, attempt=2)
    (usage,) = await asks.target.usage()
    assert (usage.name, usage.service, usage.revision) == (running.name, "web", 1)
    assert usage.memory_bytes > 0
    assert 0 <= usage.cpu_cores < 16


async def test_logs_give_the_last_lines_in_order(arena: Arena, asks: Asks) -> None:
    running = await asks.run(arena.prints(20))

    async def tail() -> list[bytes]:
        return [line async for line in asks.target.logs(running, follow=False, tail=3)]

    assert await eventually(tail, lambda lines: len(lines) == 3) == [b"line 18", b"line 19", b"line 20"]


async def test_followed_logs_wait_for_more_and_can_be_left(arena: Arena, asks: Asks) -> None:
    running = await asks.run(arena.prints(5))
    lines = []
    async with asyncio.timeout(20), aclosing(asks.target.logs(running, follow=True, tail=100)) as output:  # type: ignore[type-var]
        async for line in output:
            lines.append(line)
            if len(lines) == 5:
                break
    assert lines == [b"line %d" % number for number in range(1, 6)]


async def test_a_command_that_cannot_run_is_refused_and_the_revisions_fault(arena: Arena, asks: Asks) -> None:
    created = await asks.create(arena.cannot_run())
    outcome = await asks.start(created)
    assert (outcome.result, outcome.blame) == ("refused", "revision")
    assert outcome.text


async def test_a_resolved_spec_can_be_created(arena: Arena, asks: Asks) -> None:
    spec = arena.unresolved()
    outcome = await asks.target.resolve(Resolve("web", spec))
    assert outcome.result == "done", outcome
    assert (await asks.create(replace(spec, pinned=outcome.pinned))).condition == "created"


async def test_what_no_host_can_run_is_refused_and_the_revisions_fault(arena: Arena, asks: Asks) -> None:
    outcome = await asks.target.resolve(Resolve("web", arena.missing()))
    assert (outcome.result, outcome.blame) == ("refused", "revision")


async def test_a_restarted_target_sees_what_the_former_one_made(arena: Arena, asks: Asks) -> None:
    running = await asks.run(arena.serves())
    await asks.target.close()
    successor = arena.target()
    await successor.open()
    try:
        later = Asks(successor, arena.cluster, arena.host)
        shown = await later.shown(running.name)
        assert (shown.id, shown.condition, shown.started_at) == (running.id, "running", running.started_at)
        assert (await later.stop(shown)).result == "done"
    finally:
        await successor.close()


async def test_an_unknown_host_is_refused(arena: Arena, asks: Asks) -> None:
    outcome = await asks.target.create(replace(asks.creation(arena.serves()), host="elsewhere"))
    assert outcome.result == "refused"
