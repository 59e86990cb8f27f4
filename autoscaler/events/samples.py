"""The hot path: one message of the metrics topic to its samples.

Called by the intake for every metric event. The fast ways take exactly the events that need no second look: the fastest
one an event as `autoscaler.events.writing` writes it, the other one our own envelope in structured mode with known
members, plain strings and finite numbers. Whatever differs in any respect goes the complete way through `read_envelope`
and the models, which alone says what is wrong. All ways read alike (tests/events/test_samples.py).
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from pydantic_core import from_json

from autoscaler.core.facts import EventRef
from autoscaler.errors import EventRejected
from autoscaler.events.arrivals import check_type, read_data
from autoscaler.events.envelope import (
    ATTRIBUTE_CHARS_MAX,
    EVENT_BYTES_MAX,
    METRIC_TYPE,
    STRUCTURED_HEADERS,
    Envelope,
    checked_source,
    read_envelope,
)
from autoscaler.events.forms import METRIC_NAME
from autoscaler.events.models import REVISION_NUMBER_MAX, SAMPLES_MAX, MetricData, SamplesModel
from autoscaler.events.moments import AHEAD_S_MAX, check_not_ahead, read_time
from autoscaler.events.routing import checked_service
from autoscaler.ports.stream import Headers, Message

METRIC_BYTES_MAX = EVENT_BYTES_MAX
"""Larger metric events are refused before they are parsed."""

METRICS: TypeAdapter[Any] = TypeAdapter(MetricData)
_METRIC_NAME = re.compile(METRIC_NAME.removeprefix("^").removesuffix("$"))
_new = tuple.__new__
_OUR_HEADER = STRUCTURED_HEADERS[0]
_PLAIN_CONTENT_TYPE = b"application/cloudevents+json"
_FAST_BYTES_MAX = 8192
_PRINTABLE = rb"([ !#-\[\]-~]{1,%d})" % ATTRIBUTE_CHARS_MAX
_as_written = re.compile(
    rb'\{"specversion":"1\.0","id":"' + _PRINTABLE + rb'","source":"' + _PRINTABLE + rb'","type":"'
    + re.escape(METRIC_TYPE.encode()) + rb'","subject":"([a-z0-9-]+)"'
    rb'(?:,"time":"([0-9T:-]{19})(?:\.([0-9]{1,6}))?Z")?,"datacontenttype":"application/json","data":(\{[^{}\\]+\})\}'
).fullmatch  # fmt: skip
_SECOND_CHARS = len("2026-11-23T10:00:00")
_MICROSECONDS_OF_DIGITS = (0, 100_000, 10_000, 1_000, 100, 10, 1)


class Sample(NamedTuple):
    """One value of one metric: ``at`` in seconds since the epoch; ``revision`` None where it speaks of all replicas."""

    name: str
    value: float
    at: float
    revision: int | None


class SampleReading(NamedTuple):
    """What one metric event says of one service; ``samples`` in the event's order, never empty. Not to be changed.

    A sample is the same as another if source, metric and time are. ``keyed`` False: the message had no key, so its
    partition may be wrong.
    """

    service: str
    source: str
    id: str
    samples: list[Sample]
    keyed: bool = True

    @property
    def ref(self) -> EventRef:
        """The event's identity."""
        return EventRef(self.source, self.id)


def read_samples(message: Message, bytes_max: int = METRIC_BYTES_MAX) -> SampleReading:
    """The samples in ``message``. Raises `EventRejected`, and nothing else; one bad sample rejects the whole event."""
    reading = _read_as_written(message) or _read_fast(message)
    if reading is not None:
        return reading
    return samples_of(read_envelope(message, bytes_max))


def samples_of(envelope: Envelope) -> SampleReading:
    """The samples of a metric event whose envelope was read already, by the complete way or by a decoder."""
    check_type(envelope, METRIC_TYPE)
    data = read_data(METRICS, envelope.data)
    at = envelope.at
    if isinstance(data, SamplesModel):
        samples = []
        for index, sample in enumerate(data.samples):
            place = f"data.samples[{index}].time"
            moment = at if sample.time is None else read_time(sample.time, place)
            check_not_ahead(moment, envelope.broker_at, place)
            samples.append(Sample(sample.name, sample.value, moment, sample.revision))
    else:
        samples = [Sample(name, value, at, None) for name, value in data.items()]
    return SampleReading(envelope.service, envelope.source, envelope.id, samples, envelope.keyed)


def _read_as_written(message: Message) -> SampleReading | None:
    """The reading of a flat event that has the very form that we write, or None."""
    value = message.value
    if value is None or len(value) > _FAST_BYTES_MAX or not _is_plain(message.headers):
        return None
    match = _as_written(value)
    if match is None:
        return None
    name, source, subject, second, fraction, held = match.groups()
    if subject != message.key:
        return None
    try:
        service = _service_keyed(subject)
        broker_at = at = message.timestamp / 1000
        if second is not None:
            at = _exactly(_second(second), fraction or b"0")
            if not 0 <= at <= broker_at + AHEAD_S_MAX:
                return None
        samples = _flat(from_json(held, allow_inf_nan=False, cache_strings="keys"), at)
        # No string but the names is in a flat map: more quotes mean a name that came twice.
        if held.count(b'"') != 2 * len(samples):
            return None
        return _new(SampleReading, (service, _source_written(source), name.decode(), samples, True))
    except (ValueError, TypeError, OverflowError, EventRejected):
        # Not swallowed: the complete way meets the same trouble and names it.
        return None


def _read_fast(message: Message) -> SampleReading | None:
    """The reading, or None where the complete way has to look."""
    value = message.value
    if value is None or len(value) > _FAST_BYTES_MAX or b"\\" in value or not _is_plain(message.headers):
        return None
    try:
        event = from_json(value, allow_inf_nan=False, cache_strings="keys")
        data = event["data"]
        service = _service_keyed(message.key)
        if event["type"] != METRIC_TYPE or event["specversion"] != "1.0" or event["subject"] != service:
            return None
        broker_at = at = message.timestamp / 1000
        known = 6
        if "time" in event:
            at = _moment(event["time"])
            known = 7
        if "datacontenttype" in event:
            if event["datacontenttype"] != "application/json":
                return None
            known += 1
        latest = broker_at + AHEAD_S_MAX
        if len(event) != known or not 0 <= at <= latest:
            return None
        if len(data) == 1 and type(data.get("samples")) is list:
            samples, quoted = _listed(data["samples"], at, latest)
            quoted += 1
        else:
            samples = _flat(data, at)
            quoted = len(samples)
        # Without a backslash every quote delimits a key or a string, so their number gives away a key that came twice:
        # the parser keeps the last one and says nothing. All attributes but data are strings here.
        if value.count(b'"') != 2 * (2 * known - 1 + quoted):
            return None
        return _new(SampleReading, (service, _known_source(event["source"]), _known_id(event["id"]), samples, True))
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, EventRejected):
        # Not swallowed: the complete way meets the same trouble and names it.
        return None


def _is_plain(headers: Headers) -> bool:
    # A message without headers is a structured event that a tool stripped; its four members are looked at in any case.
    if not headers:
        return True
    if len(headers) != 1:
        return False
    header = headers[0]
    return header == _OUR_HEADER or (header[0] == "content-type" and header[1] == _PLAIN_CONTENT_TYPE)


def _flat(data: dict[str, Any], at: float) -> list[Sample]:
    if not 0 < len(data) <= SAMPLES_MAX:
        raise ValueError
    samples = []
    for name, value in data.items():
        if type(value) is not float:
            value = _number(value)  # noqa: PLW2901 - a second name costs 20 ns a value here
        if value - value != 0.0:  # an infinity, which 1e999 makes
            raise ValueError
        samples.append(_new(Sample, (_known_name(name), value, at, None)))
    return samples


def _listed(items: list[dict[str, Any]], at: float, latest: float) -> tuple[list[Sample], int]:
    """The samples, and how many keys and strings they were written with."""
    if not 0 < len(items) <= SAMPLES_MAX:
        raise ValueError
    samples = []
    quoted = 0
    for item in items:
        value = _number(item["value"])
        moment = _moment(item["time"]) if "time" in item else at
        revision = item.get("revision")
        known = 2 + ("time" in item) + ("revision" in item)
        plain = revision is None or (type(revision) is int and 0 < revision <= REVISION_NUMBER_MAX)
        if value - value != 0.0 or not 0 <= moment <= latest or not plain or len(item) != known:
            raise ValueError
        quoted += known + 1 + ("time" in item)
        samples.append(Sample(_known_name(item["name"]), value, moment, revision))
    return samples, quoted


def _number(value: object) -> float:
    if type(value) is int or type(value) is float:
        return float(value)
    raise TypeError


def _moment(text: str) -> float:
    """Seconds since the epoch of the one common form of RFC 3339; ValueError of every other."""
    if text[-1] != "Z":
        raise ValueError
    second = _second(text[:_SECOND_CHARS].encode())
    fraction = text[_SECOND_CHARS:-1]
    if not fraction:
        return float(second)
    digits = fraction[1:]
    if fraction[0] != "." or not digits.isascii() or not digits.isdigit():
        raise ValueError
    return _exactly(second, digits.encode())


def _exactly(second: int, digits: bytes) -> float:
    """As `datetime` counts: whole microseconds, divided once."""
    return (second * 1_000_000 + int(digits) * _MICROSECONDS_OF_DIGITS[len(digits)]) / 1_000_000


@lru_cache(maxsize=1024)
def _second(text: bytes) -> int:
    """Whole seconds since the epoch; samples of a moment come together, so few are asked for again and again."""
    written = text.decode()
    if len(text) == _SECOND_CHARS and written[10] == "T" and written[7] == "-" and written[13] == ":" == written[16]:
        return int(datetime.fromisoformat(f"{written}+00:00").timestamp())
    raise ValueError


@lru_cache(maxsize=32768)
def _service_keyed(key: bytes | None) -> str:
    if key is None:
        raise ValueError
    return checked_service(key.decode())


@lru_cache(maxsize=8192)
def _known_name(name: str) -> str:
    if not _METRIC_NAME.fullmatch(name):
        raise ValueError
    return name


@lru_cache(maxsize=8192)
def _known_source(source: str) -> str:
    return checked_source(_known_id(source))


@lru_cache(maxsize=8192)
def _source_written(source: bytes) -> str:
    return _known_source(source.decode())


def _known_id(text: str) -> str:
    if 0 < len(text) <= ATTRIBUTE_CHARS_MAX and text.isprintable():
        return text
    raise ValueError
