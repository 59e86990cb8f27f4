"""The real parts come up, are shared, and are the real thing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import docker
import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.parts import kafka


async def exchange(bootstrap: str, topic: str, settings: dict[str, Any]) -> bytes | None:
    """Make a topic, write one message in a transaction and read it back."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, **settings)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{topic}-writer", **settings)
    await producer.start()
    async with producer.transaction():
        await producer.send_and_wait(topic, b"hello")
    await producer.stop()
    options = {"auto_offset_reset": "earliest", "isolation_level": "read_committed"}
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, **options, **settings)
    await consumer.start()
    message = await asyncio.wait_for(consumer.getone(), 20)
    await consumer.stop()
    value: bytes | None = message.value
    return value


async def test_kafka_commits_a_transaction(kafka_broker: object) -> None:
    assert await exchange(str(kafka_broker), "parts-open", {}) == b"hello"


async def test_secured_kafka_admits_who_knows_the_password(secured_kafka_broker: kafka.Kafka) -> None:
    settings = secured_kafka_broker.client_settings()
    assert await exchange(secured_kafka_broker.bootstrap, "parts-secured", settings) == b"hello"


async def test_kafka_keeps_its_data_over_a_kill(start_kafka: Callable[..., kafka.Kafka]) -> None:
    broker = start_kafka()
    assert await exchange(broker.bootstrap, "before", {}) == b"hello"
    broker.kill()
    broker.restart()
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    topics = await admin.list_topics()
    await admin.close()
    assert "before" in topics


def test_docker_engine_answers(docker_host: str) -> None:
    client = docker.DockerClient(base_url=docker_host)
    try:
        assert client.version()["ApiVersion"]
    finally:
        client.close()


def test_prometheus_answers_a_query(prometheus_url: str) -> None:
    answer = httpx.get(f"{prometheus_url}/api/v1/query", params={"query": "1 + 1"}).json()
    assert answer["data"]["result"][1] == "2"


def test_container_hosts_are_three_engines(container_hosts: list[str]) -> None:
    # Their ids do not differ: all read the machine's one key.
    roots = set()
    for url in container_hosts:
        client = docker.DockerClient(base_url=url)
        try:
            roots.add(client.info()["DockerRootDir"])
        finally:
            client.close()
    assert len(roots) == 3
