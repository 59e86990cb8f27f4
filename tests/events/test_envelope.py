"""CloudEvents over Kafka: what is read, in which mode, and every way of being refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from autoscaler.core.facts import EventRef
from autoscaler.errors import EventRejected
from autoscaler.events.envelope import EVENT_BYTES_MAX, identity_of, read_envelope
from autoscaler.events.rejection import MEANINGS, Rejection
from tests.events.messages import STRUCTURED, a_binary_message, a_message, an_event

NOON = 1_795_428_000.0


def code_of(message: object) -> str:
    """The code that reading ``message`` is rejected with."""
    with pytest.raises(EventRejected) as caught:
        read_envelope(message)  # type: ignore[arg-type]
    assert caught.value.code in {code.value for code in Rejection}
    return caught.value.code


def raw(**changes: str) -> bytes:
    """The text of a legal event with pieces replaced."""
    text = json.dumps(an_event())
    for old, new in changes.items():
        text = text.replace(old, new)
    return text.encode()


def test_structured_event_is_read_whole() -> None:
    event = an_event(
        correlationid="c-0", causationid="c-1", traceparent="00-ab-cd-01", expirytime="2026-11-23T11:00:00Z"
    )
    envelope = read_envelope(a_message(event | {"tenant": "eu", "canary": True, "weight": 3}))
    assert envelope.ref == EventRef("/monitor/eu", "e-1")
    assert (envelope.service, envelope.subject, envelope.keyed) == ("checkout", "checkout", True)
    assert (envelope.time, envelope.at, envelope.broker_at) == (NOON, NOON, NOON)
    assert envelope.data == {"requests_per_second": 412.5, "error_ratio": 0.01}
    assert (envelope.correlationid, envelope.causationid, envelope.traceparent) == ("c-0", "c-1", "00-ab-cd-01")
    assert envelope.expires_at == NOON + 3600
    assert dict(envelope.extensions) == {"tenant": "eu", "canary": True, "weight": 3}


def test_binary_event_reads_as_the_structured_one() -> None:
    data = {"requests_per_second": 412.5, "error_ratio": 0.01}
    binary = read_envelope(a_binary_message(data, subject="checkout", time="2026-11-23T10:00:00Z"))
    assert binary == read_envelope(a_message(an_event()))


def test_mode_is_told_by_content_type_even_where_ce_headers_repeat_attributes() -> None:
    headers = (("Content-Type", b"Application/CloudEvents+JSON"), ("ce_id", b"other"), ("ce_type", b"x"))
    assert read_envelope(a_message(an_event(), headers=headers)).id == "e-1"


def test_structured_event_that_lost_its_headers_is_read() -> None:
    assert read_envelope(a_message(an_event(), headers=())).id == "e-1"
    assert read_envelope(a_message(an_event(), headers=(("content-type", b"application/json"),))).id == "e-1"


def test_traceparent_is_taken_from_a_bare_header() -> None:
    traced = read_envelope(a_message(an_event(), headers=(*STRUCTURED, ("traceparent", b"00-1-2-00"))))
    assert traced.traceparent == "00-1-2-00"


def test_time_absent_is_the_brokers_time() -> None:
    envelope = read_envelope(a_message(an_event(time=None)))
    assert envelope.time is None
    assert envelope.at == NOON


def test_data_base64_is_decoded_and_read_as_json() -> None:
    event = an_event() | {"data_base64": base64.b64encode(b'{"a":1}').decode()}
    del event["data"]
    assert read_envelope(a_message(event)).data == {"a": 1}


def test_json_string_in_data_is_not_parsed_again() -> None:
    assert read_envelope(a_message(an_event(data='{"a":1}'))).data == '{"a":1}'


def test_null_attribute_counts_as_absent() -> None:
    event = an_event() | {"time": None, "correlationid": None, "tenant": None}
    envelope = read_envelope(a_message(event))
    assert (envelope.time, envelope.correlationid, dict(envelope.extensions)) == (None, "", {})


@pytest.mark.parametrize(
    ("key", "subject", "service"),
    [(b"checkout", None, "checkout"), (None, "checkout", "checkout"), (b"", "checkout", "checkout")],
    ids=["key alone", "subject alone", "empty key"],
)
def test_service_is_what_is_there_of_key_and_subject(key: bytes | None, subject: str | None, service: str) -> None:
    envelope = read_envelope(a_message(an_event(subject=subject), key=key))
    assert (envelope.service, envelope.keyed) == (service, bool(key))


def test_partitionkey_carries_the_service_where_a_hop_has_no_key() -> None:
    assert read_envelope(a_message(an_event(subject=None, partitionkey="basket"), key=None)).service == "basket"


def test_disagreement_of_key_and_subject_names_both() -> None:
    with pytest.raises(EventRejected, match="the key says basket and the subject says checkout") as caught:
        read_envelope(a_message(an_event(), key=b"basket"))
    assert (caught.value.code, caught.value.place) == ("key_mismatch", "subject")


NAN = json.dumps(an_event()).replace("412.5", "NaN").encode()
BAD_VALUES: dict[str, tuple[bytes | None, Rejection]] = {
    "tombstone": (None, Rejection.EMPTY),
    "nothing": (b"", Rejection.NOT_JSON),
    "no JSON": (b"requests_per_second 412.5", Rejection.NOT_JSON),
    "two documents": (b"{}{}", Rejection.NOT_JSON),
    "byte order mark": (b"\xef\xbb\xbf" + raw(), Rejection.NOT_JSON),
    "bad UTF-8": (raw().replace(b"eu", b"\xff\xfe"), Rejection.NOT_UTF8),
    "half a surrogate pair": (raw(eu="\\ud800"), Rejection.NOT_JSON),
    "raw NUL": (raw().replace(b"eu", b"\x00"), Rejection.NUL),
    "escaped NUL": (raw(eu="\\u0000"), Rejection.NUL),
    "NaN": (NAN, Rejection.NOT_FINITE),
    "minus infinity": (NAN.replace(b"NaN", b"-Infinity"), Rejection.NOT_FINITE),
    "overflowing exponent": (NAN.replace(b"NaN", b"1e999"), Rejection.NOT_FINITE),
    "key twice in data": (raw(error_ratio="requests_per_second"), Rejection.DUPLICATE_KEY),
    "attribute twice": (raw(datacontenttype="time"), Rejection.DUPLICATE_KEY),
    "deep": (NAN.replace(b"NaN", b"[" * 40 + b"]" * 40), Rejection.TOO_DEEP),
    "deeper than the parser": (NAN.replace(b"NaN", b"[" * 20000 + b"]" * 20000), Rejection.TOO_DEEP),
    "array": (b"[]", Rejection.NOT_CLOUDEVENT),
    "wrong version": (raw(**{"1.0": "0.3"}), Rejection.SPECVERSION),
    "number of a thousand digits": (NAN.replace(b"NaN", b"9" * 5000), Rejection.NOT_JSON),
}


@pytest.mark.parametrize(("value", "code"), BAD_VALUES.values(), ids=list(BAD_VALUES))
def test_unreadable_value_is_rejected_with_its_code(value: bytes | None, code: Rejection) -> None:
    assert code_of(a_message(value)) == code


BAD_ATTRIBUTES: dict[str, tuple[dict[str, Any], Rejection]] = {
    "no id": ({"id": None}, Rejection.MISSING_ATTRIBUTE),
    "empty id": ({"id": ""}, Rejection.ATTRIBUTE),
    "id is a number": ({"id": 7}, Rejection.ATTRIBUTE),
    "id with a line end": ({"id": "a\nb"}, Rejection.ATTRIBUTE),
    "id with a terminal sequence": ({"id": "\x1b[2J"}, Rejection.ATTRIBUTE),
    "id with U+2028": ({"id": "a\u2028b"}, Rejection.ATTRIBUTE),
    "long id": ({"id": "x" * 513}, Rejection.ATTRIBUTE),
    "source with a space": ({"source": "/a b"}, Rejection.ATTRIBUTE),
    "attribute name in capitals": ({"Tenant": "eu"}, Rejection.ATTRIBUTE),
    "attribute that is an object": ({"tenant": {}}, Rejection.ATTRIBUTE),
    "attribute that is a fraction": ({"weight": 1.5}, Rejection.ATTRIBUTE),
    "attribute beyond 32 bits": ({"weight": 2**31}, Rejection.ATTRIBUTE),
    "data twice": ({"data_base64": "e30="}, Rejection.ATTRIBUTE),
    "data that is not JSON": ({"datacontenttype": "text/xml"}, Rejection.CONTENT_TYPE),
    "time without offset": ({"time": "2026-11-23T10:00:00"}, Rejection.TIME),
    "time as a number": ({"time": 1795428000}, Rejection.TIME),
    "a week date": ({"time": "2026-W47-1T10:00:00Z"}, Rejection.TIME),
    "no such day": ({"time": "2026-02-30T10:00:00Z"}, Rejection.TIME),
    "far ahead": ({"time": "2026-11-23T10:05:01Z"}, Rejection.FUTURE),
    "service in capitals": ({"subject": "Checkout"}, Rejection.KEY_MISMATCH),
}


@pytest.mark.parametrize(("changes", "code"), BAD_ATTRIBUTES.values(), ids=list(BAD_ATTRIBUTES))
def test_bad_attribute_is_rejected_with_its_code(changes: dict[str, Any], code: Rejection) -> None:
    assert code_of(a_message(an_event(**changes))) == code


@pytest.mark.parametrize("name", ["Checkout", "a.b", "-a", "a-", "a" * 64, "café", "~partition/1", "a\n"])
def test_what_is_no_service_name_is_rejected(name: str) -> None:
    assert code_of(a_message(an_event(subject=name), key=None)) in {"service_name", "attribute"}


BAD_HEADERS: dict[str, tuple[tuple[tuple[str, bytes], ...], Rejection]] = {
    "content type twice": ((*STRUCTURED, *STRUCTURED), Rejection.HEADER_TWICE),
    "content type twice in two cases": ((*STRUCTURED, ("Content-Type", b"x")), Rejection.HEADER_TWICE),
    "attribute twice": ((*STRUCTURED, ("ce_id", b"a"), ("ce_id", b"a")), Rejection.HEADER_TWICE),
    "not UTF-8": ((*STRUCTURED, ("ce_id", b"\xff")), Rejection.NOT_UTF8),
    "batch": ((("content-type", b"application/cloudevents-batch+json"),), Rejection.BATCH),
    "protobuf": ((("content-type", b"application/cloudevents+protobuf"),), Rejection.UNKNOWN_FORMAT),
}


@pytest.mark.parametrize(("headers", "code"), BAD_HEADERS.values(), ids=list(BAD_HEADERS))
def test_bad_header_is_rejected_with_its_code(headers: tuple[tuple[str, bytes], ...], code: Rejection) -> None:
    assert code_of(a_message(an_event(), headers=headers)) == code


def test_headers_of_others_stay_unread() -> None:
    others = (("trace", b"\xff"), ("trace", b"\xff"), ("__connect.errors.topic", b"x"))
    assert read_envelope(a_message(an_event(), headers=(*STRUCTURED, *others))).id == "e-1"


def test_size_counts_headers_and_is_looked_at_first() -> None:
    assert code_of(a_message(b"\xff" * (EVENT_BYTES_MAX + 1))) == "too_large"
    assert code_of(a_message(b"{}", headers=(("x", b"y" * EVENT_BYTES_MAX),))) == "too_large"
    padded = json.dumps(an_event()).encode().ljust(EVENT_BYTES_MAX - len(STRUCTURED[0][0]) - len(STRUCTURED[0][1]))
    assert read_envelope(a_message(padded)).id == "e-1"


def test_what_says_nothing_of_cloudevents_is_left_to_decoders() -> None:
    assert code_of(a_message({"name": "queue_length", "value": 840}, headers=())) == "not_cloudevent"
    assert code_of(a_message(b"cpu,host=h1 usage=42.5", headers=())) == "not_json"


def test_identity_of_a_rejected_event_is_told_where_it_can_be() -> None:
    assert identity_of(a_message(an_event(subject="Nobody"))) == EventRef("/monitor/eu", "e-1")
    assert identity_of(a_binary_message({}, subject="Nobody")) == EventRef("/monitor/eu", "e-1")
    assert identity_of(a_message(b"\xff")) is None


def test_every_code_has_its_meaning() -> None:
    assert set(MEANINGS) == set(Rejection)
