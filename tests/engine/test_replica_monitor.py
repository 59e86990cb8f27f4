"""The replica monitor over a target of real processes, and over one that does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest

from autoscaler.core.actions import Create, Start
from autoscaler.core.revision import RevisionSpec
from autoscaler.core.world import ObservedReplica
from autoscaler.engine.replica_monitor import ReplicaMonitor, ReplicaSample
from autoscaler.errors import EventRejected, StreamError, TargetError
from autoscaler.ports.metrics import PolledSample
from autoscaler.ports.target import Target, Usage
from tests.contract.arena_process import ProcessArena, open_arena

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def arena(request: pytest.FixtureRequest) -> Iterator[ProcessArena]:
    with open_arena(request) as opened:
        yield opened


class Topic:
    def __init__(self, error: StreamError | EventRejected | None = None) -> None:
        self.error = error
        self.samples: list[ReplicaSample] = []

    async def publish(self, service: str, samples: Sequence[PolledSample]) -> None:
        if self.error is not None:
            raise self.error
        for sample in samples:
            assert isinstance(sample, ReplicaSample)
            assert sample.service == service
            self.samples.append(sample)

    @property
    def values(self) -> dict[tuple[str, str, int | None], float]:
        return {(sample.service, sample.name, sample.revision): sample.value for sample in self.samples}


async def run_replicas(target: Target) -> list[ObservedReplica]:
    for slot, revision in enumerate((1, 1, 2)):
        name = f"web.s{slot}.r{revision}.{slot}"
        spec = RevisionSpec(command=("sleep", "60"))
        made = await target.create(Create("web", slot, revision, slot, "local", spec, 1, 1, "c", name))
        assert (await target.start(Start("web", "local", made.id, name))).result == "done"
    (listing,) = await target.list_replicas()
    return [replace(replica, healthy=replica.slot != 1) for replica in listing.replicas]


def a_monitor(target: Target, topic: Topic, replicas: list[ObservedReplica], *services: str) -> ReplicaMonitor:
    def observed(service: str) -> list[ObservedReplica]:
        return [replica for replica in replicas if replica.service == service]

    def restarts(service: str) -> Mapping[int, int]:
        return {1: 4, 2: 1} if service == "web" else {}

    def owned() -> frozenset[str]:
        return frozenset(services)

    return ReplicaMonitor([target], topic.publish, owned, observed, lambda: 50.0, restarts=restarts)


async def test_each_owned_service_and_each_of_its_revisions_is_told_of(arena: ProcessArena) -> None:
    target, topic = arena.target(), Topic()
    await target.open()
    monitor = a_monitor(target, topic, await run_replicas(target), "web", "idle")
    await monitor.publish_once()
    values = topic.values
    assert values["web", "replicas_ready", None] == 2
    assert values["web", "replicas_ready", 1] == 1
    assert values["web", "replicas_ready", 2] == 1
    assert values["web", "replicas_restarts_total", None] == 5
    assert values["web", "replicas_restarts_total", 1] == 4
    assert 100_000 < values["web", "memory_bytes", None] < 50_000_000
    assert values["web", "cpu_cores", 2] < 0.5
    assert values["idle", "replicas_ready", None] == 0
    assert ("idle", "memory_bytes", None) not in values
    assert {sample.at for sample in topic.samples} == {50.0}
    assert len({sample.id for sample in topic.samples}) == len(topic.samples)
    assert monitor.counts.samples == len(topic.samples)
    await target.close()


async def test_a_starting_replica_is_no_part_of_the_mean_and_a_sick_one_is() -> None:
    def named(slot: int, *, healthy: bool | None) -> ObservedReplica:
        name = f"web.s{slot}.r1.{slot}"
        return ObservedReplica(name, name, "web", slot, 1, slot, "local", "running", healthy=healthy)

    class Busy:
        name = "local"

        async def usage(self) -> Sequence[Usage]:
            return [Usage(f"web.s{slot}.r1.{slot}", "web", 1, float(10**slot), 1) for slot in range(3)]

    now, topic = [1000.0], Topic()
    replicas = [named(0, healthy=True), named(1, healthy=None)]
    monitor = ReplicaMonitor(
        [Busy()],
        topic.publish,
        lambda: frozenset({"web"}),
        lambda _: replicas,
        lambda: now[0],  # type: ignore[list-item]
    )

    async def mean() -> float | None:
        topic.samples.clear()
        await monitor.publish_once()
        return topic.values.get(("web", "cpu_cores", None))

    assert await mean() == 1.0, "the second starts, the third was not seen yet"
    replicas[0] = named(0, healthy=False)
    assert await mean() == 1.0, "one that was healthy is not starting again"
    now[0] += 119
    assert await mean() == 1.0
    now[0] += 1
    assert await mean() == 5.5, "after so long it is sick"
    replicas[:] = [named(2, healthy=None)]
    assert await mean() is None, "none that could be asked is unknown, not idle"
    replicas[:] = [named(2, healthy=True)]
    assert await mean() == 100.0


async def test_services_of_others_are_left_out(arena: ProcessArena) -> None:
    target, topic = arena.target(), Topic()
    await target.open()
    monitor = a_monitor(target, topic, await run_replicas(target), "idle")
    await monitor.publish_once()
    assert {sample.service for sample in topic.samples} == {"idle"}
    await target.close()


async def test_a_target_that_does_not_answer_leaves_out_usage_alone(
    arena: ProcessArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> Sequence[Usage]:
        raise TargetError("no answer", "unknown")

    target, topic = arena.target(), Topic()
    monkeypatch.setattr(target, "usage", fail)
    monitor = a_monitor(target, topic, [], "web")
    await monitor.publish_once()
    assert set(topic.values) == {("web", "replicas_ready", None), ("web", "replicas_restarts_total", None)}
    assert monitor.counts.usage_failures == 1


@pytest.mark.parametrize("error", [StreamError("no broker"), EventRejected("schema", "no such revision")])
async def test_what_cannot_be_published_is_counted(arena: ProcessArena, error: StreamError | EventRejected) -> None:
    monitor = a_monitor(arena.target(), Topic(error), [], "web")
    await monitor.publish_once()
    assert (monitor.counts.samples, monitor.counts.unpublished) == (0, 2)


async def test_running_goes_round_until_it_is_cancelled(arena: ProcessArena) -> None:
    topic = Topic()
    monitor = ReplicaMonitor(
        [arena.target()], topic.publish, lambda: frozenset({"web"}), lambda _: (), lambda: 1.0, every_s=0.02
    )
    running = asyncio.create_task(monitor.run())
    async with asyncio.timeout(20):
        while monitor.counts.rounds <= 2:
            await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert set(topic.values) == {("web", "replicas_ready", None)}
