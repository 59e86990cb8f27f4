"""One owned partition at work: what an append covers, when calls are made, and what happens when either fails."""

from __future__ import annotations

import asyncio
import json
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
from autoscaler.errors import TooLarge
from autoscaler.hookspecs import hookimpl
from autoscaler.plugin_host import PluginHost
from autoscaler.ports.stream import INPUTS, Append, Outgoing, Topic, partition_of
from tests.core.builders import a_service
from tests.engine.instances import (
    as_json,
    at_work,
    audit,
    command,
    dead_letters,
    deployment,
    eventually,
    sample,
    store,
    store_record,
    stored_record,
    verdicts,
)
from tests.engine.scripted_target import ScriptedTarget, seen
from tests.engine.streams import Fate, MemoryLog, MemoryStream

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


def covered(append: Append) -> int:
    """Next deployment to be read."""
    return append.positions.get(Topic.DEPLOYMENTS, 0)


def decided_in(append: Append) -> list[str]:
    """Ids of the deployments that the append has a first record of."""
    events = [json.loads(record.value or b"") for record in append.records if record.topic is Topic.AUDIT]
    named = (event["data"]["event"] for event in events if event["data"]["verdict"])
    return list(dict.fromkeys(event["id"] for event in named if event is not None))


def passes_no_undecided_event(log: MemoryLog, identities: list[str]) -> bool:
    """Whether each append's position covers only deployments that are decided by then; ``identities`` by offset."""
    decided: set[str] = set()
    for append in log.appends:
        decided |= set(decided_in(append))
        if not set(identities[: covered(append)]) <= decided:
            return False
    return True


def first_verdicts(log: MemoryLog) -> list[str]:
    """Ids of events in the order of their first verdict."""
    return list(dict.fromkeys(identity for identity, _, _ in verdicts(log)))


def terminal(log: MemoryLog) -> list[str]:
    """Ids of events with a terminal verdict, as often as they have one."""
    return sorted(identity for identity, _, final in verdicts(log) if final)


@pytest.mark.parametrize("fate", ["unknown", "lost"])
async def test_after_an_append_of_unknown_fate_the_older_deployment_is_decided_before_the_newer(fate: Fate) -> None:
    log = MemoryLog()
    async with at_work(log) as working:
        await working.rests()
        working.stream.slow = asyncio.Event()
        log.send(deployment(version="1", identity="d-1"))
        await eventually(lambda: working.stream._next[Topic.DEPLOYMENTS, 0] == 1)
        log.send(deployment(version="2", identity="d-2"))
        await eventually(lambda: working.stream._next[Topic.DEPLOYMENTS, 0] == 2)
        working.stream.fates.append(fate)
        working.stream.slow.set()
        await eventually(lambda: terminal(log) == ["d-1", "d-2"])
        await working.rests()
    assert first_verdicts(log) == ["d-1", "d-2"]
    assert len(working.stream.taken_over) == 2
    assert passes_no_undecided_event(log, ["d-1", "d-2"])


async def test_what_is_read_while_the_partition_is_taken_over_again_waits_for_what_is_older() -> None:
    log = MemoryLog()
    async with at_work(log) as working:
        await working.rests()
        working.stream.slow_take_over = asyncio.Event()
        working.stream.fates.append("unknown")
        log.send(deployment(version="1", identity="d-1"))
        await eventually(lambda: len(working.stream.taken_over) == 2)
        log.send(deployment(version="2", identity="d-2"))
        await eventually(lambda: working.stream._next[Topic.DEPLOYMENTS, 0] == 2)
        working.stream.slow_take_over.set()
        await eventually(lambda: terminal(log) == ["d-1", "d-2"])
    assert first_verdicts(log) == ["d-1", "d-2"]
    assert passes_no_undecided_event(log, ["d-1", "d-2"])


async def test_what_was_surely_not_written_is_written_again_without_a_take_over() -> None:
    log = MemoryLog()
    async with at_work(log) as working:
        await working.rests()
        working.stream.fates += ["unavailable", "unavailable"]
        log.send(deployment())
        await eventually(lambda: terminal(log) == ["d-1"])
    assert len(working.stream.taken_over) == 1
    assert working.member.counters.append_failures == 2


async def test_a_partition_whose_records_can_never_be_written_stops_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = MemoryLog()
    async with at_work(log) as working:
        await working.rests()
        tried: list[Append] = []

        async def refuse(append: Append) -> None:
            tried.append(append)
            raise TooLarge("much too large", "state", b"web", 9_000_000)

        monkeypatch.setattr(working.stream, "append", refuse)
        log.send(deployment())
        await eventually(working.face.unready)
        assert working.face.unready() == "restoring partitions 0"
        assert len(tried) == 1


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


async def test_at_most_a_hundred_deployments_are_decided_in_one_append() -> None:
    log = MemoryLog()
    identities = [f"d-{number}" for number in range(250)]
    for identity in identities:
        log.send(deployment(version=identity, identity=identity))
    for number in range(60):
        log.send(command("web", "scale", f"c-{number}", replicas=1 + number % 3))
    wanted = {Topic.DEPLOYMENTS: 250, Topic.CONTROL: 60}
    async with at_work(log):
        await eventually(lambda: log.appends and wanted.items() <= log.appends[-1].positions.items(), 40.0)
    assert len({identity for identity, _, _ in verdicts(log)}) == 310
    decided: set[str] = set()
    for append in log.appends:
        new = set(decided_in(append)) - decided
        assert len(new) <= 100
        decided |= new
    assert passes_no_undecided_event(log, identities)
    assert first_verdicts(log)[:250] == identities


async def test_a_flood_of_junk_metrics_is_buried_in_parts() -> None:
    log = MemoryLog()
    for number in range(5000):
        log.put(Topic.METRICS, 0, b"web", b"junk %d" % number)
    async with at_work(log):
        await eventually(lambda: len(log.topics[Topic.DLQ, 0]) == 5000, 30.0)
    letters = [sum(r.topic is Topic.DLQ for r in append.records) for append in log.appends]
    assert sum(letters) == 5000
    assert max(letters) < runner_module.SLICE_MESSAGES + runner_module.REJECTED_A_TURN


@pytest.fixture
def small_backlog(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading is paused at more than twenty waiting messages."""
    monkeypatch.setattr(runner_module, "BACKLOG_MESSAGES", 20)


@pytest.mark.usefixtures("small_backlog")
@pytest.mark.parametrize("fate", ["done", "unknown", "fenced"])
async def test_reading_is_paused_at_the_bound_and_no_deployment_is_lost(fate: Fate) -> None:
    log = MemoryLog()
    identities = [f"d-{number}" for number in range(60)]
    async with at_work(log) as working:
        await working.rests()
        working.stream.slow = asyncio.Event()
        log.send(deployment(version="d-0", identity="d-0"))
        await eventually(lambda: working.stream._next[Topic.DEPLOYMENTS, 0] == 1)
        for identity in identities[1:]:
            log.send(deployment(version=identity, identity=identity))
        await eventually(lambda: working.stream.paused)
        working.stream.fates.append(fate)
        working.stream.slow.set()
        await eventually(lambda: len({i for i, _, _ in verdicts(log)}) == 60)
        await eventually(lambda: not working.stream.paused)
    assert {topic for topic, _ in working.stream.pauses} == set(INPUTS)
    assert passes_no_undecided_event(log, identities)


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


def decoder(answer: Any) -> ModuleType:
    """A plugin that takes every foreign message that begins with ``load``."""
    module = ModuleType("decoder")

    def decode(message: Any) -> list[dict[str, Any]] | None:
        return [answer] if message["value"].startswith(b"load") else None

    module.decode = hookimpl(decode)  # type: ignore[attr-defined]
    return module


def decoded_event(value: float) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "m-1",
        "source": "/meter",
        "type": "io.eventscaler.metric.v1",
        "subject": "web",
        "data": {"load": value},
    }


async def test_what_a_decoder_knows_becomes_an_event_and_what_none_knows_a_dead_letter() -> None:
    log = MemoryLog()
    plugins = PluginHost.of_modules(decoder=decoder(decoded_event(7.0)))
    async with at_work(log, plugins=plugins) as working:
        log.put(Topic.METRICS, 0, b"meter", b"load 7")
        log.put(Topic.METRICS, 0, b"meter", b"weather fine")
        await eventually(lambda: working.member.counters.samples["folded"] == 1)
        await eventually(lambda: dead_letters(log))
        await working.rests()
    assert dead_letters(log) == ["not_json"]
    assert len(working.client.published) == 1


async def test_a_number_that_is_none_from_a_decoder_becomes_a_dead_letter() -> None:
    log = MemoryLog()
    plugins = PluginHost.of_modules(decoder=decoder(decoded_event(float("nan"))))
    async with at_work(log, plugins=plugins) as working:
        log.put(Topic.METRICS, 0, b"meter", b"load 7")
        await eventually(lambda: dead_letters(log))
        log.send(deployment())
        await eventually(lambda: terminal(log) == ["d-1"])
    assert working.client.published == []


async def test_a_message_on_a_foreign_partition_is_moved_once_and_then_buried() -> None:
    log = MemoryLog(partitions=3)
    moved = deployment()
    wrong = next(p for p in range(3) if p != home(log, b"web"))
    log.put(Topic.DEPLOYMENTS, wrong, b"web", moved.value, moved.headers)
    async with at_work(log) as working:
        await eventually(lambda: ("d-1", "applied", True) in verdicts(log, home(log, b"web")))
        (place,) = working.client.published
        again = log.topics[Topic.DEPLOYMENTS, place.partition][place.offset]
        log.put(Topic.DEPLOYMENTS, wrong, again.key, again.value, again.headers)
        await eventually(lambda: dead_letters(log, wrong) == ["wrong_partition"])
        assert len(working.client.published) == 1
    assert [event["data"]["verdict"] for event in audit(log, wrong)] == ["rejected"]


def home(log: MemoryLog, service: bytes) -> int:
    return partition_of(service, log.partitions)


async def test_samples_are_folded_again_after_a_crash() -> None:
    log = MemoryLog()
    now = time.time()
    store(log, a_service(0))
    for age in range(20, 0, -1):
        log.send(sample(load=5.0, at=now - age), at=now - age)
    store_record(log, positions={Topic.METRICS: 15}, at=now - 5)
    async with at_work(log) as working:
        await eventually(lambda: working.member.counters.samples["folded"] == 20)
        await working.rests()


async def test_positions_beyond_a_topic_that_was_made_anew_begin_at_its_oldest() -> None:
    log = MemoryLog()
    store_record(log, positions={Topic.DEPLOYMENTS: 90, Topic.CONTROL: 4, Topic.METRICS: 1000})
    async with at_work(log) as working:
        log.send(Outgoing(Topic.DEPLOYMENTS, b"web", deployment().value, deployment().headers))
        await eventually(lambda: terminal(log) == ["d-1"])
        log.send(sample(load=1.0))
        await eventually(lambda: working.member.counters.samples["folded"] == 1)
    assert stored_record(log).positions[Topic.DEPLOYMENTS] == 1


async def test_a_state_that_cannot_be_read_stops_its_partition_alone() -> None:
    log = MemoryLog(partitions=3)
    mine = home(log, b"web")
    broken = next(p for p in range(3) if p != mine)
    log.put(Topic.STATE, broken, b"other", as_json({"schema": 99}))
    async with at_work(log, stream=MemoryStream(log)) as working:
        log.send(deployment())
        await eventually(lambda: ("d-1", "applied", True) in verdicts(log, mine))
        assert working.face.unready() == f"restoring partitions {broken}"
