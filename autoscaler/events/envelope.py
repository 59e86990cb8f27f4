"""CloudEvents 1.0 over Kafka: structured and binary mode in, structured out.

Called by the intake for deployments, control and everything unusual on the metrics topic. Knows the envelope, never
what is in ``data``. Source: cloudevents/spec `cloudevents/spec.md`, `bindings/kafka-protocol-binding.md`,
`formats/json-format.md`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, cast

from autoscaler.core.facts import EventRef
from autoscaler.errors import EventRejected
from autoscaler.events.moments import check_not_ahead, read_time
from autoscaler.events.places import printable
from autoscaler.events.rejection import Rejection, rejected
from autoscaler.events.routing import service_of
from autoscaler.events.strict_json import parse_strictly
from autoscaler.ports.stream import Headers, Message

EVENT_BYTES_MAX = 65536
"""CloudEvents: every hop passes 64 KiB. Checked before anything is parsed."""

STRUCTURED_CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
STRUCTURED_HEADERS: tuple[tuple[str, bytes], ...] = (("content-type", STRUCTURED_CONTENT_TYPE.encode()),)
"""The headers of every event that we write."""

METRIC_TYPE = "io.eventscaler.metric.v1"
DEPLOYMENT_TYPE = "io.eventscaler.deployment.v1"
CONTROL_TYPE = "io.eventscaler.control.v1"

REQUIRED = ("specversion", "id", "source", "type")
ATTRIBUTE_CHARS_MAX = 512
EXTENSION_CHARS_MAX = 2048
ATTRIBUTES_MAX = 64

_NAME = re.compile(r"[a-z0-9]{1,64}", re.ASCII)
_KNOWN = frozenset(
    {*REQUIRED, "subject", "time", "datacontenttype", "dataschema", "correlationid", "causationid", "expirytime"}
    | {"traceparent", "partitionkey"}
)
_JSON_TYPE = re.compile(r"(?:application/json|text/json|[a-z0-9.+-]+/[a-z0-9.+-]+\+json)", re.ASCII)

Mode = Literal["structured", "binary", "bare"]
Attribute = str | bool | int


@dataclass(frozen=True, slots=True)
class Envelope:
    """One event, its envelope checked and its ``data`` parsed but not yet understood.

    ``service`` is what key, subject and partitionkey agree on; ``keyed`` whether the message had a key. ``time``: the
    event's own, None where it says none; ``broker_at``: the broker's (0: none). Moments in seconds since the epoch.
    """

    id: str
    source: str
    type: str
    service: str
    time: float | None
    data: object
    broker_at: float
    keyed: bool = True
    subject: str = ""
    correlationid: str = ""
    causationid: str = ""
    expires_at: float | None = None
    traceparent: str = ""
    dataschema: str = ""
    extensions: Mapping[str, Attribute] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def ref(self) -> EventRef:
        """The event's identity."""
        return EventRef(self.source, self.id)

    @property
    def at(self) -> float:
        """When it happened: its own time, else the broker's."""
        return self.broker_at if self.time is None else self.time


def read_envelope(message: Message, bytes_max: int = EVENT_BYTES_MAX) -> Envelope:
    """The event in ``message``. Raises `EventRejected`, and nothing else, whatever the bytes are."""
    value = message.value
    check_size(value, message.headers, bytes_max)
    headers = counted_headers(message.headers)
    mode = mode_of(headers)
    if mode == "binary":
        attributes, data = _binary(headers, value)
    else:
        attributes, data = _structured(value, mode)
    traced = headers.get("traceparent", "")
    return _envelope(attributes, data, message, traced)


def identity_of(message: Message, bytes_max: int = EVENT_BYTES_MAX) -> EventRef | None:
    """Source and id of a message that was rejected, where they can be told: a verdict can then name its event."""
    try:
        check_size(message.value, message.headers, bytes_max)
        headers = counted_headers(message.headers)
        mode = mode_of(headers)
        if mode == "binary":
            attributes: Mapping[str, object] = _header_attributes(headers)
        else:
            attributes = _structured(message.value, mode)[0]
        return EventRef(_text(attributes, "source"), _text(attributes, "id"))
    except EventRejected:
        return None


def check_size(value: bytes | None, headers: Headers, bytes_max: int) -> None:
    """Raises `EventRejected` (too_large) where value and headers together are larger than ``bytes_max``."""
    size = len(value or b"") + sum(len(name) + len(content or b"") for name, content in headers)
    if size > bytes_max:
        raise rejected(Rejection.TOO_LARGE, f"{size} bytes; {bytes_max} are allowed")


def counted_headers(headers: Headers) -> dict[str, str]:
    """The headers that an envelope is made of, names in lower case; all others are somebody else's and stay unread."""
    counted: dict[str, str] = {}
    for name, content in headers:
        known = name.lower()
        if known not in {"content-type", "traceparent"} and not known.startswith("ce_"):
            continue
        if known in counted:
            raise rejected(Rejection.HEADER_TWICE, place=printable(known))
        try:
            counted[known] = (content or b"").decode()
        except UnicodeDecodeError:
            raise rejected(Rejection.NOT_UTF8, "the header is not UTF-8", printable(known)) from None
    return counted


def mode_of(headers: Mapping[str, str]) -> Mode:
    """How the event travels. ``bare``: no header says; it may still be a structured event that lost its headers."""
    media_type = _media_type(headers.get("content-type", ""))
    if media_type.startswith("application/cloudevents"):
        if media_type.startswith("application/cloudevents-batch"):
            raise rejected(Rejection.BATCH, place="content-type")
        if media_type != "application/cloudevents+json":
            raise rejected(Rejection.UNKNOWN_FORMAT, place="content-type")
        return "structured"
    return "binary" if all(f"ce_{name}" in headers for name in REQUIRED) else "bare"


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _structured(value: bytes | None, mode: Mode) -> tuple[Mapping[str, object], object]:
    if value is None:
        raise rejected(Rejection.EMPTY)
    event = parse_strictly(value)
    if not isinstance(event, dict):
        raise rejected(Rejection.NOT_CLOUDEVENT, "the value is no JSON object")
    if mode == "bare" and not all(name in event for name in REQUIRED):
        raise rejected(Rejection.NOT_CLOUDEVENT)
    if "data_base64" not in event:
        data = event.pop("data", None)
        if data is not None:
            _check_json_type(event.get("datacontenttype"))
        return event, data
    if "data" in event:
        raise rejected(Rejection.ATTRIBUTE, "data and data_base64 exclude each other", "data_base64")
    return event, _from_base64(event.pop("data_base64"), event.get("datacontenttype"))


def _from_base64(encoded: object, content_type: object) -> object:
    _check_json_type(content_type)
    text = encoded if isinstance(encoded, str) else "?"
    try:
        decoded = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise rejected(Rejection.ATTRIBUTE, "not base64", "data_base64") from None
    return parse_strictly(decoded, "data")


def _header_attributes(headers: Mapping[str, str]) -> dict[str, object]:
    attributes: dict[str, object] = {n.removeprefix("ce_"): v for n, v in headers.items() if n.startswith("ce_")}
    # The binding maps datacontenttype to content-type alone; a stray ce_ twin must not overrule it.
    attributes.pop("datacontenttype", None)
    return attributes


def _binary(headers: Mapping[str, str], value: bytes | None) -> tuple[Mapping[str, object], object]:
    attributes = _header_attributes(headers)
    if value is None:
        return attributes, None
    _check_json_type(headers.get("content-type"))
    return attributes, parse_strictly(value, "data")


def _check_json_type(content_type: object) -> None:
    if content_type is None or content_type == "":
        return
    if not isinstance(content_type, str) or not _JSON_TYPE.fullmatch(_media_type(content_type)):
        raise rejected(Rejection.CONTENT_TYPE, "data must be application/json", "datacontenttype")


def _text(attributes: Mapping[str, object], name: str, *, required: bool = True) -> str:
    value = attributes.get(name)
    if value is None and not required:
        return ""
    if value is None:
        raise rejected(Rejection.MISSING_ATTRIBUTE, "this attribute is required", name)
    if not isinstance(value, str):
        raise rejected(Rejection.ATTRIBUTE, "must be a string", name)
    if not value or len(value) > ATTRIBUTE_CHARS_MAX or not value.isprintable():
        text = f"must have 1 to {ATTRIBUTE_CHARS_MAX} printable characters"
        raise rejected(Rejection.ATTRIBUTE, text, name)
    return value


def checked_source(value: str) -> str:
    """``value`` where it can be a URI-reference. Raises `EventRejected` (attribute)."""
    if any(c in value for c in ' <>"\\^`{|}'):
        raise rejected(Rejection.ATTRIBUTE, "not a URI-reference", "source")
    return value


def _extensions(attributes: Mapping[str, object]) -> Mapping[str, Attribute]:
    if len(attributes) > ATTRIBUTES_MAX:
        raise rejected(Rejection.ATTRIBUTE, f"more than {ATTRIBUTES_MAX} attributes")
    extensions: dict[str, Attribute] = {}
    for name, value in attributes.items():
        if not _NAME.fullmatch(name):
            raise rejected(Rejection.ATTRIBUTE, "attribute names are lower-case letters and digits", printable(name))
        if name in _KNOWN or value is None:
            continue
        short = isinstance(value, str) and len(value) <= EXTENSION_CHARS_MAX
        if not short and not (isinstance(value, int) and -(2**31) <= value < 2**31):
            raise rejected(Rejection.ATTRIBUTE, "must be a string, a boolean or a 32-bit integer", name)
        extensions[name] = cast("Attribute", value)
    return extensions


def _time(attributes: Mapping[str, object], name: str) -> float | None:
    value = attributes.get(name)
    return None if value is None else read_time(value, name)


def _envelope(attributes: Mapping[str, object], data: object, message: Message, traced: str) -> Envelope:
    if _text(attributes, "specversion") != "1.0":
        raise rejected(Rejection.SPECVERSION, place="specversion")
    subject = _text(attributes, "subject", required=False)
    broker_at = max(message.timestamp, 0) / 1000
    time = _time(attributes, "time")
    if time is not None:
        check_not_ahead(time, broker_at)
    return Envelope(
        id=_text(attributes, "id"),
        source=checked_source(_text(attributes, "source")),
        type=_text(attributes, "type"),
        service=service_of(message.key, subject, _text(attributes, "partitionkey", required=False)),
        time=time,
        data=data,
        broker_at=broker_at,
        keyed=bool(message.key),
        subject=subject,
        correlationid=_text(attributes, "correlationid", required=False),
        causationid=_text(attributes, "causationid", required=False),
        expires_at=_time(attributes, "expirytime"),
        traceparent=_text(attributes, "traceparent", required=False) or (traced if traced.isprintable() else ""),
        dataschema=_text(attributes, "dataschema", required=False),
        extensions=_extensions(attributes),
    )
