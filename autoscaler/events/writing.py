"""Events as we send them: structured CloudEvents, the value of a message whose key is the service.

Called by ``emit``, ``scale`` and the other commands, by the metric readers, by tests and benchmarks. What is built here
passes the readers; whatever would not raises `EventRejected` before it is sent. Arguments are named as CloudEvents
names the attributes, `id` included.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from autoscaler.events.arrivals import CONTROL, DEPLOYMENT, read_data
from autoscaler.events.envelope import CONTROL_TYPE, DEPLOYMENT_TYPE, METRIC_TYPE, STRUCTURED_HEADERS
from autoscaler.events.moments import write_time
from autoscaler.events.routing import checked_service
from autoscaler.events.samples import METRICS
from autoscaler.ports.stream import Outgoing, Topic


def metric_event(
    service: str,
    values: Mapping[str, float],
    source: str,
    at: float | None = None,
    id: str | None = None,  # noqa: A002
) -> bytes:
    """A flat metric event; ``at`` in seconds since the epoch, without it the broker's time counts."""
    data = dict(values)
    read_data(METRICS, data)
    return event_bytes(METRIC_TYPE, service, data, source, at=at, id=id)


def samples_event(
    service: str,
    samples: Sequence[Mapping[str, Any]],
    source: str,
    at: float | None = None,
    id: str | None = None,  # noqa: A002
) -> bytes:
    """A metric event whose samples have a time or a revision of their own (``name value time revision``)."""
    data = {"samples": [dict(sample) for sample in samples]}
    read_data(METRICS, data)
    return event_bytes(METRIC_TYPE, service, data, source, at=at, id=id)


def deployment_event(
    service: str,
    revision: Mapping[str, Any],
    source: str,
    version: str = "",
    at: float | None = None,
    id: str | None = None,  # noqa: A002
) -> bytes:
    """A deployment of ``revision``, written as in the configuration: complete, or ``{"image": ...}`` alone."""
    data: dict[str, Any] = {"version": version} if version else {}
    data["revision"] = dict(revision)
    read_data(DEPLOYMENT, data)
    return event_bytes(DEPLOYMENT_TYPE, service, data, source, at=at, id=id)


def control_event(
    service: str,
    command: str,
    source: str,
    fields: Mapping[str, Any] | None = None,
    at: float | None = None,
    id: str | None = None,  # noqa: A002
) -> bytes:
    """An operator's command with its own ``fields`` (``replicas``, ``for``, ``to``, ``scope``, ``reason``)."""
    data: dict[str, Any] = {"command": command, **(fields or {})}
    read_data(CONTROL, data)
    return event_bytes(CONTROL_TYPE, service, data, source, at=at, id=id)


def event_bytes(
    type_: str,
    service: str,
    data: Mapping[str, Any],
    source: str,
    *,
    at: float | None = None,
    id: str | None = None,  # noqa: A002
    attributes: Mapping[str, str] | None = None,
) -> bytes:
    """Any structured event; ``id`` is new and unique where none is given, ``attributes`` are further ones."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": id or uuid.uuid4().hex,
        "source": source,
        "type": type_,
        "subject": checked_service(service),
    }
    if at is not None:
        event["time"] = write_time(at)
    event.update(attributes or {})
    event["datacontenttype"] = "application/json"
    event["data"] = data
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def message_of(topic: Topic, service: str, event: bytes) -> Outgoing:
    """What to publish: ``event`` under its service's key with the headers of structured mode."""
    return Outgoing(topic, service.encode(), event, STRUCTURED_HEADERS)
