"""Makes the topics on Kafka with the settings that the program relies on; existing ones are compared, never changed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from autoscaler.adapters.kafka.connection import CONNECT_S, connection_options, let_go, start, within
from autoscaler.adapters.topics import DAY_S, HOUR_S, MESSAGE_BYTES_MAX, RETENTION_S, compacted, topic_name
from autoscaler.configuration.settings import StreamSettings
from autoscaler.errors import ConfigurationError, Problem, StreamError
from autoscaler.ports.stream import Topic

REQUEST_S = 10.0
CREATE_S = 30.0
REPLICATION_MAX = 3
SEEN_MIN = 2


class KafkaAdmin:
    """A `TopicAdmin` on Kafka."""

    def __init__(self, settings: StreamSettings, cluster: str) -> None:
        self._settings = settings
        self._cluster = cluster
        self._names = {topic: topic_name(settings.prefix, topic) for topic in Topic}
        self._admin: Any = None

    async def create_topics(self) -> Sequence[str]:
        """Create what is missing; one line per topic. Raises `ConfigurationError` before anything is changed."""
        admin = await self._connected()
        listed = await within(CONNECT_S, admin.describe_topics(), "list the topics")
        found = {topic["topic"]: topic for topic in listed if not topic["error_code"]}
        settings = await self._settings_of(admin, [name for name in self._names.values() if name in found])
        problems = [
            problem
            for topic, name in self._names.items()
            if name in found
            for problem in self._differences(topic, len(found[name]["partitions"]), settings[name])
        ]
        if problems:
            raise ConfigurationError(problems)
        missing = [topic for topic, name in self._names.items() if name not in found]
        if missing:
            await self._create(admin, missing)
        return [
            self._line(topic, "created" if topic in missing else "exists", settings.get(name, {}))
            for topic, name in self._names.items()
        ]

    async def close(self) -> None:
        """Let go."""
        admin, self._admin = self._admin, None
        if admin is not None:
            await let_go(admin, 2.0)

    async def _connected(self) -> Any:
        if self._admin is None:
            options = connection_options(self._settings, self._cluster, REQUEST_S)
            admin = AIOKafkaAdminClient(**options)
            await start(admin, options, "connect to Kafka")
            self._admin = admin
        return self._admin

    async def _settings_of(self, admin: Any, names: Sequence[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        wanted = {"cleanup.policy": "", "message.timestamp.type": ""}
        resources = [ConfigResource(ConfigResourceType.TOPIC, name, wanted) for name in names]
        answers = await within(CONNECT_S, admin.describe_configs(resources), "read the topics' settings")
        settings: dict[str, dict[str, str]] = {}
        for answer in answers:
            for code, message, _, name, entries in answer.resources:
                if code:
                    raise StreamError(f"read the settings of {name}: {message or for_code(code).__name__}")
                settings[name] = {entry[0]: entry[1] for entry in entries}
        return settings

    def _differences(self, topic: Topic, partitions: int, settings: Mapping[str, str]) -> list[Problem]:
        path, problems = f"stream topic {self._names[topic]}", []
        if partitions != self._settings.partitions:
            what = f"has {partitions} partitions, stream.partitions says {self._settings.partitions}"
            problems.append(Problem(path, what, "Change the setting, or use another stream.prefix."))
        policy = settings.get("cleanup.policy", "")
        if ("compact" in policy.split(",")) != compacted(topic):
            wanted = "compact" if compacted(topic) else "delete"
            what = f"has cleanup.policy {policy}, it must be {wanted}"
            problems.append(Problem(path, what, "Change it on the broker."))
        return problems

    async def _create(self, admin: Any, missing: Sequence[Topic]) -> None:
        brokers = len((await within(CONNECT_S, admin.describe_cluster(), "count the brokers"))["brokers"])
        replication = self._settings.replication or min(REPLICATION_MAX, brokers)
        partitions = self._settings.partitions
        new = [
            NewTopic(self._names[topic], partitions, replication, topic_configs=_settings(topic, replication))
            for topic in missing
        ]
        answer = await within(CREATE_S, admin.create_topics(new, timeout_ms=int(CREATE_S * 1000)), "create the topics")
        for name, code, message in answer.topic_errors:
            # Somebody else may create them at the same moment; the caller compares when it opens them.
            if code not in (0, TopicAlreadyExistsError.errno):
                raise StreamError(f"create topic {name}: {message or for_code(code).__name__}")
        await self._await_leaders(admin, {self._names[topic] for topic in missing})

    async def _await_leaders(self, admin: Any, names: set[str]) -> None:
        """Brokers answer a creation before they all know of it; twice in a row, as each asks one at random."""
        loop = asyncio.get_running_loop()
        give_up_at, seen = loop.time() + CREATE_S, 0
        while seen < SEEN_MIN:
            listed = await within(CONNECT_S, admin.describe_topics(), "list the topics")
            led = {topic["topic"] for topic in listed if all(part["leader"] >= 0 for part in topic["partitions"])}
            seen = seen + 1 if names <= led else 0
            if loop.time() > give_up_at:
                raise StreamError(f"create the topics: {', '.join(sorted(names - led))} without leader. Try again")
            await asyncio.sleep(0.05)

    def _line(self, topic: Topic, done: str, settings: Mapping[str, str]) -> str:
        kept = "compacted" if compacted(topic) else f"kept {_span(RETENTION_S[topic])}"
        line = f"{self._names[topic]}: {done}, {self._settings.partitions} partitions, {kept}"
        if settings.get("message.timestamp.type") == "CreateTime":
            line += "; its times are the producers' own, set message.timestamp.type=LogAppendTime"
        return line


def _settings(topic: Topic, replication: int) -> dict[str, str]:
    settings = {
        "max.message.bytes": str(MESSAGE_BYTES_MAX[topic]),
        # Ages are measured by the broker's clock, not by those of all producers.
        "message.timestamp.type": "LogAppendTime",
        "min.insync.replicas": str(max(1, replication - 1)),
    }
    if compacted(topic):
        return settings | {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1", "segment.ms": "3600000"}
    return settings | {"cleanup.policy": "delete", "retention.ms": str(RETENTION_S[topic] * 1000)}


def _span(seconds: int) -> str:
    return f"{seconds // DAY_S} d" if seconds >= DAY_S else f"{seconds // HOUR_S} h"
