"""No call without a lease: ownership is proved again, released only at rest, and waited for by the next owner."""

from __future__ import annotations

import asyncio
import time
from types import ModuleType
from typing import Any

import pytest

from autoscaler.adapters.pretend.target import PretendTarget
from autoscaler.core.actions import Create, Outcome, StopReplica
from autoscaler.engine import actuator as actuator_module
from autoscaler.engine import runner as runner_module
from autoscaler.engine import takeover as takeover_module
from autoscaler.engine.clock import SystemClock
from tests.core.builders import a_service
from tests.engine.appends import decided_in, terminal
from tests.engine.instances import at_work, command, deployment, eventually, store, store_record, stored_record
from tests.engine.scripted_target import ScriptedTarget, seen
from tests.engine.streams import MemoryLog

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("impatient")]


LEASE_USED_UP_S = 9.0


class JumpingClock(SystemClock):
    """Real time, and what the test adds to it."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def wall(self) -> float:
        return super().wall() + self.ahead_s

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


class HangingTarget(PretendTarget):
    """Creations are answered once ``go_on`` is set."""

    def __init__(self) -> None:
        super().__init__("edge", ["h1"])
        self.go_on = asyncio.Event()
        self.creating = asyncio.Event()

    async def create(self, action: Create) -> Outcome:
        self.creating.set()
        await self.go_on.wait()
        return await super().create(action)


async def test_a_release_is_not_written_while_a_call_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoscaler.engine.member.REVOKE_S", 0.4)
    log, target = MemoryLog(), HangingTarget()
    async with at_work(log, target=target) as working:
        log.send(deployment())
        await asyncio.wait_for(target.creating.wait(), 10.0)
        await working.member.revoked(frozenset({0}))
        assert not stored_record(log).released
        target.go_on.set()


async def test_a_partition_is_released_once_nothing_is_under_way() -> None:
    log = MemoryLog()
    async with at_work(log) as working:
        log.send(deployment())
        await eventually(lambda: terminal(log) == ["d-1"])
        await working.member.revoked(frozenset({0}))
        assert stored_record(log).released
        written = len(log.appends)
        log.send(command("web", "scale", "c-1", replicas=2))
        await asyncio.sleep(0.2)
        assert len(log.appends) == written


def hook(module: ModuleType, monkeypatch: pytest.MonkeyPatch, point: str, do: Any) -> None:
    """Do something once at a named point of the turn."""
    waiting = [do]

    def hit(name: str) -> None:
        if name == point and waiting:
            waiting.pop()()

    monkeypatch.setattr(module, "hit", hit)


async def test_a_member_proves_its_ownership_before_it_acts_on_an_old_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    log, clock = MemoryLog(), JumpingClock()
    target = ScriptedTarget()
    written_at_creation: list[int] = []

    def answer(action: Any) -> Outcome:
        written_at_creation.append(len(log.appends))
        return Outcome(action, "done", id="c1")

    target.answers = answer
    async with at_work(log, target=target, clock=clock) as working:
        await working.rests()

        def grow_old() -> None:
            clock.ahead_s += LEASE_USED_UP_S

        hook(runner_module, monkeypatch, "after_commit", grow_old)
        log.send(deployment())
        await eventually(lambda: target.calls)
    decided, heartbeat = log.appends[1], log.appends[2]
    assert decided_in(decided) == ["d-1"]
    assert len(heartbeat.records) == 1
    assert heartbeat.positions == decided.positions
    assert written_at_creation[0] >= 3


async def test_a_member_that_cannot_prove_its_ownership_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoscaler.engine.member.FENCED_FIRST_S", 60.0)
    log, clock, target = MemoryLog(), JumpingClock(), PretendTarget("edge", ["h1"])
    async with at_work(log, target=target, clock=clock) as working:
        await working.rests()

        def be_overtaken() -> None:
            clock.ahead_s += LEASE_USED_UP_S
            log.epochs[0] += 1

        hook(runner_module, monkeypatch, "after_commit", be_overtaken)
        log.send(deployment())
        await eventually(lambda: not working.member.shards())
        await asyncio.sleep(0.1)
    assert not target._replicas


async def test_a_call_whose_lease_ran_out_is_made_after_a_proof_of_ownership(monkeypatch: pytest.MonkeyPatch) -> None:
    log, clock, target = MemoryLog(), JumpingClock(), PretendTarget("edge", ["h1"])
    async with at_work(log, target=target, clock=clock) as working:
        await working.rests()

        def grow_old() -> None:
            clock.ahead_s += LEASE_USED_UP_S

        hook(actuator_module, monkeypatch, "before_action", grow_old)
        log.send(deployment())
        await eventually(lambda: [r.condition for r in target._replicas.values()] == ["running"])
    assert [len(append.records) for append in log.appends].count(1) >= 2


@pytest.mark.parametrize(("released", "waits"), [(False, True), (True, False)])
async def test_a_new_owner_stops_nothing_before_the_former_lease_is_over(
    monkeypatch: pytest.MonkeyPatch,
    *,
    released: bool,
    waits: bool,
) -> None:
    monkeypatch.setattr(takeover_module, "LEASE_S", 1.0)
    log, target = MemoryLog(), ScriptedTarget(replicas={"c1": seen(generation=1, token=1)})
    store(log, a_service(0))
    store_record(log, released=released, at=time.time())
    stops: list[float] = []

    def answer(action: Any) -> Outcome:
        if isinstance(action, StopReplica):
            stops.append(time.monotonic())
            target.replicas.clear()
        return Outcome(action, "done")

    target.answers = answer
    async with at_work(log, target=target) as working:
        await eventually(lambda: stops)
    ((_, taken_over_at),) = working.stream.taken_over
    assert (stops[0] - taken_over_at >= 1.0) is waits
