"""The audit trail: its shape, its chain checked by a second implementation, and its fold."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from autoscaler.core.evolve import fold
from autoscaler.core.facts import Clamp, EventRef, ProposalNote, Reason, SignalReading
from autoscaler.core.records import Record, Standpoint
from autoscaler.core.state import ServiceState
from autoscaler.errors import LedgerError
from autoscaler.events.contract import schemas
from autoscaler.ledger.audit import read_audit, replay_state
from autoscaler.ledger.chain import verify_chain
from autoscaler.ledger.partition_record import ChainHead
from autoscaler.ledger.state_codec import decode_state
from autoscaler.ledger.writing import Ledger
from autoscaler.ports.stream import Outgoing, Topic
from tests.ledger.states import record_lists, states

LEDGER = Ledger("shop", 10)
VALIDATORS = {f"io.eventscaler.{name}": Draft202012Validator(schema) for name, schema in schemas().items()}
START = ServiceState("checkout", seq=63, generation=16, demand=8, revision=5)
ROLLBACK = Record(
    type="decided",
    service="checkout",
    at=1_795_428_014.12,
    kind="rollback",
    reason=Reason("startup_deadline", "1 of 1 new replicas not healthy in 10 s", {"failed": 1, "of": 1}),
    before=Standpoint(5, 8),
    after=Standpoint(4, 8),
    verdict="rolled_back",
    terminal=True,
    event=EventRef("/ci/shop", "d-1"),
    causes=(EventRef("/ci/shop", "d-1"),),
    inputs=(SignalReading("requests_per_second", 400, 1.2),),
    proposals=(ProposalNote("target_value", "scale", 9, "over"),),
    clamps=(Clamp("max", 9, 8, "8 at most"),),
    changes={"revision": 4},
    raises_generation=True,
)


def events_of(outgoing: tuple[Outgoing, ...]) -> list[dict[str, Any]]:
    """The audit events among what was written."""
    return [read_audit(o.value or b"") for o in outgoing if o.topic is Topic.AUDIT]


def a_trail(length: int = 6) -> list[dict[str, Any]]:
    """A chain of one service from its beginning."""
    records = [replace(ROLLBACK, at=1_795_428_014.0 + n, changes={"demand": n}) for n in range(length)]
    return events_of(LEDGER.write(ServiceState("checkout"), records, 3)[1])


def canonical(value: object) -> str:
    """RFC 8785 by itself, for the values of a trail: sorted keys, no space, shortest numbers as ECMAScript has them."""
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(k)}:{canonical(v)}" for k, v in ordered) + "}"
    if isinstance(value, list):
        return "[" + ",".join(canonical(v) for v in value) + "]"
    if isinstance(value, bool) or value is None or isinstance(value, int):
        return json.dumps(value)
    if isinstance(value, float):
        return _ecmascript(value)
    return json.dumps(value, ensure_ascii=False)


def _ecmascript(value: float) -> str:
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, exponent = f"{abs(value)!r}e0".split("e")[:2] if "e" not in repr(value) else repr(abs(value)).split("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    power = f"e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return sign + digits[0] + (f".{digits[1:]}" if count > 1 else "") + power


def independent_hash(event: dict[str, Any]) -> str:
    """The hash of an event by the second implementation."""
    return hashlib.sha256(canonical({k: v for k, v in event.items() if k != "hash"}).encode()).hexdigest()


def test_event_has_the_shape_of_the_surface() -> None:
    after, outgoing = LEDGER.write(START, [ROLLBACK], 3)
    event = events_of(outgoing)[0]
    assert event == {
        "specversion": "1.0",
        "id": "checkout/64/rolled_back",
        "source": "/eventscaler/shop",
        "type": "io.eventscaler.decided.v1",
        "subject": "checkout",
        "time": "2026-11-23T10:00:14.120Z",
        "correlationid": "d-1",
        "causationid": "d-1",
        "prevhash": "0" * 64,
        "hash": after.chain,
        "datacontenttype": "application/json",
        "data": {
            "service": "checkout",
            "seq": 64,
            "generation": 17,
            "partition": 10,
            "token": 3,
            "kind": "rollback",
            "verdict": "rolled_back",
            "terminal": True,
            "reason": {
                "code": "startup_deadline",
                "text": "1 of 1 new replicas not healthy in 10 s",
                "numbers": {"failed": 1, "of": 1},
            },
            "before": {"revision": 5, "demand": 8},
            "after": {"revision": 4, "demand": 8},
            "event": {"source": "/ci/shop", "id": "d-1"},
            "causes": [{"source": "/ci/shop", "id": "d-1"}],
            "inputs": [{"signal": "requests_per_second", "value": 400, "age_s": 1.2}],
            "proposals": [{"policy": "target_value", "kind": "scale", "to": 9, "text": "over"}],
            "clamps": [{"guard": "max", "before": 9, "after": 8, "text": "8 at most"}],
            "changes": {"revision": 4, "updated_at": 1_795_428_014.12},
        },
    }


def test_audit_comes_before_state_under_the_services_key() -> None:
    after, outgoing = LEDGER.write(START, [ROLLBACK, ROLLBACK], 3, {"memory": 1})
    assert [(o.topic, o.key) for o in outgoing] == [
        (Topic.AUDIT, b"checkout"),
        (Topic.AUDIT, b"checkout"),
        (Topic.STATE, b"checkout"),
    ]
    assert dict(outgoing[0].headers)["content-type"].startswith(b"application/cloudevents+json")
    assert outgoing[0].value is not None
    assert b"\n" not in outgoing[0].value
    assert decode_state(outgoing[-1].value or b"").state == after
    assert decode_state(outgoing[-1].value or b"").checkpoint == {"memory": 1}


def test_checkpoint_without_records_makes_no_audit_event_and_no_generation() -> None:
    after, outgoing = LEDGER.write(START, [], 3, {"memory": 1})
    assert after == START
    assert [o.topic for o in outgoing] == [Topic.STATE]


def test_record_without_causes_has_no_correlation() -> None:
    event = events_of(LEDGER.write(START, [replace(ROLLBACK, event=None, causes=(), verdict=None)], 3)[1])[0]
    assert "correlationid" not in event
    assert event["id"] == "checkout/64/startup_deadline"


def test_field_set_to_what_it_was_is_no_change() -> None:
    event = events_of(LEDGER.write(START, [replace(ROLLBACK, changes={"demand": 8})], 3)[1])[0]
    assert set(event["data"]["changes"]) == {"updated_at"}


def test_numbers_of_a_plugin_that_json_cannot_carry_are_shown_as_unknown() -> None:
    reason = Reason("a", "b\ud800", {"x": math.inf, "n": 2**60})
    event = events_of(LEDGER.write(START, [replace(ROLLBACK, reason=reason)], 3)[1])[0]
    assert event["data"]["reason"] == {"code": "a", "text": "b?", "numbers": {"x": None, "n": None}}


def test_state_that_json_cannot_carry_is_never_written() -> None:
    with pytest.raises(LedgerError):
        LEDGER.write(START, [replace(ROLLBACK, changes={"last_up_at": math.nan})], 3)


def test_records_of_no_known_service_have_a_chain_of_their_own() -> None:
    unknown = replace(ROLLBACK, service="nobody", type="rejected", verdict="rejected", changes={})
    head, first = LEDGER.write_unrouted(ChainHead(), [unknown], 3)
    head, second = LEDGER.write_unrouted(head, [unknown], 3)
    events = events_of((*first, *second))
    assert [o.key for o in (*first, *second)] == [b"~unrouted/10"] * 2
    assert [(e["subject"], e["data"]["service"], e["id"]) for e in events] == [
        ("~unrouted/10", "nobody", "~unrouted/10/1/rejected"),
        ("~unrouted/10", "nobody", "~unrouted/10/2/rejected"),
    ]
    assert verify_chain(events, (head.seq, head.hash)).ok


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(record_lists(), st.integers(0, 2**31))
def test_fold_of_the_trail_is_the_state(records: list[Record], token: int) -> None:
    start = ServiceState("checkout")
    after, outgoing = LEDGER.write(start, records, token)
    assert replace(after, chain="") == fold(start, records)
    events = events_of(outgoing)
    if events:
        assert replay_state(events) == after
    assert decode_state(outgoing[-1].value or b"").state == after
    assert verify_chain(events, (after.seq, after.chain)).ok or not events
    for event in events:
        assert event["hash"] == independent_hash(event)
        VALIDATORS[event["type"]].validate(event)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(states, record_lists())
def test_trail_is_replayed_on_top_of_any_state(base: ServiceState, records: list[Record]) -> None:
    after, outgoing = LEDGER.write(base, records, 1)
    assert replay_state(events_of(outgoing), base) == after


@settings(max_examples=300, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_second_implementation_writes_numbers_as_ecmascript_does(value: float) -> None:
    assert float(_ecmascript(value)) == value


def test_every_link_is_the_hash_of_the_event_before() -> None:
    prevhash = "0" * 64
    for event in a_trail():
        assert event["prevhash"] == prevhash
        assert event["hash"] == independent_hash(event)
        prevhash = event["hash"]


def test_whole_chain_is_verified_from_its_first_event() -> None:
    report = verify_chain(a_trail())
    assert (report.ok, report.complete, report.oldest_seq, report.newest_seq) == (True, True, 1, 6)
    assert report.text == "6 events verified from the first to event 6"


def test_after_retention_verification_starts_at_the_oldest_and_says_so() -> None:
    report = verify_chain(a_trail()[2:])
    assert (report.ok, report.complete, report.oldest_seq) == (True, False, 3)
    assert "from event 3, the oldest that is kept" in report.text


def test_every_change_of_an_event_is_found() -> None:
    for change in ({"time": "2026-11-23T10:00:00.000Z"}, {"subject": "basket"}, {"data": {"seq": 3, "generation": 9}}):
        trail = a_trail()
        trail[2] = trail[2] | change
        assert verify_chain(trail).broken_at == 3


def test_changed_event_with_its_hash_made_anew_breaks_the_next_link() -> None:
    trail = a_trail()
    trail[2]["data"]["token"] = 99
    trail[2]["hash"] = independent_hash(trail[2])
    report = verify_chain(trail)
    assert (report.ok, report.broken_at) == (False, 4)
    assert "prevhash" in report.text


def test_missing_events_are_named() -> None:
    trail = a_trail()
    report = verify_chain([*trail[:2], *trail[4:]])
    assert (report.ok, report.missing, report.missing_count) == (False, (3, 4), 2)


def test_repeated_and_disordered_events_break_the_chain() -> None:
    trail = a_trail()
    assert verify_chain([*trail[:3], trail[2], *trail[3:]]).broken_at == 3
    assert verify_chain([trail[1], trail[0]]).ok is False


def test_cut_off_end_is_found_with_the_state_records_head() -> None:
    trail = a_trail()
    assert verify_chain(trail, (6, trail[-1]["hash"])).ok
    report = verify_chain(trail[:-1], (6, trail[-1]["hash"]))
    assert (report.ok, report.broken_at) == (False, 6)


def test_nothing_to_verify_is_said() -> None:
    assert verify_chain([]).text == "no event to verify"


def test_replay_refuses_a_gap_another_service_and_nothing() -> None:
    trail = a_trail()
    with pytest.raises(LedgerError, match="does not follow"):
        replay_state([trail[0], trail[2]])
    with pytest.raises(LedgerError, match="does not follow"):
        replay_state([trail[0], trail[1] | {"subject": "basket"}])
    with pytest.raises(LedgerError, match="no audit event"):
        replay_state([])


@pytest.mark.parametrize(
    "value", [b"", b"{}", b"[]", b'{"type":"io.eventscaler.decided.v1"}', b"\xff", b'{"a":1,"a":2}']
)
def test_what_is_no_audit_event_is_an_error(value: bytes) -> None:
    with pytest.raises(LedgerError):
        read_audit(value)
