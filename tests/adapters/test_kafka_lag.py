"""The lag of a consumer group as a source of metrics: its rules on given offsets, and what a real broker tells."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.kafka.group_offsets import GroupOffsets
from autoscaler.adapters.kafka.lag import KafkaLagSource, Standing, lag_of
from autoscaler.configuration.settings import KafkaLagSettings, StreamSettings
from autoscaler.errors import StreamError, TargetError
from tests.conftest import KafkaBroker
from tests.parts import kafka
from tests.system.patience import eventually

WORKER = frozenset({"worker"})
NOWHERE = StreamSettings(kind="kafka", brokers=("127.0.0.1:1",))


def settings_of(**changes: Any) -> KafkaLagSettings:
    given = {"group": "workers", "topics": ("jobs",), "service": "worker", "brokers": NOWHERE, "every_s": 5.0}
    return KafkaLagSettings(**{**given, **changes})


@dataclass
class Offsets:
    """Tells what it is given, or raises it."""

    found: dict[tuple[str, int], Standing | None] = field(default_factory=dict)
    error: StreamError | None = None

    async def standings(
        self, group: str, topics: Sequence[str], timeout_s: float
    ) -> Mapping[tuple[str, int], Standing | None]:
        assert (group, topics, timeout_s) == ("workers", ("jobs",), 5.0)
        if self.error is not None:
            raise self.error
        return self.found

    async def close(self) -> None:
        """Nothing to let go of."""


def jobs(*standings: tuple[int, int, int | None] | None) -> Offsets:
    return Offsets({("jobs", n): None if s is None else Standing(*s) for n, s in enumerate(standings)})


async def told(source: KafkaLagSource) -> tuple[float, ...]:
    samples = await source.poll(WORKER)
    assert [sample.name for sample in samples] == ["lag", "lag_partitions", "lag_partitions_with_lag"]
    return tuple(sample.value for sample in samples)


async def at_last(source: KafkaLagSource) -> tuple[float, ...]:
    """What it tells once the broker has found a coordinator for its groups, and all partitions a leader."""

    async def ask() -> tuple[float, ...] | str:
        try:
            return await told(source)
        except TargetError as error:
            return str(error)

    answer = await eventually("an answer", ask, lambda seen: not isinstance(seen, str))
    assert not isinstance(answer, str)
    return answer


def a_source(offsets: Offsets, now: list[float] | None = None, **changes: Any) -> KafkaLagSource:
    times = [100.0] if now is None else now
    return KafkaLagSource(settings_of(**changes), offsets, lambda: times[0])


@pytest.mark.parametrize(
    ("standing", "latest", "earliest"),
    [
        pytest.param((0, 30, 10), 20, 20, id="what_is_not_committed"),
        pytest.param((0, 30, 30), 0, 0, id="none"),
        pytest.param((25, 30, 10), 5, 5, id="what_retention_took_is_not_to_be_read"),
        pytest.param((5, 30, None), 1, 25, id="nothing_committed"),
        pytest.param((0, 0, None), 1, 0, id="nothing_committed_and_nothing_there"),
        pytest.param((0, 3, 40), 1, 3, id="committed_past_the_end_counts_for_nothing"),
    ],
)
def test_lag_of_a_partition(standing: tuple[int, int, int | None], latest: int, earliest: int) -> None:
    assert lag_of(Standing(*standing), "latest") == latest
    assert lag_of(Standing(*standing), "earliest") == earliest


@given(st.integers(0, 50), st.integers(0, 50), st.none() | st.integers(0, 120), st.sampled_from(["latest", "earliest"]))
def test_a_lag_is_never_negative_nor_more_than_is_kept(
    begin: int, kept: int, committed: int | None, reset: str
) -> None:
    assert 0 <= lag_of(Standing(begin, begin + kept, committed), reset) <= max(kept, 1)


async def test_the_lag_is_told_with_its_partitions_and_the_same_event_has_the_same_id() -> None:
    source = a_source(jobs((0, 30, 10), (0, 9, 9), (0, 5, 0)))
    assert await told(source) == (25.0, 3.0, 2.0)
    assert [(s.service, s.at, s.id) for s in await source.poll(WORKER)] == [
        (s.service, s.at, s.id) for s in await a_source(jobs((0, 30, 9), (0, 9, 9), (0, 5, 0))).poll(WORKER)
    ]
    assert len({s.id for s in await source.poll(WORKER)}) == 3
    assert await source.poll(frozenset({"other"})) == ()


async def test_without_lag_all_three_are_zero_so_that_none_keeps_a_service_from_zero() -> None:
    assert await told(a_source(jobs((0, 30, 30), (0, 9, 9)))) == (0.0, 0.0, 0.0)


async def test_a_partition_that_nobody_tells_of_makes_the_lag_unknown() -> None:
    with pytest.raises(TargetError, match="no broker tells of jobs/1") as raised:
        await a_source(jobs((0, 30, 10), None)).poll(WORKER)
    assert raised.value.outcome == "unavailable"


async def test_a_broker_that_does_not_answer_makes_the_lag_unknown() -> None:
    with pytest.raises(TargetError, match="kafka group workers as lag of worker: ask: no answer") as raised:
        await a_source(Offsets(error=StreamError("ask: no answer", "unknown"))).poll(WORKER)
    assert raised.value.outcome == "unknown"


async def test_what_nobody_moves_does_not_count_but_keeps_a_first_replica() -> None:
    now = [100.0]
    offsets = jobs((0, 30, 10), (0, 9, 4))
    source = a_source(offsets, now, persistent_s=60.0)
    assert await told(source) == (25.0, 2.0, 2.0), "at first sight nobody knows since when"
    now[0], offsets.found["jobs", 1] = 159.0, Standing(0, 9, 5)
    assert await told(source) == (24.0, 2.0, 2.0)
    now[0] = 160.0
    assert await told(source) == (4.0, 2.0, 1.0)
    now[0], offsets.found["jobs", 1] = 170.0, Standing(0, 9, 9)
    assert await told(source) == (1.0, 2.0, 1.0)
    now[0], offsets.found["jobs", 0] = 171.0, Standing(0, 30, 11)
    assert await told(source) == (19.0, 2.0, 1.0)


# --- a real broker


@dataclass
class Jobs:
    """A topic of three partitions and a group on the run's broker, of this test alone."""

    bootstrap: str
    topic: str
    group: str

    def source(self, topic: str = "", **changes: Any) -> KafkaLagSource:
        brokers = StreamSettings(kind="kafka", brokers=(self.bootstrap,))
        changes = {"group": self.group, "topics": (topic or self.topic,), "brokers": brokers} | changes
        return KafkaLagSource(settings_of(**changes), GroupOffsets(brokers, "lag-test"), lambda: 100.0)

    async def send(self, partition: int, count: int) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap) as producer:
            for number in range(count):
                await producer.send(self.topic, b"%d" % number, partition=partition)

    async def consume(self, count: int) -> None:
        """Read and commit so many as a member of the group."""
        consumer = AIOKafkaConsumer(
            self.topic,
            bootstrap_servers=self.bootstrap,
            group_id=self.group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        async with asyncio.timeout(30), consumer:
            for _ in range(count):
                await consumer.getone()
            await consumer.commit()


@pytest.fixture
async def work(kafka_broker: KafkaBroker) -> AsyncIterator[Jobs]:
    name = f"jobs-{uuid.uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=str(kafka_broker))
    await admin.start()
    await admin.create_topics([NewTopic(name, 3, 1)])
    yield Jobs(str(kafka_broker), name, f"{name}-workers")
    await admin.delete_topics([name])
    await admin.close()


async def test_the_real_lag_of_a_real_group(work: Jobs) -> None:
    source = work.source()
    assert await at_last(source) == (3.0, 3.0, 3.0), "nothing committed: one a partition, so that a consumer comes"
    await work.send(0, 4)
    await work.send(2, 3)
    from_the_start = work.source(offset_reset="earliest")
    assert await told(from_the_start) == (7.0, 3.0, 2.0)
    await from_the_start.close()
    await work.consume(7)
    assert await told(source) == (0.0, 0.0, 0.0)
    await work.send(1, 5)
    assert await told(source) == (5.0, 3.0, 1.0)
    await source.close()


async def test_to_ask_commits_nothing_and_joins_no_group(work: Jobs) -> None:
    await work.send(0, 2)
    source = work.source()
    assert await at_last(source) == (3.0, 3.0, 3.0)
    admin = AIOKafkaAdminClient(bootstrap_servers=work.bootstrap)
    await admin.start()
    committed = await admin.list_consumer_group_offsets(work.group, partitions=[TopicPartition(work.topic, 0)])
    groups = [name for name, *_ in await admin.list_consumer_groups()]
    await admin.close()
    await source.close()
    assert [each.offset for each in committed.values()] == [-1]
    assert work.group not in groups


async def test_a_topic_that_is_not_there_is_named_and_not_made(work: Jobs) -> None:
    source = work.source(topic=f"{work.topic}-not")
    with pytest.raises(TargetError, match=f"no topic {work.topic}-not, or this user may not see it"):
        await source.poll(WORKER)
    admin = AIOKafkaAdminClient(bootstrap_servers=work.bootstrap)
    await admin.start()
    topics = await admin.list_topics()
    await admin.close()
    await source.close()
    assert f"{work.topic}-not" not in topics


async def test_a_broker_that_is_away_is_unknown_and_then_asked_again(start_kafka: Any) -> None:
    broker: kafka.Kafka = start_kafka()
    jobs_of = Jobs(broker.bootstrap, "jobs", "workers")
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("jobs", 3, 1)])
    await admin.close()
    source = jobs_of.source()
    assert await at_last(source) == (3.0, 3.0, 3.0)
    broker.kill()
    with pytest.raises(TargetError):
        await source.poll(WORKER)
    await asyncio.to_thread(broker.restart)

    assert await at_last(source) == (3.0, 3.0, 3.0)
    await source.close()
