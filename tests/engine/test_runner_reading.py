"""What a partition at work reads: foreign messages, strangers, what was read before, and what nobody can read."""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any

import pytest

from autoscaler.engine import runner as runner_module
from autoscaler.hookspecs import hookimpl
from autoscaler.plugin_host import PluginHost
from autoscaler.ports.stream import Outgoing, Topic, partition_of
from tests.core.builders import a_service
from tests.engine.appends import terminal
from tests.engine.instances import (
    as_json,
    at_work,
    audit,
    dead_letters,
    deployment,
    eventually,
    sample,
    store,
    store_record,
    stored_record,
    verdicts,
)
from tests.engine.streams import MemoryLog, MemoryStream

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("impatient")]


async def test_a_flood_of_junk_metrics_is_buried_in_parts() -> None:
    log = MemoryLog()
    for number in range(5000):
        log.put(Topic.METRICS, 0, b"web", b"junk %d" % number)
    async with at_work(log):
        await eventually(lambda: len(log.topics[Topic.DLQ, 0]) == 5000, 30.0)
    letters = [sum(r.topic is Topic.DLQ for r in append.records) for append in log.appends]
    assert sum(letters) == 5000
    assert max(letters) < runner_module.SLICE_MESSAGES + runner_module.REJECTED_A_TURN


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
