"""What an append covers, and what happens when it fails: no event is passed over, and none is decided out of turn."""

from __future__ import annotations

import asyncio

import pytest

from autoscaler.engine import runner as runner_module
from autoscaler.errors import TooLarge
from autoscaler.ports.stream import INPUTS, Append, Topic
from tests.engine.appends import decided_in, first_verdicts, passes_no_undecided_event, terminal
from tests.engine.instances import at_work, command, deployment, eventually, verdicts
from tests.engine.streams import Fate, MemoryLog

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("impatient")]


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
