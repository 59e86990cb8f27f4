"""Messages for the tests of the readers: legal ones, of which a test changes one thing."""

from __future__ import annotations

import json
from typing import Any

from autoscaler.ports.stream import StoredMessage

BROKER_MS = 1_795_428_000_000
"""2026-11-23T10:00:00Z, the time of every example."""

STRUCTURED = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)


def an_event(type_: str = "metric", data: object = None, **attributes: Any) -> dict[str, Any]:
    """A legal event of checkout; an attribute given as None is left out."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/monitor/eu",
        "type": f"io.eventscaler.{type_}.v1",
        "subject": "checkout",
        "time": "2026-11-23T10:00:00Z",
        "datacontenttype": "application/json",
        "data": {"requests_per_second": 412.5, "error_ratio": 0.01} if data is None else data,
    }
    event.update(attributes)
    return {name: value for name, value in event.items() if value is not None}


def a_message(
    value: object,
    key: bytes | None = b"checkout",
    headers: tuple[tuple[str, bytes], ...] = STRUCTURED,
    timestamp: int = BROKER_MS,
) -> StoredMessage:
    """A message with ``value`` as it is where it is bytes, else as JSON."""
    raw = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
    return StoredMessage(7, timestamp, key, raw, headers)


def a_binary_message(data: object, *, key: bytes | None = b"checkout", **attributes: str) -> StoredMessage:
    """A legal metric event in binary mode."""
    named = {"specversion": "1.0", "id": "e-1", "source": "/monitor/eu", "type": "io.eventscaler.metric.v1"}
    headers = tuple((f"ce_{name}", text.encode()) for name, text in (named | attributes).items())
    return a_message(data, key, (("content-type", b"application/json"), *headers))
