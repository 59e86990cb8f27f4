"""`kill -9` at every failpoint in the middle of a scaling, an update and a rollback: as if it had not happened.

Afterwards the containers are exactly right, by the engine's own events nothing was made twice, every event has one
terminal verdict, and the trail is whole. Cases of one operation run side by side, each in a cluster of its own.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import pytest

from autoscaler.core.facts import EventRef
from tests.system.installation import Installation, Running
from tests.system.patience import eventually
from tests.system.trail import at_rest, judge, rests, states, trail, verdict, verdicts

SIDE_BY_SIDE = 3

Case = Callable[[], Coroutine[Any, Any, None]]
Cases = Mapping[str, Case]

# Which hit lies in the middle of which operation: later than its first, earlier than its last.
NTH = {
    "after_poll": {"scale": 3, "update": 6, "rollback": 5},
    "after_decide": {"scale": 2, "update": 4, "rollback": 3},
    "after_append": {"scale": 2, "update": 4, "rollback": 3},
    "after_commit": {"scale": 2, "update": 4, "rollback": 3},
    "before_action": {"scale": 2, "update": 4, "rollback": 2},
    "after_action": {"scale": 2, "update": 4, "rollback": 2},
    "before_outcome": {"scale": 3, "update": 5, "rollback": 3},
    "during_restore": {"scale": 1, "update": 1, "rollback": 1},
    "after_lease_check": {"scale": 3, "update": 6, "rollback": 3},
}


async def survives(make: Callable[..., Installation], operation: str, failpoint: str, nth: int = 0) -> None:
    """The operation, cut off at the failpoint and taken up by the next process. With ``nth`` another hit than the
    table's: where there are not so many, the process is killed when the operation is over."""
    installation = make()
    try:
        await _survives(installation, operation, f"{failpoint}:{nth or NTH[failpoint][operation]}", surely=not nth)
    finally:
        await installation.close()


async def _survives(installation: Installation, operation: str, hit: str, *, surely: bool) -> None:
    installation.services = {"web": installation.service(replicas=1 if operation == "scale" else 2)}
    await installation.open()
    first = installation.start()
    await installation.wanted("web", 1 if operation == "scale" else 2, revision=1)
    await at_rest(installation, "web")
    first.kill()
    event = await begin(installation, operation)
    armed = installation.start(f"{hit}=kill")
    if not surely:
        await _over(installation, armed, event)
    else:
        assert await armed.ended(within_s=30.0) == -signal.SIGKILL, armed.tail()
    installation.start()
    told = await verdict(installation, event)
    assert told.data["verdict"] == ("rolled_back" if operation == "rollback" else "applied"), str(told)
    revision = 2 if operation == "update" else 1
    await installation.wanted("web", 3 if operation == "scale" else 2, revision)
    await at_rest(installation, "web")
    state = (await judge(installation, event))["web"]
    assert state.revision == revision
    assert {replica.slot for replica in state.replicas} == set(range(state.demand))


async def _over(installation: Installation, armed: Running, event: EventRef) -> None:
    """Wait for the process's end, or for the operation's and then end the process."""

    async def look() -> bool:
        if not armed.alive:
            return True
        done = verdicts(await trail(installation.client), event)
        return bool(done) and rests((await states(installation.client)).get("web"))

    await eventually("an end", look, bool)
    armed.end()


async def begin(installation: Installation, operation: str) -> EventRef:
    if operation == "scale":
        return await installation.command("web", "scale", "c-1", replicas=3)
    return await installation.deploy("web", "two" if operation == "update" else "quits", "d-1")


async def side_by_side(cases: Cases) -> None:
    """All cases, a few at a time; the failures of all of them."""
    room = asyncio.Semaphore(SIDE_BY_SIDE)
    failures: list[str] = []

    async def run(name: str, case: Case) -> None:
        async with room:
            try:
                await case()
            except AssertionError as error:
                failures.append(f"{name}: {error}")

    await asyncio.gather(*(run(name, case) for name, case in cases.items()))
    assert not failures, f"{len(failures)} of {len(cases)} cases:\n\n" + "\n\n".join(failures)


def at_every_failpoint(make: Callable[..., Installation], operation: str) -> Cases:
    return {failpoint: partial(survives, make, operation, failpoint) for failpoint in NTH}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("operation", ["scale", "update", "rollback"])
async def test_killed_at_any_failpoint_on_kafka_and_docker_it_is_as_if_nothing_had_been(
    served: Callable[..., Installation], operation: str
) -> None:
    await side_by_side(at_every_failpoint(served, operation))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("operation", ["scale", "update", "rollback"])
async def test_killed_at_any_failpoint_on_embedded_parts_it_is_as_if_nothing_had_been(
    local: Callable[..., Installation], operation: str
) -> None:
    await side_by_side(at_every_failpoint(local, operation))


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("operation", ["scale", "update", "rollback"])
async def test_killed_at_each_of_the_first_hits_of_any_failpoint_it_is_as_if_nothing_had_been(
    local: Callable[..., Installation], operation: str
) -> None:
    await side_by_side(
        {
            f"{failpoint}:{nth}": partial(survives, local, operation, failpoint, nth)
            for failpoint in NTH
            for nth in range(1, 13)
        }
    )
