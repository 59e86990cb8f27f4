"""The closed list of reasons why an event is rejected, and the one way to say so.

Every reader of this package raises `EventRejected` with one of these codes and nothing else; dead letters, records and
counters carry the code, so a code never changes its meaning.
"""

from __future__ import annotations

from enum import StrEnum

from autoscaler.errors import EventRejected


class Rejection(StrEnum):
    """Why an event cannot be used. The value is what records and dead letters say."""

    TOO_LARGE = "too_large"
    EMPTY = "empty"
    NOT_UTF8 = "not_utf8"
    NUL = "nul"
    NOT_JSON = "not_json"
    DUPLICATE_KEY = "duplicate_key"
    NOT_FINITE = "not_finite"
    TOO_DEEP = "too_deep"
    HEADER_TWICE = "header_twice"
    NOT_CLOUDEVENT = "not_cloudevent"
    UNKNOWN_FORMAT = "unknown_format"
    BATCH = "batch"
    SPECVERSION = "specversion"
    MISSING_ATTRIBUTE = "missing_attribute"
    ATTRIBUTE = "attribute"
    CONTENT_TYPE = "content_type"
    WRONG_TYPE = "wrong_type"
    NO_SERVICE = "no_service"
    SERVICE_NAME = "service_name"
    KEY_MISMATCH = "key_mismatch"
    WRONG_PARTITION = "wrong_partition"
    UNKNOWN_SERVICE = "unknown_service"
    TIME = "time"
    FUTURE = "future"
    NOT_A_NUMBER = "not_a_number"
    SCHEMA = "schema"
    SIGNATURE = "signature"


MEANINGS: dict[Rejection, str] = {
    Rejection.TOO_LARGE: "larger than an event may be, headers included",
    Rejection.EMPTY: "no value (a tombstone), where an event belongs",
    Rejection.NOT_UTF8: "bytes that are not UTF-8, or half of a surrogate pair",
    Rejection.NUL: "a NUL character",
    Rejection.NOT_JSON: "not JSON",
    Rejection.DUPLICATE_KEY: "a key twice in one JSON object",
    Rejection.NOT_FINITE: "NaN, an infinity, or a number too large for a double",
    Rejection.TOO_DEEP: "JSON nested deeper than any event is",
    Rejection.HEADER_TWICE: "a header that counts comes twice",
    Rejection.NOT_CLOUDEVENT: "no CloudEvent in structured or binary mode",
    Rejection.UNKNOWN_FORMAT: "a CloudEvents format other than JSON",
    Rejection.BATCH: "a CloudEvents batch, which Kafka's binding does not define",
    Rejection.SPECVERSION: "a specversion other than 1.0",
    Rejection.MISSING_ATTRIBUTE: "a required attribute is missing",
    Rejection.ATTRIBUTE: "an attribute whose name or value CloudEvents forbids",
    Rejection.CONTENT_TYPE: "data that is not JSON by its datacontenttype",
    Rejection.WRONG_TYPE: "an event type that does not belong on this topic",
    Rejection.NO_SERVICE: "neither key nor subject nor partitionkey says which service",
    Rejection.SERVICE_NAME: "not a service name",
    Rejection.KEY_MISMATCH: "key and subject name different services",
    Rejection.WRONG_PARTITION: "on a partition that its key does not belong to, and forwarded before",
    Rejection.UNKNOWN_SERVICE: "a service that is not configured",
    Rejection.TIME: "not an RFC 3339 time with an offset",
    Rejection.FUTURE: "a time more than five minutes ahead of the broker's",
    Rejection.NOT_A_NUMBER: "something else where a number belongs",
    Rejection.SCHEMA: "data that fails its schema",
    Rejection.SIGNATURE: "a signature that is missing or wrong where keys are configured",
}
"""What each code means, for the documentation and `dlq show`."""

FOREIGN = frozenset(
    {
        Rejection.NOT_CLOUDEVENT,
        Rejection.NOT_JSON,
        Rejection.NOT_UTF8,
        Rejection.NOT_FINITE,
        Rejection.DUPLICATE_KEY,
        Rejection.TOO_DEEP,
        Rejection.NUL,
    }
)
"""Codes upon which a message that says nothing of CloudEvents may still be something that a decoder knows."""


def rejected(code: Rejection, text: str = "", place: str = "") -> EventRejected:
    """The error to raise; ``text`` defaults to the code's meaning."""
    return EventRejected(code.value, text or MEANINGS[code], place)
