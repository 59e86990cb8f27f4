"""The simulated stream: the semantics of the stream port on virtual time, for one partition, with failures on demand.

Appends are atomic; a take-over fences the former owner; a reader starts where it says. Nothing here is asynchronous:
the world decides when something happens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Literal

from autoscaler.errors import Fenced, StreamError
from autoscaler.ports.stream import Append, Batch, Headers, Restored, StoredMessage, Topic

Fate = Literal["done", "unavailable", "lost", "unknown"]
"""What becomes of an append: done; not written; written and the answer lost; not written and the answer lost."""


class SimLog:
    """All topics of partition 0. ``epoch`` is the present owner's; ``appends`` counts what was written."""

    def __init__(self) -> None:
        self.topics: dict[Topic, list[StoredMessage]] = defaultdict(list)
        self.epoch = 0
        self.appends = 0
        self.committed: dict[Topic, int] = {}

    def publish(self, topic: Topic, key: str, value: bytes, at: float, headers: Headers = ()) -> int:
        """An input event becomes durable; its offset."""
        messages = self.topics[topic]
        offset = len(messages)
        messages.append(StoredMessage(offset, int(at * 1000), key.encode(), value, tuple(headers)))
        return offset

    def take_over(self) -> tuple[int, Restored]:
        """Fence the former owner; the new epoch, and what the partition holds."""
        self.epoch += 1
        latest: dict[bytes, StoredMessage] = {}
        for message in self.topics[Topic.STATE]:
            if message.key is not None:
                latest[message.key] = message
        inputs = (Topic.DEPLOYMENTS, Topic.CONTROL, Topic.METRICS)
        ends = {topic: len(self.topics[topic]) for topic in inputs}
        return self.epoch, Restored(tuple(latest.values()), dict.fromkeys(inputs, 0), ends)

    def append(self, epoch: int, append: Append, at: float, fate: Fate = "done") -> None:
        """Write all of it or nothing. Raises `Fenced` for a former owner, `StreamError` as ``fate`` says."""
        if epoch != self.epoch:
            raise Fenced("a newer owner has taken over")
        if fate == "unavailable":
            raise StreamError("the stream is away", outcome="unavailable")
        if fate == "unknown":
            raise StreamError("no answer", outcome="unknown")
        for record in append.records:
            messages = self.topics[record.topic]
            message = StoredMessage(len(messages), int(at * 1000), record.key, record.value, record.headers)
            messages.append(message)
        self.committed = {**self.committed, **append.positions}
        self.appends += 1
        if fate == "lost":
            raise StreamError("no answer", outcome="unknown")

    def read(self, topic: Topic, start: int, limit: int) -> Batch | None:
        """The next messages of an input, or None where there are none."""
        messages = self.topics[topic][start : start + limit]
        return Batch(topic, 0, messages) if messages else None

    def first_at(self, topic: Topic, at: float) -> int:
        """The offset of the first message at or after ``at``, or the end."""
        return next((m.offset for m in self.topics[topic] if m.timestamp >= at * 1000), len(self.topics[topic]))

    def positions(self) -> Mapping[Topic, int]:
        """How far the inputs are committed."""
        return dict(self.committed)
