"""The actuator: what it does when an action has no effect, and when it may not act any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from autoscaler.core.actions import Action, Outcome, Remove, Resolve, StopReplica
from autoscaler.core.revision import RevisionSpec
from autoscaler.core.world import HostView
from autoscaler.engine import actuator as actuator_module
from autoscaler.engine.actuator import Actuator, Drains
from tests.engine.scripted_target import ScriptedTarget, Watched, observing

pytestmark = pytest.mark.timeout(30)

STOP = StopReplica("web", "h1", "c1", "shop.web.c1", "TERM", 1.0, 5.0)
REMOVE = Remove("web", "h1", "c1", "shop.web.c1")


@dataclass
class Notes:
    """A report that keeps what it is told, and when a look had ended by then."""

    target: ScriptedTarget
    told: list[tuple[str, int]] = field(default_factory=list)

    def outcome(self, outcome: Outcome) -> None:
        self.told.append((outcome.result, len(self.target.listed)))

    def settled(self, action: Action) -> None:
        self.told.append(("settled", len(self.target.listed)))


class DrainingRouter:
    """Says that a backend is drained when ``gate`` opens."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def drained(self, service: str, name: str, timeout_s: float) -> bool:
        await self.gate.wait()
        return True


@asynccontextmanager
async def at_work(target: ScriptedTarget, router: object = None) -> AsyncIterator[tuple[Actuator, Watched, Notes]]:
    watched = observing(target)
    await watched.observer.open()
    target.listed.clear()
    given: Drains | None = router  # type: ignore[assignment]
    try:
        yield Actuator({"edge": target}, watched.observer, watched.supervision, given), watched, Notes(target)
    finally:
        await watched.observer.close()
    assert watched.crashes == []


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actuator_module, "LOOK_AGAIN_S", 0.05)


def answering(result: str) -> Callable[[Action], Outcome]:
    return lambda action: Outcome(action, result)  # type: ignore[arg-type]


@pytest.mark.parametrize("action", [STOP, REMOVE])
@pytest.mark.parametrize("result", ["refused", "conflict"])
async def test_what_resists_is_looked_at_before_it_may_be_planned_for_again(action: Action, result: str) -> None:
    async with at_work(ScriptedTarget(answers=answering(result))) as (actuator, _, notes):
        task = actuator.run("edge", action, notes, lambda: True)
        await asyncio.sleep(0.02)
        assert notes.told == []
        await task
        assert notes.told == [(result, 1), ("settled", 1)]


@pytest.mark.parametrize("result", ["unknown", "unavailable"])
async def test_without_an_answer_only_the_host_concerned_is_looked_at(result: str) -> None:
    target = ScriptedTarget(hosts={"h1": HostView("h1"), "h2": HostView("h2")}, answers=answering(result))
    async with at_work(target) as (actuator, _, notes):
        await actuator.run("edge", REMOVE, notes, lambda: True)
        assert notes.told == [(result, 0), ("settled", 1)]
        assert target.listed == ["h1"]


async def test_many_actions_without_an_answer_share_their_looks() -> None:
    async with at_work(ScriptedTarget(answers=answering("unknown"))) as (actuator, _, notes):
        gate = notes.target.held["h1"] = asyncio.Event()
        asyncio.get_running_loop().call_later(0.3, gate.set)
        await asyncio.gather(*(actuator.run("edge", REMOVE, notes, lambda: True) for _ in range(30)))
        assert len(notes.target.listed) == 2


async def test_a_resolution_without_an_answer_needs_no_look() -> None:
    async with at_work(ScriptedTarget(answers=answering("unavailable"))) as (actuator, _, notes):
        await actuator.run("edge", Resolve("web", RevisionSpec(image="shop/web:1")), notes, lambda: True)
        assert notes.told == [("unavailable", 0), ("settled", 0)]


async def test_ownership_that_ends_while_requests_drain_stops_nothing() -> None:
    router = DrainingRouter()
    target = ScriptedTarget()
    async with at_work(target, router) as (actuator, _, notes):
        owns = [True]
        task = actuator.run("edge", STOP, notes, lambda: owns[0])
        await asyncio.sleep(0.02)
        owns[0] = False
        router.gate.set()
        await task
        assert target.calls == []
        assert notes.told == [("settled", 0)]


async def test_what_is_drained_is_stopped_by_who_still_owns_it() -> None:
    router = DrainingRouter()
    target = ScriptedTarget()
    async with at_work(target, router) as (actuator, _, notes):
        router.gate.set()
        await actuator.run("edge", STOP, notes, lambda: True)
        assert target.calls == [STOP]
        assert notes.told == [("done", 0)]


async def test_nothing_is_called_for_a_partition_that_is_not_ours() -> None:
    target = ScriptedTarget()
    async with at_work(target) as (actuator, _, notes):
        await actuator.run("edge", REMOVE, notes, lambda: False)
        assert target.calls == []
        assert notes.told == [("settled", 0)]
