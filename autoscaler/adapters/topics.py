"""What the six topics are called, how long they keep what they hold, and whether they are compacted.

Both stream adapters read this one table, so that a topic means the same on Kafka and in the embedded log. An observer
(``run --observe``) has the prefix ``<prefix>.observe``: it writes a ledger of its own, but the inputs that it reads are
the live ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from autoscaler.errors import TooLarge
from autoscaler.ports.stream import INPUTS, Headers, Topic

OBSERVER_SUFFIX = ".observe"

HOUR_S = 3600
DAY_S = 24 * HOUR_S

RETENTION_S: Mapping[Topic, int] = MappingProxyType(
    {
        Topic.METRICS: 6 * HOUR_S,
        Topic.DEPLOYMENTS: 14 * DAY_S,
        Topic.CONTROL: 14 * DAY_S,
        Topic.AUDIT: 365 * DAY_S,
        Topic.DLQ: 14 * DAY_S,
    }
)
"""Seconds that a topic keeps a message; the state topic is compacted instead and keeps the latest of each key."""

MESSAGE_BYTES_MAX: Mapping[Topic, int] = MappingProxyType(
    {
        Topic.METRICS: 1_048_588,
        Topic.DEPLOYMENTS: 1_048_588,
        Topic.CONTROL: 1_048_588,
        Topic.STATE: 8 * 1024 * 1024,
        Topic.AUDIT: 2 * 1024 * 1024,
        Topic.DLQ: 2 * 1024 * 1024,
    }
)
"""The largest message of a topic. Inputs: Kafka's default. A dead letter holds the largest input and headers."""

RECORD_BYTES = 128
HEADER_BYTES = 10
"""What Kafka's record format adds to a message and to each header, at most."""


def topic_name(prefix: str, topic: Topic) -> str:
    """The name of a topic on the stream, ``autoscaler.metrics``; an observer's inputs are those of the live prefix."""
    if topic in INPUTS:
        prefix = prefix.removesuffix(OBSERVER_SUFFIX)
    return f"{prefix}.{topic.value}"


def refuse_oversize(topic: Topic, key: bytes | None, value: bytes | None, headers: Headers, doing: str) -> None:
    """Raise `TooLarge` where a message is larger than its topic takes, before anything is written."""
    size = len(key or b"") + len(value or b"") + sum(len(name) + len(held) + HEADER_BYTES for name, held in headers)
    if size + RECORD_BYTES > MESSAGE_BYTES_MAX[topic]:
        text = f"{doing}: a message of {size} bytes is more than {topic} takes ({MESSAGE_BYTES_MAX[topic]})"
        raise TooLarge(text, topic.value, key or b"", size)


def compacted(topic: Topic) -> bool:
    """Whether the topic keeps the latest message of each key instead of everything for a time."""
    return topic not in RETENTION_S
