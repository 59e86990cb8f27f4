"""What operators say of hosts holds for the partition's services, and for its next owner."""

from __future__ import annotations

from collections import Counter

import pytest

from autoscaler.core.host_marks import MarkedHosts, marked_host
from autoscaler.core.world import Hosts
from autoscaler.events.writing import control_event, message_of
from autoscaler.ledger.partition_record import decode_partition, encode_partition
from autoscaler.ports.stream import Outgoing, Topic
from tests.core.builders import a_host, a_service
from tests.engine.shards import Driven, a_record, a_setup, a_shard, restored, running, taken_over


def told(command: str, host: str = "h1", identity: str = "c-1") -> Outgoing:
    """A command about a host; its subject is no service."""
    return message_of(Topic.CONTROL, "hosts-0", control_event("hosts-0", command, "/ops", {"host": host}, id=identity))


def a_partition() -> Driven:
    """Four replicas on two hosts."""
    state = a_service(4)
    return a_shard(a_setup(shown=running(state)), state)


def test_drain_moves_what_runs_there_and_takes_nothing_new() -> None:
    driven = a_partition()
    driven.take(told("drain"))
    driven.turn()
    assert driven.verdicts == [("c-1", "applied", True)]
    assert driven.shard.record.marks == {"h1": "draining"}
    started = Counter(r.host for r in driven.state.replicas if r.attempt > 4)
    assert set(started) == {"h2"}


def test_cordon_leaves_what_runs_there_and_uncordon_takes_it_back() -> None:
    driven = a_partition()
    driven.take(told("cordon"))
    driven.turn()
    assert Counter(r.host for r in driven.state.replicas) == {"h1": 2, "h2": 2}
    driven.take(message_of(Topic.CONTROL, "web", control_event("web", "scale", "/ops", {"replicas": 6})))
    driven.turn()
    assert Counter(r.host for r in driven.state.replicas) == {"h1": 2, "h2": 4}
    driven.take(told("uncordon", identity="c-2"))
    driven.turn()
    assert driven.shard.record.marks == {}
    assert ("c-2", "applied", True) in driven.verdicts


def test_repeat_gets_no_second_verdict_and_what_holds_already_is_unchanged() -> None:
    driven = a_partition()
    driven.take(told("cordon"), told("cordon"), told("cordon", identity="c-2"))
    driven.turn()
    assert driven.verdicts == [("c-1", "applied", True), ("c-1", "duplicate", False), ("c-2", "unchanged", True)]


def test_next_owner_knows_what_was_said() -> None:
    record = a_record(marks={"h1": "cordoned"})
    assert decode_partition(encode_partition(record).value or b"").marks == {"h1": "cordoned"}
    taken = taken_over(a_setup(), restored(encode_partition(record)))
    assert taken.shard.record.marks == {"h1": "cordoned"}


@pytest.mark.parametrize(
    ("condition", "shown"), [("ready", "draining"), ("cordoned", "draining"), ("suspect", "suspect"), ("lost", "lost")]
)
def test_what_is_wrong_with_a_host_counts_more_than_its_mark(condition: str, shown: str) -> None:
    host = a_host("h1", condition=condition)
    assert marked_host(host, {"h1": "draining"}).condition == shown


def test_hosts_that_have_not_changed_are_the_same_objects() -> None:
    marked, pool, marks = MarkedHosts(), Hosts([a_host("h1"), a_host("h2")]), {"h1": "draining"}
    first = marked.shown("edge", pool, marks)  # type: ignore[arg-type]
    later = marked.shown("edge", pool.replaced({"h2": a_host("h2", replicas=1)}), marks)  # type: ignore[arg-type]
    assert later[0] is first[0]
    assert later[1].replicas == 1
    assert marked.shown("edge", pool, {}) is pool
