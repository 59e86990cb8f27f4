"""What the next owner makes of what a former one left on the stream."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.engine.takeover import LEASE_S
from autoscaler.errors import LedgerError
from autoscaler.ledger.partition_record import decode_partition, encode_partition
from autoscaler.ledger.state_codec import encode_state
from autoscaler.ports.stream import Outgoing, Topic, partition_of
from tests.core.builders import NOW, a_service
from tests.engine.shards import a_record, a_setup, restored, taken_over


def state_record(checkpoint: Any = None) -> Outgoing:
    return Outgoing(Topic.STATE, b"web", encode_state(a_service(2), checkpoint))


def test_a_partition_without_an_owner_begins_at_the_oldest_with_the_first_token() -> None:
    taken = taken_over(a_setup(), restored(deployments=3))
    assert taken.shard.record.token == 1
    assert taken.positions == {Topic.DEPLOYMENTS: 3, Topic.CONTROL: 0, Topic.METRICS: 0}
    assert (taken.held_until, taken.skipped) == (0.0, {})


def test_the_token_grows_with_each_take_over_and_stands_in_the_first_append() -> None:
    taken = taken_over(a_setup(), restored(state_record(), encode_partition(a_record(token=4))))
    (written,) = taken.append.records
    assert decode_partition(written.value or b"").token == 5
    assert taken.shard.states == {"web": a_service(2)}


def test_the_next_owner_goes_on_where_the_former_stopped() -> None:
    record = a_record(positions={Topic.DEPLOYMENTS: 7, Topic.CONTROL: 2, Topic.METRICS: 900})
    ends = {Topic.DEPLOYMENTS: 9, Topic.CONTROL: 2, Topic.METRICS: 1000}
    taken = taken_over(a_setup(), restored(encode_partition(record), ends=ends))
    assert taken.positions == record.positions


def test_a_position_beyond_the_end_of_a_topic_that_was_made_anew_begins_at_its_oldest() -> None:
    record = a_record(positions={Topic.DEPLOYMENTS: 90, Topic.CONTROL: 4})
    ends = {Topic.DEPLOYMENTS: 12, Topic.CONTROL: 4}
    taken = taken_over(a_setup(), restored(encode_partition(record), ends=ends, deployments=10))
    assert taken.positions == {Topic.DEPLOYMENTS: 10, Topic.CONTROL: 4, Topic.METRICS: 0}
    assert taken.append.positions == taken.positions


def test_events_that_retention_took_are_counted_and_samples_are_not() -> None:
    record = a_record(positions={Topic.DEPLOYMENTS: 2, Topic.METRICS: 2})
    taken = taken_over(a_setup(), restored(encode_partition(record), deployments=10, metrics=10))
    assert taken.skipped == {Topic.DEPLOYMENTS: 8}
    assert taken.positions[Topic.DEPLOYMENTS] == 10


@pytest.mark.parametrize(
    ("changes", "held_until"),
    [
        ({}, NOW + LEASE_S),
        ({"released": True}, 0.0),
        ({"member": "m1"}, 0.0),
        ({"released": True, "held_until": NOW + 4}, NOW + 4),
        ({"member": "m1", "held_until": NOW + 4}, NOW + 4),
        ({"held_until": NOW + 4}, NOW + LEASE_S),
    ],
)
def test_nothing_is_stopped_before_the_lease_of_an_owner_that_did_not_let_go_is_over(
    changes: dict[str, Any], held_until: float
) -> None:
    assert taken_over(a_setup(), restored(encode_partition(a_record(**changes)))).held_until == held_until


def test_the_lease_of_the_last_that_did_not_let_go_counts_over_a_chain_of_short_lived_owners() -> None:
    found, now = restored(encode_partition(a_record())), NOW
    ended_at = NOW + LEASE_S
    for number in range(5):
        taken = taken_over(a_setup(member=f"short-{number}"), found, now)
        assert taken.held_until == ended_at
        found = restored(*taken.shard.release(now).records)
        now += 1.0
    killed = taken_over(a_setup(member="killed"), found, now)
    assert killed.held_until == ended_at
    after_it = taken_over(a_setup(member="last"), restored(*killed.append.records), now + 1.0)
    assert after_it.held_until == now + 1.0 + LEASE_S


def test_the_same_member_again_waits_for_those_before_it() -> None:
    first = taken_over(a_setup(), restored(encode_partition(a_record())), NOW)
    again = taken_over(a_setup(), restored(*first.append.records), NOW + 3.0)
    assert again.held_until == NOW + LEASE_S


def test_an_owner_whose_clock_was_an_hour_ahead_holds_nobody_for_an_hour() -> None:
    record = a_record(released=True, at=NOW + 3600, held_until=NOW + 3600)
    assert taken_over(a_setup(), restored(encode_partition(record))).held_until == NOW + LEASE_S


def test_what_is_held_stands_in_every_append_of_the_new_owner() -> None:
    taken = taken_over(a_setup(), restored(encode_partition(a_record())))
    for append in (taken.append, taken.shard.heartbeat(NOW + 5), taken.shard.release(NOW + 6)):
        assert decode_partition(append.records[-1].value or b"").held_until == NOW + LEASE_S


def test_a_state_that_belongs_to_another_partition_is_left_alone() -> None:
    wrong = 1 - partition_of(b"web", 2)
    record = replace(a_record(), partition=wrong)
    found = restored(state_record(), encode_partition(record))
    assert taken_over(a_setup(partitions=2), found, partition=wrong).shard.states == {}


@pytest.mark.parametrize(
    "checkpoint", [{"at": 1.0}, {"signals": [], "wishes": 7, "memory": {}, "vetting": [], "at": 1}]
)
def test_a_checkpoint_of_another_version_is_dropped_and_the_state_is_kept(checkpoint: dict[str, Any]) -> None:
    taken = taken_over(a_setup(), restored(state_record(checkpoint)))
    assert taken.shard.states["web"].demand == 2
    assert taken.shard.evaluator.volatile["web"].signals.names == ()


@pytest.mark.parametrize("key", [b"web", b"~partition/0"])
def test_a_record_that_cannot_be_read_is_an_error_of_the_ledger(key: bytes) -> None:
    with pytest.raises(LedgerError):
        taken_over(a_setup(), restored(Outgoing(Topic.STATE, key, b'{"schema":99}')))
