"""Replicas outlive the autoscaler, and whatever ends them is told, with its exit code, to every member."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time

import pytest

from autoscaler.core.actions import Remove
from autoscaler.core.world import ObservedReplica
from autoscaler.ports.target import HostChange
from tests.adapters.process.replicas import NAME, SLEEPS, another_process, exit_told, following, seen, started, stopped
from tests.contract.arena_process import ProcessArena

pytestmark = pytest.mark.timeout(60)


async def told_of_kill(
    arena: ProcessArena, replica: ObservedReplica, queue: asyncio.Queue[tuple[float, HostChange]]
) -> tuple[float, ObservedReplica]:
    """Kill the replica: after how many seconds its end is told, and what is."""
    killed_at = time.monotonic()
    arena.kill(replica)
    told_at, told = await exit_told(queue)
    return told_at - killed_at, told


async def test_replicas_of_a_killed_autoscaler_are_adopted_and_stopped_by_another(arena: ProcessArena) -> None:
    with another_process(arena, NAME, "start", "sleep", "600") as first:
        assert first.stdout is not None
        assert json.loads(first.stdout.readline())[0] == "done"
        first.kill()
        first.wait()
    second = arena.target()
    await second.open()
    replica = await seen(second, NAME, lambda replica: replica.condition == "running")
    async with following(second) as queue:
        outcome = await stopped(second, replica)
        assert outcome.result == "done"
        _, told = await exit_told(queue)
    assert (told.id, told.exit_code) == (replica.id, 128 + signal.SIGTERM)
    assert (await second.remove(Remove("web", "local", replica.id, NAME))).result == "done"
    (listing,) = await second.list_replicas()
    assert listing.replicas == ()


async def test_the_exit_code_is_kept_while_nobody_watches(arena: ProcessArena) -> None:
    with another_process(arena, NAME, "start", "/bin/sh", "-c", "sleep 0.3; exit 7") as first:
        assert first.stdout is not None
        assert json.loads(first.stdout.readline())[0] == "done"
        first.kill()
    await asyncio.sleep(0.5)
    replica = await seen(arena.target(), NAME, lambda replica: replica.condition == "exited")
    assert replica.exit_code == 7


async def test_a_kill_is_told_within_half_a_second(arena: ProcessArena) -> None:
    target = arena.target()
    await target.open()
    async with following(target) as queue:
        replica = await started(target, SLEEPS)
        await asyncio.sleep(0.05)
        after_s, told = await told_of_kill(arena, replica, queue)
    assert after_s < 0.5
    assert told.exit_code == 128 + signal.SIGKILL


async def test_an_end_is_told_to_members_that_did_not_start_the_replica(arena: ProcessArena) -> None:
    owner, other = arena.target(), arena.target()
    await owner.open()
    async with following(other) as queue:
        replica = await started(owner, SLEEPS)
        async with asyncio.timeout(2):
            while (await queue.get())[1].replica is None:
                pass
        await asyncio.sleep(0.6)
        after_s, told = await told_of_kill(arena, replica, queue)
    assert told.id == replica.id
    assert after_s < 0.5


async def test_without_pidfds_an_end_is_told_by_polling(arena: ProcessArena, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError("no pidfd here")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    target = arena.target()
    await target.open()
    async with following(target) as queue:
        replica = await started(target, SLEEPS)
        await asyncio.sleep(0.3)
        after_s, _ = await told_of_kill(arena, replica, queue)
        assert after_s < 0.5
    again = await started(target, SLEEPS, "web.s0.r1.2")
    assert (await stopped(target, again)).result == "done"


async def test_a_killed_supervisor_takes_its_replica_along_and_this_is_told(arena: ProcessArena) -> None:
    target = arena.target()
    await target.open()
    async with following(target) as queue:
        replica = await started(target, SLEEPS)
        main = arena.directories.standing(NAME).main
        assert main is not None
        await asyncio.sleep(0.05)
        killed_at = time.monotonic()
        os.kill(arena.supervisor_pid(NAME), signal.SIGKILL)
        told_at, told = await exit_told(queue)
    assert told_at - killed_at < 0.5
    assert not main.alive
    assert (told.id, told.exit_code) == (replica.id, None)
    assert "exit code is not known" in told.note
