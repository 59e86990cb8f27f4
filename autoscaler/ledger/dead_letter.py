"""Dead letters: what could not be read, byte for byte, with where it came from and why in added headers.

The same facts go under our own names and under those of Kafka Connect and Spring, so that existing tools show and
re-drive them. Sources: apache/kafka `connect/runtime/.../errors/DeadLetterQueueReporter.java`;
spring-projects/spring-kafka `.../support/KafkaHeaders.java` and `.../listener/DeadLetterPublishingRecoverer.java`
(numbers big-endian). No stack trace, no echo of the input.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from autoscaler.errors import EventRejected, LedgerError
from autoscaler.events.places import printable
from autoscaler.ports.stream import Headers, Message, Outgoing, Topic

LETTER_BYTES_MAX = 900_000
"""What a letter may measure with all its headers; Kafka's default record limit is 1 048 588 bytes."""

OURS = "eventscaler-dlq-"
CONNECT = "__connect.errors."
SPRING = "kafka_dlt-"
RETRIES_HEADER = "eventscaler-retries"
"""On a letter that was put back on its topic: how often it failed before."""

_STUB_KEY_BYTES_MAX = 1024
_ADDED = (OURS, CONNECT, SPRING)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a message was read: the topic's full name and its partition; ``stage`` is what failed."""

    topic: str
    partition: int
    stage: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A letter read back: the original message and why it is here. ``stub``: too large, only its hash is kept."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    reason: str
    text: str
    stage: str
    place: str
    attempts: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    stub: bool


def dead_letter(message: Message, origin: Origin, error: EventRejected) -> Outgoing:
    """The letter for ``message``: value, key and headers as they were, then the added headers.

    A letter larger than its topic takes becomes a stub: hash, size and coordinates.
    """
    headers = tuple((name, content or b"") for name, content in message.headers)
    added = _added(message, origin, error)
    size = len(message.value or b"") + len(message.key or b"") + sum(len(n) + len(c) for n, c in (*headers, *added))
    if size <= LETTER_BYTES_MAX:
        return Outgoing(Topic.DLQ, message.key or b"", message.value, (*headers, *added))
    return _stub(message, origin, added)


def _stub(message: Message, origin: Origin, added: tuple[tuple[str, bytes], ...]) -> Outgoing:
    value, key = message.value or b"", message.key or b""
    told = {
        "stub": True,
        "sha256": hashlib.sha256(value).hexdigest(),
        "bytes": len(value),
        "topic": origin.topic,
        "partition": origin.partition,
        "offset": message.offset,
    }
    kept = key if len(key) <= _STUB_KEY_BYTES_MAX else b""
    body = json.dumps(told, separators=(",", ":")).encode()
    return Outgoing(Topic.DLQ, kept, body, (*added, (f"{OURS}stub", b"true")))


def _added(message: Message, origin: Origin, error: EventRejected) -> tuple[tuple[str, bytes], ...]:
    topic, partition = origin.topic.encode(), str(origin.partition).encode()
    offset, timestamp = str(message.offset).encode(), str(message.timestamp).encode()
    text = printable(str(error), 300).encode(errors="replace")
    name = f"{type(error).__module__}.{type(error).__qualname__}".encode()
    return (
        (f"{OURS}topic", topic),
        (f"{OURS}partition", partition),
        (f"{OURS}offset", offset),
        (f"{OURS}timestamp", timestamp),
        (f"{OURS}reason", error.code.encode()),
        (f"{OURS}text", text),
        (f"{OURS}stage", origin.stage.encode()),
        (f"{OURS}attempts", str(retries_of(message.headers) + 1).encode()),
        (f"{OURS}place", printable(error.place, 300).encode(errors="replace")),
        (f"{OURS}key", b"none" if message.key is None else b"given"),
        (f"{CONNECT}topic", topic),
        (f"{CONNECT}partition", partition),
        (f"{CONNECT}offset", offset),
        (f"{CONNECT}stage", origin.stage.encode()),
        (f"{CONNECT}exception.class.name", name),
        (f"{CONNECT}exception.message", text),
        (f"{SPRING}original-topic", topic),
        (f"{SPRING}original-partition", origin.partition.to_bytes(4, "big")),
        (f"{SPRING}original-offset", message.offset.to_bytes(8, "big", signed=True)),
        (f"{SPRING}original-timestamp", message.timestamp.to_bytes(8, "big", signed=True)),
        (f"{SPRING}original-timestamp-type", b"LogAppendTime"),
        (f"{SPRING}exception-fqcn", name),
        (f"{SPRING}exception-message", text),
    )


def retries_of(headers: Headers) -> int:
    """How often the message was put back before, by its last header that says so; 0 of anything unreadable."""
    told = [content for name, content in headers if name == RETRIES_HEADER]
    return int(told[-1]) if told and told[-1] and len(told[-1]) < 6 and told[-1].isdigit() else 0  # noqa: PLR2004


def read_letter(letter: Message) -> DeadLetter:
    """The original message and its story. Raises `LedgerError` where the letter is not one of ours."""
    headers = tuple(letter.headers)
    start = next((i for i in range(len(headers) - 1, -1, -1) if headers[i][0] == f"{OURS}topic"), None)
    if start is None:
        raise LedgerError("dead letter: it does not say where it came from")
    added = {name: content for name, content in headers[start:] if name.startswith(_ADDED)}
    try:
        return DeadLetter(
            topic=added[f"{OURS}topic"].decode(),
            partition=int(added[f"{OURS}partition"]),
            offset=int(added[f"{OURS}offset"]),
            timestamp=int(added[f"{OURS}timestamp"]),
            reason=added[f"{OURS}reason"].decode(),
            text=added[f"{OURS}text"].decode(),
            stage=added[f"{OURS}stage"].decode(),
            place=added[f"{OURS}place"].decode(),
            attempts=int(added[f"{OURS}attempts"]),
            key=None if added[f"{OURS}key"] == b"none" else letter.key,
            value=letter.value,
            headers=headers[:start],
            stub=f"{OURS}stub" in added,
        )
    except (KeyError, ValueError) as error:
        raise LedgerError("dead letter: its added headers are incomplete") from error


def redrive(letter: DeadLetter, topic: Topic, key: bytes) -> Outgoing:
    """The original message to publish again under ``key``: its id unchanged, its retries counted.

    Raises `LedgerError` of a stub, whose value is gone.
    """
    if letter.stub:
        raise LedgerError("dead letter: only its hash was kept, so it cannot be sent again; ask its producer")
    kept = tuple(header for header in letter.headers if header[0] != RETRIES_HEADER)
    return Outgoing(topic, key, letter.value, (*kept, (RETRIES_HEADER, str(letter.attempts).encode())))
