"""A recording of the past: what came in, in the order in which it came, and the trail of what was decided.

A file of it has one JSON document a line: a message of a topic as `recording_lines` writes it, or a CloudEvent of ours
as `audit --json` prints it or anybody sent it, whose ``time`` then says when.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoscaler.errors import ConfigurationError, EventRejected, Problem
from autoscaler.events.moments import read_time
from autoscaler.ports.stream import INPUTS, Message, StoredMessage, Topic

STRUCTURED = (("content-type", b"application/cloudevents+json"),)
_TOPICS = {
    "io.eventscaler.metric.v1": Topic.METRICS,
    "io.eventscaler.deployment.v1": Topic.DEPLOYMENTS,
    "io.eventscaler.control.v1": Topic.CONTROL,
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message of an input topic; its offset is its place within the recording."""

    topic: Topic
    message: StoredMessage

    @property
    def at(self) -> float:
        """The broker's time, in seconds."""
        return self.message.timestamp / 1000


@dataclass(frozen=True, slots=True)
class Recording:
    """``arrivals``: oldest first. ``trail``: audit events, by service and then seq."""

    arrivals: tuple[Arrival, ...]
    trail: tuple[Mapping[str, Any], ...]

    @property
    def begins_at(self) -> float | None:
        """The first moment that it tells of; None where it is empty."""
        moments = [arrival.at for arrival in self.arrivals[:1]]
        moments += [read_time(event["time"]) for event in self.trail]
        return min(moments, default=None)


def recorded(arrivals: Iterable[Arrival], trail: Iterable[Mapping[str, Any]]) -> Recording:
    """In order, and numbered; messages of one moment stand as deployments and commands first, as they are read."""
    places = {topic: place for place, topic in enumerate(INPUTS)}
    ordered = sorted(arrivals, key=lambda one: (one.message.timestamp, places[one.topic], one.message.offset))
    offsets = dict.fromkeys(INPUTS, 0)
    numbered = []
    for arrival in ordered:
        old = arrival.message
        message = StoredMessage(offsets[arrival.topic], old.timestamp, old.key, old.value, old.headers)
        offsets[arrival.topic] += 1
        numbered.append(Arrival(arrival.topic, message))
    known = {(event["subject"], event["data"]["seq"]): event for event in trail}
    return Recording(tuple(numbered), tuple(known[place] for place in sorted(known)))


def stored(message: Message) -> StoredMessage:
    """The message by itself, without its stream."""
    headers = tuple((name, bytes(value)) for name, value in message.headers)
    return StoredMessage(message.offset, message.timestamp, message.key, message.value, headers)


def recording_lines(recording: Recording) -> list[str]:
    """The lines of a file that `read_recording` reads."""
    return [*map(_line, recording.arrivals), *(json.dumps(event) for event in recording.trail)]


def _line(arrival: Arrival) -> str:
    message = arrival.message
    return json.dumps(
        {
            "topic": arrival.topic.value,
            "offset": message.offset,
            "timestamp": message.timestamp,
            "key": _text(message.key),
            "value": _text(message.value),
            "headers": [[name, _text(value)] for name, value in message.headers],
        }
    )


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)


def read_recording(path: Path) -> Recording:
    """The recording of a file. Raises `ConfigurationError` that names the first line which is none of a recording."""
    arrivals: list[Arrival] = []
    trail: list[Mapping[str, Any]] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = f"cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}"
        remedy = "Name what `replay --record` or `audit --json` wrote."
        raise ConfigurationError([Problem("recording", what, remedy, 0, str(path))]) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
            if "topic" in document:
                arrivals.append(_arrival(document))
            elif document["type"] in _TOPICS:
                arrivals.append(_sent(document, len(arrivals)))
            elif "seq" in document["data"]:
                read_time(document["time"])
                trail.append(document)
            else:
                raise KeyError("seq")
        except (ValueError, KeyError, TypeError, EventRejected) as error:
            remedy = "A line is an event with its time, or what `replay --record` wrote."
            problem = Problem("recording", "neither a message nor an event of ours", remedy, number, str(path))
            raise ConfigurationError([problem]) from error
    return recorded(arrivals, trail)


def _arrival(document: Mapping[str, Any]) -> Arrival:
    headers = tuple((str(name), _bytes(value) or b"") for name, value in document["headers"])
    message = StoredMessage(
        int(document["offset"]), int(document["timestamp"]), _bytes(document["key"]), _bytes(document["value"]), headers
    )
    return Arrival(Topic(document["topic"]), message)


def _sent(event: Mapping[str, Any], place: int) -> Arrival:
    at = read_time(event["time"])
    value = json.dumps(event).encode()
    message = StoredMessage(place, round(at * 1000), str(event["subject"]).encode(), value, STRUCTURED)
    return Arrival(_TOPICS[event["type"]], message)
