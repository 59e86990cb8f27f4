"""The poller with a source in memory; the Prometheus source has its own tests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from autoscaler.engine.poller import Poller, backoff_s
from autoscaler.errors import EventRejected, StreamError, TargetError
from autoscaler.ports.metrics import PolledSample

pytestmark = pytest.mark.timeout(30)


def a_sample(service: str, value: float = 1.0) -> PolledSample:
    return PolledSample(service, "load", value, 100.0, f"{service}-{value}")


@dataclass
class MemorySource:
    """Answers with what it is given, or raises it; records what it was asked for."""

    name: str = "memory"
    every_s: float = 0.02
    known: frozenset[str] = frozenset({"web", "api"})
    answers: list[Sequence[PolledSample] | TargetError] = field(default_factory=list)
    asked: list[frozenset[str]] = field(default_factory=list)
    polled: asyncio.Event = field(default_factory=asyncio.Event)

    def services(self) -> frozenset[str]:
        return self.known

    async def poll(self, services: frozenset[str]) -> Sequence[PolledSample]:
        self.asked.append(services)
        self.polled.set()
        answer = self.answers.pop(0) if self.answers else [a_sample(service) for service in sorted(services)]
        if isinstance(answer, TargetError):
            raise answer
        return answer

    async def close(self) -> None:
        """Nothing to let go of."""


@dataclass
class Topic:
    """Keeps what is published; raises ``error`` where it is set."""

    published: list[tuple[str, Sequence[PolledSample]]] = field(default_factory=list)
    error: StreamError | EventRejected | None = None

    async def publish(self, service: str, samples: Sequence[PolledSample]) -> None:
        if self.error is not None:
            raise self.error
        self.published.append((service, samples))


@pytest.fixture
async def source() -> MemorySource:
    return MemorySource()


def a_poller(source: MemorySource, topic: Topic, owned: set[str]) -> Poller:
    return Poller([source], topic.publish, lambda: frozenset(owned), lambda: 1000.0)


async def test_only_owned_services_are_polled_and_each_is_published_for_itself(source: MemorySource) -> None:
    topic = Topic()
    source.answers = [[a_sample("web", 1.0), a_sample("web", 2.0)]]
    poller = a_poller(source, topic, {"web", "unknown to the source"})
    await poller.poll_once(source)
    assert source.asked == [frozenset({"web"})]
    assert topic.published == [("web", [a_sample("web", 1.0), a_sample("web", 2.0)])]
    counts = poller.counts["memory"]
    assert (counts.polls, counts.samples, counts.failures, counts.answered_at) == (1, 2, 0, 1000.0)


async def test_a_source_without_owned_services_is_not_polled(source: MemorySource) -> None:
    poller = a_poller(source, Topic(), set())
    await poller.poll_once(source)
    assert source.asked == []
    assert poller.counts["memory"].polls == 0


async def test_what_is_no_longer_owned_after_the_poll_is_not_published(source: MemorySource) -> None:
    topic, owned = Topic(), {"web", "api"}
    poller = Poller([source], topic.publish, lambda: frozenset(owned if not source.asked else {"api"}), lambda: 0.0)
    await poller.poll_once(source)
    assert [service for service, _ in topic.published] == ["api"]


async def test_failures_are_counted_and_told_until_the_source_answers_again(source: MemorySource) -> None:
    topic = Topic()
    source.answers = [TargetError("down", "unavailable"), TargetError("slow", "unknown")]
    poller = a_poller(source, topic, {"web"})
    await poller.poll_once(source)
    await poller.poll_once(source)
    counts = poller.counts["memory"]
    assert (counts.failures, counts.failures_in_a_row, counts.last_error, topic.published) == (2, 2, "slow", [])
    await poller.poll_once(source)
    assert (counts.failures, counts.failures_in_a_row, counts.last_error) == (2, 0, "")
    assert len(topic.published) == 1


async def test_samples_that_cannot_be_published_are_counted_and_not_kept(source: MemorySource) -> None:
    topic = Topic(error=StreamError("no broker"))
    poller = a_poller(source, topic, {"web", "api"})
    await poller.poll_once(source)
    counts = poller.counts["memory"]
    assert (counts.samples, counts.unpublished, counts.last_error) == (0, 2, "no broker")
    topic.error = None
    await poller.poll_once(source)
    assert len(topic.published) == 2


async def test_running_polls_again_and_again_until_it_is_cancelled(source: MemorySource) -> None:
    poller = a_poller(source, Topic(), {"web"})
    running = asyncio.create_task(poller.run())
    for _ in range(3):
        await asyncio.wait_for(source.polled.wait(), 2)
        source.polled.clear()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    asked = len(source.asked)
    await asyncio.sleep(0.06)
    assert len(source.asked) == asked


@pytest.mark.parametrize(
    ("every_s", "failures", "wait_s"),
    [(5.0, 0, 5.0), (5.0, 1, 10.0), (5.0, 3, 40.0), (5.0, 4, 60.0), (5.0, 5000, 60.0), (300.0, 2, 300.0)],
)
def test_the_wait_doubles_with_failures_up_to_a_minute(every_s: float, failures: int, wait_s: float) -> None:
    assert backoff_s(every_s, failures) == wait_s


async def test_samples_that_no_event_can_carry_are_counted_and_the_next_poll_goes_on(source: MemorySource) -> None:
    topic = Topic(error=EventRejected("schema", "must be a number", "data.samples[0].value"))
    poller = a_poller(source, topic, {"web"})
    await poller.poll_once(source)
    counts = poller.counts["memory"]
    assert (counts.samples, counts.unpublished, counts.last_error) == (0, 1, "must be a number")
    topic.error = None
    await poller.poll_once(source)
    assert counts.samples == 1
