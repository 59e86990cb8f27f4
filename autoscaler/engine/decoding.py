"""Foreign messages on the metrics topic: offered to decoder plugins, and published again as events of our own.

Only metric events come out of it, whatever a decoder says: the metrics topic can express neither an image nor a
command.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from autoscaler.engine.intake import Letter
from autoscaler.errors import EventRejected
from autoscaler.events.envelope import METRIC_TYPE, STRUCTURED_HEADERS, read_envelope
from autoscaler.events.rejection import FOREIGN, Rejection, rejected
from autoscaler.events.samples import samples_of
from autoscaler.ports.stream import Outgoing, StoredMessage, Topic

Decode = Callable[[Mapping[str, Any]], Awaitable[list[dict[str, Any]] | None]]

_FOREIGN_CODES = frozenset(code.value for code in FOREIGN)


def may_be_foreign(letter: Letter) -> bool:
    """Whether a decoder may know what the readers do not: a message on the metrics topic that is no CloudEvent at
    all."""
    return letter.topic is Topic.METRICS and letter.error.code in _FOREIGN_CODES


async def decoded(letter: Letter, topic_name: str, decode: Decode) -> list[Outgoing] | Letter:
    """The metric events that a decoder made of it, or the letter that stays: nobody's, or decoded into nonsense."""
    message = letter.message
    offered = {
        "topic": topic_name,
        "key": message.key,
        "headers": list(message.headers),
        "value": message.value,
        "timestamp": message.timestamp,
        "offset": message.offset,
    }
    events = await decode(offered)
    if events is None:
        return letter
    try:
        return _as_outgoing(events, message.timestamp)
    except EventRejected as error:
        return Letter(letter.topic, message, error, letter.service)


def _as_outgoing(events: Sequence[Mapping[str, Any]], timestamp: int) -> list[Outgoing]:
    outgoing = []
    for event in events:
        if event.get("type") != METRIC_TYPE:
            raise rejected(Rejection.WRONG_TYPE, f"a decoder gave something else than {METRIC_TYPE}", "type")
        value = _written(event)
        reading = samples_of(read_envelope(StoredMessage(0, timestamp, None, value, STRUCTURED_HEADERS)))
        outgoing.append(Outgoing(Topic.METRICS, reading.service.encode(), value, STRUCTURED_HEADERS))
    return outgoing


def _written(event: Mapping[str, Any]) -> bytes:
    """The event as JSON; a number that JSON has not is left for the reader to reject."""
    try:
        return json.dumps(event).encode()
    except (TypeError, ValueError, RecursionError) as error:
        text = f"a decoder gave what is no JSON value: {type(error).__name__}"
        raise rejected(Rejection.NOT_JSON, text) from None
