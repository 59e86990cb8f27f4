"""One replica is one process, whoever asks for it at once, and a number that is used again is nobody."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from autoscaler.adapters.process.identity import ProcessIdentity
from autoscaler.core.actions import Remove, Start
from tests.adapters.process.replicas import NAME, SLEEPS, a_create, another_process, seen, started, stopped
from tests.contract.arena_process import ProcessArena

pytestmark = pytest.mark.timeout(60)


async def test_a_recycled_pid_is_never_signalled(arena: ProcessArena) -> None:
    target = arena.target()
    await target.open()
    replica = await started(target, SLEEPS)
    supervisor = arena.supervisor_pid(NAME)
    run = arena.base / arena.cluster / NAME / "run.json"
    main = json.loads(run.read_text())
    await asyncio.sleep(0.05)  # a birth is known to 10 ms, and no pid is used again within that
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)  # noqa: ASYNC220
    try:
        # As if both numbers had been used again by an unrelated process that leads a group of its own.
        os.kill(supervisor, signal.SIGKILL)
        await asyncio.sleep(0.1)
        run.write_text(json.dumps(main | {"pid": bystander.pid}))
        claim = run.with_name("claim")
        claim.unlink()
        claim.symlink_to(f"{bystander.pid}:{main['birth']}")
        observed = await seen(target, NAME, lambda replica: replica.condition == "exited")
        assert observed.exit_code is None
        assert (await stopped(target, replica)).result == "done"
        assert (await target.remove(Remove("web", "local", replica.id, NAME))).result == "done"
        await asyncio.sleep(0.1)
        assert bystander.poll() is None
        assert not ProcessIdentity(bystander.pid, main["birth"]).signal_group(signal.SIGKILL)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_of_many_creates_at_once_one_makes_the_replica(arena: ProcessArena) -> None:
    targets = [arena.target() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        creates = [pool.submit(asyncio.run, target.create(a_create(SLEEPS))) for target in targets]
        outcomes = [create.result() for create in creates]
    assert [outcome.result for outcome in outcomes] == ["done"] * 8
    assert len({outcome.id for outcome in outcomes}) == 1
    assert sorted(outcome.text for outcome in outcomes)[:2] == ["", "it exists already"]
    (listing,) = await targets[0].list_replicas()
    assert len(listing.replicas) == 1


async def test_of_unlike_creates_in_several_processes_one_wins_and_the_rest_conflict(arena: ProcessArena) -> None:
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(another_process(arena, NAME, "create", "sleep", "1")) for _ in range(2)]
        mine = await arena.target().create(a_create(SLEEPS, content="another"))
        results = [json.loads(other.stdout.readline())[0] for other in others if other.stdout is not None]
    made_by_me = mine.result == "done"
    assert results == (["conflict"] * 2 if made_by_me else ["done"] * 2)
    assert made_by_me or mine.result == "conflict"


async def test_two_starts_at_once_run_one_process(arena: ProcessArena) -> None:
    target, other = arena.target(), arena.target()
    created = await target.create(a_create(SLEEPS))
    start = Start("web", "local", created.id, NAME)
    outcomes = await asyncio.gather(target.start(start), other.start(start), target.start(start))
    assert {outcome.result for outcome in outcomes} == {"done"}
    directory = str(arena.base / arena.cluster / NAME)
    supervisors: list[psutil.Process] = []
    for _ in range(250):  # those that came too late are on their way out
        processes = psutil.process_iter(["cmdline"])
        supervisors = [each for each in processes if directory in (each.info["cmdline"] or ())]
        if len(supervisors) == 1:
            break
        await asyncio.sleep(0.02)
    assert len(supervisors) == 1
    assert arena.directories.standing(NAME).condition == "running"


async def test_a_removed_replica_can_no_longer_be_started(arena: ProcessArena) -> None:
    target = arena.target()
    created = await target.create(a_create(SLEEPS))
    assert (await target.remove(Remove("web", "local", created.id, NAME))).result == "done"
    assert (await target.start(Start("web", "local", created.id, NAME))).result == "refused"
    again = await target.create(a_create(SLEEPS))
    assert again.id != created.id
    assert (await target.start(Start("web", "local", created.id, NAME))).result == "refused"
    assert (await target.remove(Remove("web", "local", created.id, NAME))).result == "done"
    (listing,) = await target.list_replicas()
    assert [replica.id for replica in listing.replicas] == [again.id]
