"""Partitions and forwarding."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.errors import EventRejected
from autoscaler.events.routing import forward, right_partition, was_forwarded
from autoscaler.ports.stream import Topic
from tests.events.messages import a_message, an_event


def test_right_partition_is_where_the_default_partitioner_puts_the_key() -> None:
    assert [p for p in range(12) if right_partition(b"checkout", 12, p)] == [10]


def test_forwarded_message_is_the_same_under_its_services_key() -> None:
    message = a_message(an_event(), key=None)
    moved = forward(message, Topic.METRICS, "checkout")
    assert (moved.topic, moved.key, moved.value) == (Topic.METRICS, b"checkout", message.value)
    assert moved.headers[:-1] == message.headers
    assert was_forwarded(moved.headers)


def test_message_is_forwarded_once_only() -> None:
    message = a_message(an_event())
    moved = replace(message, headers=forward(message, Topic.METRICS, "checkout").headers)
    with pytest.raises(EventRejected) as caught:
        forward(moved, Topic.METRICS, "checkout")
    assert caught.value.code == "wrong_partition"
