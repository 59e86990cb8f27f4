"""`doctor` asks the lag of each consumer group that is polled, and says what it found or what keeps it from asking."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.cli.instance import Project, eventually
from tests.conftest import KafkaBroker
from tests.parts import kafka

ENTRY = "{{group: {group}, topics: [{topics}], service: shop, name: {name}, every: 5s, brokers: ['{brokers}']{more}}}"


def an_entry(brokers: str, group: str, *topics: str, name: str = "lag", more: str = "") -> str:
    return ENTRY.format(group=group, topics=", ".join(topics), name=name, brokers=brokers, more=more)


def polling(project: Project, *entries: str) -> Project:
    """The project, with those groups to poll."""
    file = Path(project.file)
    file.write_text(f"{file.read_text()}metrics: {{kafka: [{', '.join(entries)}]}}\n")
    return project


def findings(project: Project) -> dict[str, dict[str, Any]]:
    """By what they are about."""
    told = json.loads(project.call("doctor", "--json").stdout)
    return {finding["about"]: finding for finding in told["findings"]}


async def make_topic(brokers: str, name: str, partitions: int, **access: Any) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers, **access)
    await admin.start()
    await admin.create_topics([NewTopic(name, partitions, 1)])
    await admin.close()


async def send_and_read(brokers: str, topic: str, group: str, sent: int, read: int) -> None:
    """So many messages on the first partition, of which the group has read so many."""
    async with AIOKafkaProducer(bootstrap_servers=brokers) as producer:
        for number in range(sent):
            await producer.send(topic, b"%d" % number, partition=0)
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=brokers, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
        max_poll_records=1,
    )  # fmt: skip
    async with asyncio.timeout(30), consumer:
        for _ in range(read):
            await consumer.getone()
        await consumer.commit()


@pytest.fixture
def topic(kafka_broker: KafkaBroker) -> str:
    """A topic of two partitions."""
    name = f"jobs-{uuid.uuid4().hex[:8]}"
    asyncio.run(make_topic(str(kafka_broker), name, 2))
    return name


def test_the_lag_of_a_group_is_asked_and_told(project: Project, kafka_broker: KafkaBroker, topic: str) -> None:
    asyncio.run(send_and_read(str(kafka_broker), topic, f"{topic}-workers", sent=5, read=2))
    polling(project, an_entry(str(kafka_broker), f"{topic}-workers", topic, more=", offset_reset: earliest"))
    told = findings(project)[f"{topic}-workers/{topic}"]
    text = f"group {topic}-workers on topic {topic}, 2 partitions: is behind by 3, on 1 of them"
    assert (told["grade"], told["text"], told["remedy"]) == ("ok", text, "")


def test_a_group_that_nobody_knows_is_worth_a_look(project: Project, kafka_broker: KafkaBroker, topic: str) -> None:
    polling(project, an_entry(str(kafka_broker), f"{topic}-wrokers", topic))
    name = f"{topic}-wrokers/{topic}"
    told = eventually(lambda: findings(project).get(name))
    assert told["grade"] == "look"
    assert "has committed nothing" in told["text"]
    assert told["text"].endswith("counts as a lag of 2")
    assert told["remedy"] == "Correct group under metrics.kafka, or start a consumer of it."


def test_one_group_in_trouble_hides_no_other(project: Project, kafka_broker: KafkaBroker, topic: str) -> None:
    asyncio.run(send_and_read(str(kafka_broker), topic, f"{topic}-workers", sent=1, read=1))
    polling(
        project,
        an_entry(str(kafka_broker), "lost", f"{topic}-not", name="first"),
        an_entry(str(kafka_broker), f"{topic}-workers", topic, name="second", more=", offset_reset: earliest"),
        an_entry("127.0.0.1:9", "away", topic, name="third"),
    )
    found = findings(project)
    assert found["lost"]["grade"] == "wrong"
    assert found["lost"]["text"].endswith(f"no topic {topic}-not, or this user may not see it")
    assert found["lost"]["remedy"] == "Create it or correct topics."
    assert found[f"{topic}-workers/{topic}"]["text"].endswith("2 partitions: is up to date")
    assert found["away"]["grade"] == "wrong"
    assert "no broker could be reached" in found["away"]["text"]
    assert found["away"]["remedy"] == "Check brokers and security.protocol."
    assert project.call("doctor").exit_code == 1


def test_a_user_without_the_rights_is_told_which(project: Project, start_kafka: Any) -> None:
    broker: kafka.Kafka = start_kafka(secured=True)
    assert broker.tls is not None
    asyncio.run(make_topic(broker.bootstrap, "jobs", 1, **broker.client_settings()))
    (project.directory / "password").write_text(kafka.USERS["alice"])
    security = f"{{username: alice, password_file: ./password, ca_file: {broker.tls.ca}}}"
    polling(project, an_entry(broker.bootstrap, "workers", "jobs", more=f", security: {security}"))
    told = findings(project)["workers"]
    assert told["text"].endswith("no topic jobs, or this user may not see it")
    broker.allow("alice", "Describe", "--topic", "jobs")
    told = eventually(
        lambda: (
            (one := findings(project)["workers"])["text"].startswith("kafka") and "no topic" not in one["text"] and one
        )
    )
    assert told["grade"] == "wrong"
    assert told["text"].endswith("this user may not look at group workers (GroupAuthorizationFailedError)")
    assert told["remedy"] == "Grant it Describe on the group and on its topics."
    broker.allow("alice", "Describe", "--group", "workers")
    assert eventually(lambda: findings(project).get("workers/jobs"))["grade"] == "look"
