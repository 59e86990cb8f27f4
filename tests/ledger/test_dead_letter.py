"""Dead letters: exact, told in three vocabularies, re-driven with their id."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import EventRejected, LedgerError
from autoscaler.ledger.dead_letter import LETTER_BYTES_MAX, Origin, dead_letter, read_letter, redrive, retries_of
from autoscaler.ports.stream import Outgoing, StoredMessage, Topic

ORIGIN = Origin("autoscaler.metrics", 10, "schema")
ERROR = EventRejected("not_a_number", "should be a valid number", "data.a")
MESSAGE = StoredMessage(42, 1_795_428_000_000, b"\xffkey", b"\x00\xffvalue", (("a", b"1"), ("a", b"\xff"), ("b", b"")))


def arrived(letter: Outgoing) -> StoredMessage:
    """The letter as it is read from its topic."""
    return StoredMessage(0, 0, letter.key, letter.value, letter.headers)


def test_value_key_and_headers_are_kept_byte_for_byte() -> None:
    letter = dead_letter(MESSAGE, ORIGIN, ERROR)
    assert (letter.topic, letter.key, letter.value) == (Topic.DLQ, b"\xffkey", b"\x00\xffvalue")
    assert letter.headers[:3] == MESSAGE.headers


def test_why_and_where_are_in_our_own_headers() -> None:
    told = dict(dead_letter(MESSAGE, ORIGIN, ERROR).headers)
    ours = {name.removeprefix("eventscaler-dlq-"): c for name, c in told.items() if name.startswith("eventscaler-dlq-")}
    assert ours == {
        "topic": b"autoscaler.metrics",
        "partition": b"10",
        "offset": b"42",
        "timestamp": b"1795428000000",
        "reason": b"not_a_number",
        "text": b"should be a valid number",
        "stage": b"schema",
        "attempts": b"1",
        "place": b"data.a",
        "key": b"given",
    }


def test_kafka_connect_and_spring_find_their_own_headers() -> None:
    told = dict(dead_letter(MESSAGE, ORIGIN, ERROR).headers)
    assert told["__connect.errors.topic"] == b"autoscaler.metrics"
    assert told["__connect.errors.offset"] == b"42"
    assert told["__connect.errors.exception.message"] == b"should be a valid number"
    assert told["kafka_dlt-original-topic"] == b"autoscaler.metrics"
    assert told["kafka_dlt-original-partition"] == (10).to_bytes(4, "big")
    assert told["kafka_dlt-original-offset"] == (42).to_bytes(8, "big")
    assert told["kafka_dlt-original-timestamp"] == (1_795_428_000_000).to_bytes(8, "big")
    assert not any("stacktrace" in name for name in told)


def test_letter_that_its_topic_would_refuse_becomes_a_stub() -> None:
    value = b"x" * (LETTER_BYTES_MAX + 1)
    letter = dead_letter(StoredMessage(42, 5, b"checkout", value, MESSAGE.headers), ORIGIN, ERROR)
    told = json.loads(letter.value or b"")
    assert told == {
        "stub": True,
        "sha256": hashlib.sha256(value).hexdigest(),
        "bytes": len(value),
        "topic": "autoscaler.metrics",
        "partition": 10,
        "offset": 42,
    }
    assert letter.key == b"checkout"
    back = read_letter(arrived(letter))
    assert (back.stub, back.reason, back.offset) == (True, "not_a_number", 42)
    with pytest.raises(LedgerError, match="only its hash"):
        redrive(back, Topic.METRICS, b"checkout")


def test_stub_fits_even_where_key_and_headers_are_what_is_large() -> None:
    huge = b"k" * LETTER_BYTES_MAX
    letter = dead_letter(StoredMessage(1, 1, huge, b"v", (("h", huge),)), ORIGIN, ERROR)
    assert len(letter.key) + len(letter.value or b"") + sum(len(n) + len(c) for n, c in letter.headers) < 5000


@settings(max_examples=150, deadline=None)
@given(
    st.none() | st.binary(max_size=30),
    st.none() | st.binary(max_size=30),
    st.lists(st.tuples(st.sampled_from(["a", "eventscaler-dlq-topic", "eventscaler-retries"]), st.binary(max_size=5))),
    st.integers(0, 2**62),
    st.integers(-1, 2**62),
)
def test_letter_is_read_back_as_the_message_that_it_was(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]], offset: int, timestamp: int
) -> None:
    message = StoredMessage(offset, timestamp, key, value, tuple(headers))
    back = read_letter(arrived(dead_letter(message, ORIGIN, ERROR)))
    assert (back.key, back.value, back.headers) == (message.key, message.value, message.headers)
    assert (back.offset, back.timestamp, back.topic, back.partition) == (offset, timestamp, ORIGIN.topic, 10)


def test_redriven_message_is_the_original_and_counts_its_attempts() -> None:
    again = redrive(read_letter(arrived(dead_letter(MESSAGE, ORIGIN, ERROR))), Topic.METRICS, b"checkout")
    assert (again.topic, again.key, again.value) == (Topic.METRICS, b"checkout", MESSAGE.value)
    assert again.headers == (*MESSAGE.headers, ("eventscaler-retries", b"1"))
    second = read_letter(arrived(dead_letter(arrived(again), ORIGIN, ERROR)))
    assert second.attempts == 2
    third = redrive(second, Topic.METRICS, b"checkout")
    assert third.headers == (*MESSAGE.headers, ("eventscaler-retries", b"2"))


@pytest.mark.parametrize("content", [b"", b"x", b"-1", b"9" * 40, b"\xb2"])
def test_unreadable_count_of_retries_is_none(content: bytes) -> None:
    assert retries_of((("eventscaler-retries", content),)) == 0


def test_what_is_no_letter_is_an_error() -> None:
    with pytest.raises(LedgerError, match="where it came from"):
        read_letter(MESSAGE)
    with pytest.raises(LedgerError, match="incomplete"):
        read_letter(StoredMessage(0, 0, b"", b"", (("eventscaler-dlq-topic", b"x"),)))
