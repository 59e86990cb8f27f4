"""Events as no producer of ours writes them: any bytes, any key, on any partition of a broker."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from autoscaler.adapters.topics import topic_name
from autoscaler.ports.stream import Topic
from tests.system.installation import SOURCE, STRUCTURED, Installation

REQUEST_BYTES = 32 * 1024 * 1024


def structured(type_: str, service: str, data: object, id: str, **attributes: object) -> bytes:  # noqa: A002
    """A structured event, unchecked."""
    kind = f"io.eventscaler.{type_}.v1"
    event: dict[str, Any] = {"specversion": "1.0", "id": id, "source": SOURCE, "type": kind, "subject": service}
    return json.dumps(event | attributes | {"data": data}).encode()


async def send_anywhere(
    installation: Installation,
    topic: Topic,
    value: bytes | None,
    key: bytes | None,
    partition: int,
    headers: Sequence[tuple[str, bytes]] = STRUCTURED,
) -> None:
    """Put bytes on a partition, whatever the key says; on a broker only."""
    producer = AIOKafkaProducer(bootstrap_servers=installation.stream["brokers"], max_request_size=REQUEST_BYTES)
    await producer.start()
    try:
        name = topic_name(installation.cluster, topic)
        await producer.send_and_wait(name, value, key=key, partition=partition, headers=list(headers))
    finally:
        await producer.stop()


async def let_through(installation: Installation, topic: Topic, size: int) -> None:
    """Let the topic take messages of that size."""
    admin = AIOKafkaAdminClient(bootstrap_servers=installation.stream["brokers"])
    await admin.start()
    try:
        name = topic_name(installation.cluster, topic)
        await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, name, configs={"max.message.bytes": str(size)})]
        )
    finally:
        await admin.close()
