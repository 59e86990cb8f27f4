"""Whether the topics are there and fit together; asked before anything is opened on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient

from autoscaler.adapters.kafka.connection import CONNECT_S, let_go, start, within
from autoscaler.errors import ConfigurationError, Problem
from autoscaler.ports.stream import Topic

UNSEEN = "does not exist, or this user may not see it"
REMEDY = "Run `autoscaler topics create`."
EQUAL = "All topics need the number of partitions that stream.partitions says."


async def partitions_by_topic(options: Mapping[str, Any]) -> dict[str, int]:
    """Topic name -> partition count, of all topics that this user may see. Raises `StreamError` (unavailable)."""
    admin = AIOKafkaAdminClient(**options)
    await start(admin, options, "connect to Kafka")
    try:
        # All topics, not ours by name: asking by name would create them on a broker that creates topics by itself.
        found = await within(CONNECT_S, admin.describe_topics(), "list the topics")
    finally:
        await let_go(admin, 1.0)
    return {topic["topic"]: len(topic["partitions"]) for topic in found if not topic["error_code"]}


def agreed_partitions(found: Mapping[str, int], names: Mapping[Topic, str], expected: int | None) -> int:
    """How many partitions each topic has. Raises `ConfigurationError` where one is missing or they differ."""
    missing = [name for name in names.values() if name not in found]
    problems = [Problem(f"stream topic {name}", UNSEEN, REMEDY) for name in missing]
    counts = {name: found[name] for name in names.values() if name in found}
    if expected is not None:
        problems += [
            Problem(f"stream topic {name}", f"has {count} partitions, stream.partitions says {expected}", EQUAL)
            for name, count in counts.items()
            if count != expected
        ]
    elif len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        problems.append(Problem("stream topics", f"differ in partitions ({listed})", EQUAL))
    if problems:
        raise ConfigurationError(problems)
    return next(iter(counts.values()))
