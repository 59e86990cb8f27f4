"""Takes the demo's own topics and group off the brokers again."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import DeleteGroupsRequest

from autoscaler.adapters.kafka.connection import connection_options
from autoscaler.adapters.topics import topic_name
from autoscaler.configuration.settings import Configuration
from autoscaler.ports.stream import Topic

REQUEST_S = 15.0
UNKNOWN_TOPIC = 3
UNKNOWN_GROUP = 69


async def delete_topics(configuration: Configuration) -> list[str]:
    """The six topics and the group are gone; what could not be deleted, in words."""
    names = [topic_name(configuration.stream.prefix, topic) for topic in Topic]
    admin = AIOKafkaAdminClient(**connection_options(configuration.stream, configuration.cluster, REQUEST_S))
    left: list[str] = []
    try:
        await admin.start()
        answer = await admin.delete_topics(names, timeout_ms=int(REQUEST_S * 1000))
        for name, code in answer.topic_error_codes:
            if code not in (0, UNKNOWN_TOPIC):
                left.append(f"topic {name} could not be deleted: {for_code(code).__name__}")
        left += await _delete_group(admin, configuration.cluster)
    except (KafkaError, OSError, TimeoutError) as error:
        left.append(f"topics {configuration.stream.prefix}.* could not be deleted: {error!r}")
    finally:
        await admin.close()
    return left


async def _delete_group(admin: AIOKafkaAdminClient, group: str) -> list[str]:
    """The library knows the request, but has no public method that sends it."""
    coordinator = await admin.find_coordinator(group)
    answer = await admin._send_request(DeleteGroupsRequest([group]), coordinator)  # noqa: SLF001
    failed = [for_code(code).__name__ for _, code in answer.results if code not in (0, UNKNOWN_GROUP)]
    return [f"group {group} could not be deleted: {name}" for name in failed]
