"""The hot path reads exactly what the complete way reads, and refuses what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import EventRejected
from autoscaler.events import samples
from autoscaler.events.envelope import read_envelope
from autoscaler.events.samples import Sample, read_samples, samples_of
from autoscaler.events.writing import metric_event
from autoscaler.ports.stream import StoredMessage
from tests.events.messages import BROKER_MS, a_binary_message, a_message, an_event

NOON = BROKER_MS / 1000


def complete(message: StoredMessage) -> Any:
    """What the complete way makes of ``message``: the reading, or the rejection's code."""
    try:
        return samples_of(read_envelope(message))
    except EventRejected as error:
        return error.code


def fast_or_complete(message: StoredMessage) -> Any:
    """What `read_samples` makes of it."""
    try:
        return read_samples(message)
    except EventRejected as error:
        return error.code


def listed(*items: dict[str, object]) -> dict[str, Any]:
    """A metric event with a list of samples."""
    return an_event(data={"samples": list(items)})


def test_flat_map_becomes_samples_at_the_events_time() -> None:
    reading = read_samples(a_message(an_event()))
    assert (reading.service, reading.source, reading.ref.id, reading.keyed) == ("checkout", "/monitor/eu", "e-1", True)
    assert reading.samples == [
        Sample("requests_per_second", 412.5, NOON, None),
        Sample("error_ratio", 0.01, NOON, None),
    ]


def test_samples_have_their_own_time_and_revision() -> None:
    event = listed(
        {"name": "a", "value": 1, "time": "2026-11-23T09:59:58.500Z", "revision": 3}, {"name": "b", "value": 2}
    )
    assert read_samples(a_message(event)).samples == [Sample("a", 1.0, NOON - 1.5, 3), Sample("b", 2.0, NOON, None)]


def test_event_without_time_is_read_at_the_brokers_time() -> None:
    assert [s.at for s in read_samples(a_message(an_event(time=None))).samples] == [NOON, NOON]


def test_a_metric_may_be_called_samples() -> None:
    assert read_samples(a_message(an_event(data={"samples": 3}))).samples == [Sample("samples", 3.0, NOON, None)]


def test_old_samples_are_the_windows_business() -> None:
    assert read_samples(a_message(an_event(time="2001-01-01T00:00:00Z"))).samples[0].at == 978307200.0


USUAL = {
    "flat": an_event(),
    "whole numbers": an_event(data={"queue_length": 840}),
    "negative": an_event(data={"delta": -1.5}),
    "fraction of a second": an_event(time="2026-11-23T10:00:00.123456Z"),
    "no time": an_event(time=None),
    "no content type inside": an_event(datacontenttype=None),
    "list": listed(
        {"name": "a", "value": 1.5, "revision": 3}, {"name": "b", "value": 1, "time": "2026-11-23T10:00:00Z"}
    ),
}


@pytest.mark.parametrize("event", USUAL.values(), ids=list(USUAL))
def test_usual_events_take_the_fast_way_and_read_the_same(event: dict[str, Any]) -> None:
    message = a_message(event)
    assert samples._read_fast(message) == complete(message)


UNUSUAL = {
    "no key": a_message(an_event(), key=None),
    "binary": a_binary_message({"a": 1}),
    "offset": a_message(an_event(time="2026-11-23T11:00:00+01:00")),
    "leap second": a_message(an_event(time="2016-12-31T23:59:60Z")),
    "extension": a_message(an_event(tenant="eu")),
    "correlated": a_message(an_event(correlationid="c-0")),
    "escape": a_message(json.dumps(an_event(id="caf\u00e9")).encode()),
    "large": a_message(an_event(data={f"m{i}": i for i in range(500)})),
    "no broker time": a_message(an_event(), timestamp=-1),
    "before the epoch": a_message(an_event(time="1960-01-01T00:00:00Z")),
    "spaced": a_message(json.dumps(an_event(), indent=2).encode()),
}


@pytest.mark.parametrize("message", UNUSUAL.values(), ids=list(UNUSUAL))
def test_unusual_events_read_by_the_complete_way(message: StoredMessage) -> None:
    assert read_samples(message) == complete(message)


def text(**changes: str) -> bytes:
    """A legal event's compact text with pieces replaced."""
    made = json.dumps(an_event(), separators=(",", ":"))
    for old, new in changes.items():
        made = made.replace(old, new)
    return made.encode()


REFUSED = {
    "text for a number": (an_event(data={"a": "412.5"}), "not_a_number"),
    "truth for a number": (an_event(data={"a": True}), "not_a_number"),
    "null for a number": (an_event(data={"a": None}), "not_a_number"),
    "object for a number": (an_event(data={"a": {}}), "not_a_number"),
    "one of two is text": (an_event(data={"a": 1, "b": "x"}), "not_a_number"),
    "text in a sample": (listed({"name": "a", "value": "1"}), "not_a_number"),
    "revision is a fraction": (listed({"name": "a", "value": 1, "revision": 1.5}), "not_a_number"),
    "revision 0": (listed({"name": "a", "value": 1, "revision": 0}), "schema"),
    "revision is true": (listed({"name": "a", "value": 1, "revision": True}), "not_a_number"),
    "no value": (listed({"name": "a"}), "schema"),
    "unknown member": (listed({"name": "a", "value": 1, "image": "shop/checkout:3"}), "schema"),
    "list beside a number": (an_event(data={"samples": [{"name": "a", "value": 1}], "b": 1}), "schema"),
    "nothing": (an_event(data={}), "schema"),
    "no samples": (listed(), "schema"),
    "too many": (an_event(data={f"m{i}": 1 for i in range(513)}), "schema"),
    "name with a space": (an_event(data={"a b": 1}), "schema"),
    "long name": (an_event(data={"a" * 129: 1}), "schema"),
    "data is a list": (an_event(data=[1]), "schema"),
    "data is text": (an_event(data="x"), "schema"),
    "deployment on the metrics topic": (an_event("deployment"), "wrong_type"),
    "far ahead": (an_event(time="2026-11-23T10:05:01Z"), "future"),
    "sample far ahead": (listed({"name": "a", "value": 1, "time": "2026-11-23T10:05:01Z"}), "future"),
    "bad time in a sample": (listed({"name": "a", "value": 1, "time": "noon"}), "time"),
    "basic time": (an_event(time="20261123T100000Z"), "time"),
    "infinite": (text(**{"412.5": "1e999"}), "not_finite"),
    "NaN": (text(**{"412.5": "NaN"}), "not_finite"),
    "integer beyond a double": (text(**{"412.5": "9" * 400}), "not_a_number"),
    "metric twice": (text(error_ratio="requests_per_second"), "duplicate_key"),
    "metric twice, one spaced": (text(**{'"error_ratio":': '"requests_per_second" :'}), "duplicate_key"),
    "attribute twice": (text(**{'"id":"e-1"': '"id":"e-1","id":"e-1"'}), "duplicate_key"),
    "attribute twice as other types": (text(**{'"id":"e-1"': '"id":1,"id":"e-1"'}), "duplicate_key"),
    "data twice": (text(**{'"data":{': '"data":{},"data":{'}), "duplicate_key"),
    "key of the event in data": (text(**{'"data":{': '"data":{"x":"y",'}), "not_a_number"),
}


@pytest.mark.parametrize(("event", "code"), REFUSED.values(), ids=list(REFUSED))
def test_bad_metric_event_is_rejected_whole(event: object, code: str) -> None:
    message = a_message(event)
    assert fast_or_complete(message) == code
    assert complete(message) == code


def test_place_names_the_bad_sample() -> None:
    with pytest.raises(EventRejected) as caught:
        read_samples(a_message(listed({"name": "a", "value": 1}, {"name": "b", "value": "2"})))
    assert caught.value.place == "data.samples[1].value"
    assert "2" not in str(caught.value)


@pytest.mark.parametrize("length", [0, 100, 200])
def test_rejections_never_repeat_a_value(length: int) -> None:
    secret = "hunter2" + "x" * length
    with pytest.raises(EventRejected) as caught:
        read_samples(a_message(an_event(data={"a": secret})))
    assert "hunter2" not in str(caught.value) + caught.value.place


_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(["2026-11-23T10:00:00Z", "x", "1.0", ""])
)
_data = st.one_of(
    _scalars,
    st.dictionaries(st.sampled_from(["a", "b", "samples", "a b"]), _scalars, max_size=3),
    st.fixed_dictionaries(
        {
            "samples": st.lists(
                st.dictionaries(st.sampled_from(["name", "value", "time", "revision", "x"]), _scalars, max_size=5),
                max_size=3,
            )
        }
    ),
)
_changes = st.dictionaries(
    st.sampled_from(["id", "source", "type", "subject", "time", "datacontenttype", "tenant", "specversion"]),
    _scalars,
    max_size=2,
)


@settings(max_examples=300, deadline=None)
@given(_data, _changes, st.sampled_from([b"checkout", b"x", None]), st.sampled_from([None, (",", ":")]))
def test_both_ways_agree_on_any_event(
    data: object, changes: dict[str, Any], key: bytes | None, marks: tuple[str, str] | None
) -> None:
    event = an_event() | {"data": data} | changes
    message = a_message(json.dumps(event, separators=marks).encode(), key)
    assert fast_or_complete(message) == complete(message)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10_000), st.binary(max_size=4), st.integers(0, 6))
def test_both_ways_agree_on_any_damage(position: int, piece: bytes, cut: int) -> None:
    value = text()
    at = position % len(value)
    message = replace(a_message(b""), value=value[:at] + piece + value[at + cut :])
    assert fast_or_complete(message) == complete(message)


@settings(max_examples=300, deadline=None)
@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2026, 11, 23)),  # noqa: DTZ001 - the zone is in the text
    st.text("0123456789", max_size=8),
    st.sampled_from(["Z", "z", "+00:00", "", "Z "]),
    st.sampled_from([".", ",", ""]),
)
def test_both_ways_agree_on_any_moment(moment: datetime, digits: str, zone: str, mark: str) -> None:
    event = an_event(time=f"{moment:%Y-%m-%dT%H:%M:%S}{mark}{digits}{zone}")
    assert fast_or_complete(a_message(event)) == complete(a_message(event))


WRITTEN = metric_event(
    "checkout", {"requests_per_second": 412.5, "error_ratio": 0.01}, "/monitor/eu", NOON - 0.25, "m-1"
)


def test_an_event_as_we_write_it_is_read_without_parsing_it_whole() -> None:
    reading = samples._read_as_written(a_message(WRITTEN))
    assert reading == complete(a_message(WRITTEN))
    assert samples._read_as_written(a_message(metric_event("checkout", {"load": 1}, "/m"))) is not None
    assert samples._read_as_written(a_message(WRITTEN, b"other")) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"requests_per_second", b"error_ratio"), (b"412.5", b"1e999"), (b"412.5", b"NaN"), (b"412.5", b'"a"'),
        (b"412.5", b"null"), (b"412.5", b"9" * 400), (b'"m-1"', b'"m\x001"'), (b'"m-1"', '"m-\u00e9"'.encode()),
        (b"/monitor/eu", b"monitor eu"), (b"2026-11-23T", b"2026-13-23T"), (b"2026-11-23T", b"2027-11-23T"),
        (b".750Z", b".7500000Z"), (b'"data":{', b'"data":{"samples":3,'), (b"}}", b"}}  "),
        (b'"checkout"', b'"-checkout"'),
    ],
)  # fmt: skip
def test_what_looks_like_our_writing_reads_by_all_ways_alike(old: bytes, new: bytes) -> None:
    assert old in WRITTEN
    message = a_message(WRITTEN.replace(old, new))
    assert fast_or_complete(message) == complete(message)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10_000), st.binary(max_size=4), st.integers(0, 6))
def test_all_ways_agree_on_any_damage_to_our_writing(position: int, piece: bytes, cut: int) -> None:
    at = position % len(WRITTEN)
    message = a_message(WRITTEN[:at] + piece + WRITTEN[at + cut :])
    assert fast_or_complete(message) == complete(message)
