"""What we send is what we read."""

from __future__ import annotations

import json

import pytest

from autoscaler.errors import EventRejected
from autoscaler.events.arrivals import read_control, read_deployment
from autoscaler.events.envelope import read_envelope
from autoscaler.events.samples import Sample, _read_fast, read_samples
from autoscaler.events.writing import control_event, deployment_event, message_of, metric_event, samples_event
from autoscaler.ports.stream import Topic
from tests.events.messages import a_message

NOON = 1_795_428_000.0


def test_metric_event_is_read_on_the_fast_way() -> None:
    message = a_message(metric_event("checkout", {"queue": 840, "ratio": 0.5}, "/monitor/eu", at=NOON, id="m-1"))
    reading = read_samples(message)
    assert reading.samples == [Sample("queue", 840.0, NOON, None), Sample("ratio", 0.5, NOON, None)]
    assert _read_fast(message) == reading


def test_samples_event_carries_revisions() -> None:
    event = samples_event("checkout", [{"name": "errors", "value": 1, "revision": 3}], "/monitor/eu")
    assert read_samples(a_message(event)).samples == [Sample("errors", 1.0, NOON, 3)]


def test_deployment_and_control_events_are_read_back() -> None:
    deployed = read_deployment(
        read_envelope(a_message(deployment_event("checkout", {"image": "shop/checkout:2"}, "/ci/shop", "2"))), NOON
    )
    assert (deployed.spec.image, deployed.version, set(deployed.fields)) == ("shop/checkout:2", "2", {"image"})
    fields = {"replicas": 6, "for": "30m", "reason": "sale starts"}
    scaled = read_control(read_envelope(a_message(control_event("checkout", "scale", "/cli/ops", fields))), NOON)
    assert (scaled.command, scaled.replicas, scaled.for_s, scaled.reason) == ("scale", 6, 1800.0, "sale starts")


def test_ids_are_unique_where_none_is_given() -> None:
    made = {json.loads(metric_event("checkout", {"a": 1}, "/x"))["id"] for _ in range(100)}
    assert len(made) == 100


def test_what_would_be_rejected_is_not_sent() -> None:
    with pytest.raises(EventRejected):
        metric_event("checkout", {"a": float("nan")}, "/x")
    with pytest.raises(EventRejected):
        metric_event("Checkout", {"a": 1}, "/x")
    with pytest.raises(EventRejected):
        control_event("checkout", "restart", "/x")


def test_message_carries_key_and_structured_headers() -> None:
    outgoing = message_of(Topic.CONTROL, "checkout", b"{}")
    assert (outgoing.topic, outgoing.key, outgoing.value) == (Topic.CONTROL, b"checkout", b"{}")
    assert dict(outgoing.headers)["content-type"] == b"application/cloudevents+json; charset=UTF-8"
