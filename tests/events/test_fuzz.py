"""No bytes make a reader raise anything but `EventRejected` with a code of the closed list."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import EventRejected
from autoscaler.events.arrivals import read_control, read_deployment
from autoscaler.events.envelope import identity_of, read_envelope
from autoscaler.events.examples import input_examples
from autoscaler.events.rejection import Rejection
from autoscaler.events.samples import read_samples
from autoscaler.ports.stream import StoredMessage
from tests.events.messages import BROKER_MS

CODES = {code.value for code in Rejection}
EXAMPLES = [json.dumps(event).encode() for event in input_examples().values()]

_names = st.sampled_from(
    ["content-type", "Content-Type", "ce_id", "ce_source", "ce_type", "ce_specversion", "ce_time", "ce_x", "x", "ce_A!"]
)
_contents = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [
            b"1.0",
            b"application/cloudevents+json",
            b"application/json",
            b"io.eventscaler.metric.v1",
            b"2026-11-23T10:00:00Z",
        ]
    ),
)
_headers = st.lists(st.tuples(_names, _contents), max_size=7).map(tuple)
_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
_keys = st.one_of(st.none(), st.just(b"checkout"), st.binary(max_size=80))


def read_every_way(message: StoredMessage) -> None:
    """Reads ``message`` as if it came on each input topic; what is rejected says so in print."""
    rejections: list[EventRejected] = []
    for read in (
        read_samples,
        lambda m: read_deployment(read_envelope(m), 0.0),
        lambda m: read_control(read_envelope(m), 0.0),
    ):
        try:
            read(message)
        except EventRejected as error:
            rejections.append(error)
    assert all(e.code in CODES and str(e).isprintable() and e.place.isprintable() for e in rejections)
    identity_of(message)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.none(), st.binary(max_size=200)), _keys, _headers, st.integers(-1, 2**62))
def test_any_bytes_are_read_or_rejected(
    value: bytes | None, key: bytes | None, headers: tuple[tuple[str, bytes], ...], timestamp: int
) -> None:
    read_every_way(StoredMessage(0, timestamp, key, value, headers))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(EXAMPLES), st.integers(0, 5000), st.integers(0, 8), st.binary(max_size=6), _headers)
def test_damaged_events_are_read_or_rejected(
    event: bytes, position: int, cut: int, piece: bytes, headers: tuple[tuple[str, bytes], ...]
) -> None:
    at = position % len(event)
    read_every_way(StoredMessage(0, BROKER_MS, b"checkout", event[:at] + piece + event[at + cut :], headers))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(EXAMPLES), st.dictionaries(st.sampled_from(["id", "time", "data", "x", "subject"]), _json), _json
)
def test_events_with_anything_in_them_are_read_or_rejected(event: bytes, changes: dict[str, Any], inner: Any) -> None:
    changed = json.loads(event) | changes
    if isinstance(changed["data"], dict):
        changed["data"] |= {"revision": inner, "replicas": inner, "samples": inner}
    read_every_way(StoredMessage(0, BROKER_MS, b"checkout", json.dumps(changed).encode(), ()))
