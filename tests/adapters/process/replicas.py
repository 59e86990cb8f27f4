"""Replicas of the process target as its tests start, follow and stop them."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator

from autoscaler.adapters.process import ProcessTarget
from autoscaler.core.actions import Create, Outcome, Start, StopReplica
from autoscaler.core.revision import RevisionSpec
from autoscaler.core.world import ObservedReplica
from autoscaler.ports.target import HostChange
from tests.contract.arena_process import ProcessArena

NAME = "web.s0.r1.1"
SLEEPS = RevisionSpec(command=("sleep", "600"))


def a_create(spec: RevisionSpec, name: str = NAME, content: str = "c1") -> Create:
    return Create("web", 0, 1, int(name.rpartition(".")[2]), "local", spec, 1, 1, content, name)


async def started(target: ProcessTarget, spec: RevisionSpec, name: str = NAME) -> ObservedReplica:
    created = await target.create(a_create(spec, name))
    assert created.result == "done", created
    outcome = await target.start(Start("web", "local", created.id, name))
    assert outcome.result == "done", outcome
    return await seen(target, name, lambda replica: True)


async def seen(target: ProcessTarget, name: str, holds: Callable[[ObservedReplica], bool]) -> ObservedReplica:
    last: object = None
    for _ in range(500):
        (listing,) = await target.list_replicas()
        last = next((replica for replica in listing.replicas if replica.name == name), None)
        if isinstance(last, ObservedReplica) and holds(last):
            return last
        await asyncio.sleep(0.01)
    raise AssertionError(f"not within 5 s; last seen: {last}")


async def stopped(target: ProcessTarget, replica: ObservedReplica, grace_s: float = 5.0) -> Outcome:
    return await target.stop(StopReplica("web", "local", replica.id, replica.name, "TERM", grace_s, 0.0))


@contextlib.asynccontextmanager
async def following(target: ProcessTarget) -> AsyncIterator[asyncio.Queue[tuple[float, HostChange]]]:
    queue: asyncio.Queue[tuple[float, HostChange]] = asyncio.Queue()

    async def follow() -> None:
        async for change in target.changes():
            queue.put_nowait((time.monotonic(), change))

    task = asyncio.create_task(follow())
    await asyncio.sleep(0.05)
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def exit_told(queue: asyncio.Queue[tuple[float, HostChange]]) -> tuple[float, ObservedReplica]:
    async with asyncio.timeout(5):
        while True:
            at, change = await queue.get()
            if change.replica is not None and change.replica.condition == "exited":
                return at, change.replica


OTHER_PROCESS = """
import asyncio, json, sys
from pathlib import Path
from autoscaler.adapters.process import ProcessTarget
from autoscaler.configuration.settings import TargetSettings
from autoscaler.core.actions import Create, Start
from autoscaler.core.revision import RevisionSpec

async def main(base, cluster, name, start, argv):
    target = ProcessTarget(TargetSettings("here", "process", dir=Path(base)), cluster)
    await target.open()
    made = await target.create(Create("web", 0, 1, 1, "local", RevisionSpec(command=tuple(argv)), 1, 1, "c1", name))
    if start == "start":
        made = await target.start(Start("web", "local", made.id, name))
    print(json.dumps([made.result, made.text]), flush=True)
    sys.stdin.read()

asyncio.run(main(*sys.argv[1:5], sys.argv[5:]))
"""


@contextlib.contextmanager
def another_process(arena: ProcessArena, name: str, start: str, *argv: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", OTHER_PROCESS, str(arena.base), arena.cluster, name, start, *argv]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


async def logged(target: ProcessTarget, replica: ObservedReplica, count: int) -> AsyncIterator[bytes]:
    async with asyncio.timeout(5):
        async for line in target.logs(replica, follow=True, tail=100):
            yield line
            count -= 1
            if not count:
                return
