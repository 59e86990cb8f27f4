"""Stopping and removing: children keep their grace, nothing that a replica forked is left, whoever looks sees it."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from autoscaler.adapters.process.supervisor import birth_of
from autoscaler.core.actions import Remove
from autoscaler.core.revision import RevisionSpec
from tests.adapters.process.replicas import NAME, SLEEPS, logged, seen, started, stopped
from tests.contract.arena_process import ProcessArena, python

pytestmark = pytest.mark.timeout(60)


DRAINS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.4), print("drained"), sys.exit()))
print("up")
while True:
    time.sleep(9)
"""


async def test_a_replica_whose_supervisor_is_frozen_can_still_be_stopped(
    arena: ProcessArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoscaler.adapters.process.target.KILL_PATIENCE_S", 0.5)
    target = arena.target()
    replica = await started(target, SLEEPS)
    os.kill(arena.supervisor_pid(NAME), signal.SIGSTOP)
    assert (await stopped(target, replica, 0.2)).result == "done"
    await seen(target, NAME, lambda replica: replica.condition == "exited")
    assert (await target.remove(Remove("web", "local", replica.id, NAME))).result == "done"


async def test_what_a_replica_had_forked_is_killed_on_removal_where_its_supervisor_was(arena: ProcessArena) -> None:
    target = arena.target()
    replica = await started(target, RevisionSpec(command=("/bin/sh", "-c", "sleep 600 & echo $!; wait")))
    child = int(await anext(logged(target, replica, 1)))
    birth = birth_of(child)
    os.kill(arena.supervisor_pid(NAME), signal.SIGKILL)
    await seen(target, NAME, lambda replica: replica.condition == "exited")
    assert birth_of(child) == birth
    assert (await target.remove(Remove("web", "local", replica.id, NAME))).result == "done"
    await asyncio.sleep(0.05)
    assert birth_of(child) != birth


async def test_children_of_a_stopped_shell_keep_their_grace(arena: ProcessArena) -> None:
    target = arena.target()
    spec = python(DRAINS)
    shell = RevisionSpec(command=("/bin/sh", "-c", '"$@" & wait', "sh", *spec.command))
    replica = await started(target, shell)
    assert [line async for line in logged(target, replica, 1)] == [b"up"]
    outcome = await stopped(target, replica)
    assert outcome.result == "done"
    assert [line async for line in target.logs(replica, follow=False, tail=10)] == [b"up", b"drained"]


async def test_a_stop_under_way_is_seen_by_every_member(arena: ProcessArena) -> None:
    target = arena.target()
    replica = await started(target, arena.ignores_term())
    await asyncio.sleep(0.1)
    stop = asyncio.create_task(stopped(target, replica, 0.5))
    observed = await seen(arena.target(), NAME, lambda replica: replica.stopping)
    assert observed.condition == "running"
    outcome = await stop
    assert outcome.result == "done"
    assert "killed after 0.5 s" in outcome.text
