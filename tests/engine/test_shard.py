"""What a shard makes of messages, deadlines and windows, on virtual time."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from autoscaler.core.actions import StopReplica
from autoscaler.core.proposals import Scale
from autoscaler.core.settings import Bounds, PolicyUse, Scaling
from autoscaler.core.stimuli import Configured, PolicyVote
from autoscaler.engine import conclusion as conclusion_module
from autoscaler.engine import shard as shard_module
from autoscaler.engine.shard import AHEAD_S
from autoscaler.engine.volatile import Volatile
from autoscaler.ledger.state_codec import decode_state
from autoscaler.plugin_host.evaluation import EvaluationRequest
from autoscaler.ports.stream import Append, Outgoing, Topic, partition_of
from autoscaler.simulator.owner import SimVoter
from tests.core.builders import NOW, a_service, some_settings
from tests.engine.instances import command, deployment, sample
from tests.engine.shards import Driven, a_setup, a_shard, restored, running, taken_over

WINDOW_S = 300.0
EVERY_S = 10.0


def broken_deployment(service: str = "web", identity: str = "d-1") -> Outgoing:
    """A deployment whose identity can be read and whose data is nonsense."""
    whole = deployment(service, identity=identity)
    event = json.loads(whole.value or b"") | {"data": {"revision": {"image": 7}}}
    return Outgoing(whole.topic, whole.key, json.dumps(event).encode(), whole.headers)


def states_in(append: Append) -> dict[str, bool]:
    """Service -> whether its state record has a checkpoint."""
    records = (r for r in append.records if r.topic is Topic.STATE and not r.key.startswith(b"~"))
    kept = [decode_state(record.value or b"") for record in records]
    return {one.state.service: one.checkpoint is not None for one in kept}


class Clockwork(SimVoter):
    """A policy that looks at no metric: two replicas until a moment, five from then on. ``asked``: when it was."""

    def __init__(self, begins_at: float) -> None:
        super().__init__()
        self.begins_at = begins_at
        self.asked: list[float] = []

    def votes(self, request: EvaluationRequest) -> tuple[PolicyVote, ...]:
        self.asked.append(request.now)
        begun = request.now >= self.begins_at
        wish = Scale(5, "open") if begun else Scale(2, "closed", wake_at=self.begins_at)
        return (PolicyVote("clockwork", wish),)


def test_a_policy_that_goes_by_the_clock_is_asked_once_after_a_take_over_and_when_it_wished() -> None:
    voter = Clockwork(NOW + 60)
    settings = some_settings(policies=(PolicyUse("clockwork"),), scaling=Scaling(down_window_s=0.0))
    driven = a_shard(replace(a_setup({"web": settings}), voter=voter), a_service(2))
    driven.shard.tell("web", Configured(NOW))
    driven.turn()
    driven.turn()
    assert (voter.asked, driven.state.demand) == ([NOW], 2)
    driven.turn(NOW + 60)
    assert (voter.asked, driven.state.demand) == ([NOW, NOW + 60], 5)


def test_of_a_service_without_a_sample_nothing_is_kept_after_the_first_look() -> None:
    settings = some_settings(policies=(PolicyUse("load"),))
    driven = a_shard(a_setup({"web": settings}), a_service(2))
    driven.shard.tell("web", Configured(NOW))
    driven.turn()
    assert driven.shard.evaluator.volatile == {}
    assert driven.state.conclusion is None


def test_of_a_service_whose_samples_are_old_nothing_is_decided_at_the_first_look() -> None:
    settings = some_settings(policies=(PolicyUse("load"),))
    driven = a_shard(a_setup({"web": settings}), a_service(2))
    known = driven.shard.evaluator.volatile["web"] = Volatile(settings)
    known.signals.fold("load", NOW - 3600, 90.0, "/test")
    known.event_at = NOW - 3600
    driven.shard.tell("web", Configured(NOW))
    driven.turn()
    assert driven.state.conclusion is None
    assert driven.shard.evaluator.volatile == {"web": known}


def test_an_unreadable_deployment_gets_one_terminal_verdict_and_its_repeat_is_a_duplicate() -> None:
    driven = a_shard(a_setup())
    driven.take(broken_deployment())
    driven.turn()
    driven.take(broken_deployment())
    driven.turn()
    assert driven.verdicts == [("d-1", "rejected", True), ("d-1", "duplicate", False)]


def test_an_unreadable_deployment_twice_in_one_append_is_rejected_once() -> None:
    driven = a_shard(a_setup())
    driven.take(broken_deployment(), broken_deployment())
    driven.turn()
    assert driven.verdicts == [("d-1", "rejected", True), ("d-1", "duplicate", False)]


def test_an_unreadable_deployment_of_no_known_service_is_rejected_once() -> None:
    driven = a_shard(a_setup())
    driven.take(broken_deployment("nobody"))
    driven.turn()
    driven.take(broken_deployment("nobody"))
    driven.turn()
    assert driven.verdicts == [("d-1", "rejected", True), ("d-1", "duplicate", False)]
    assert states_in(driven.appends[-1]) == {}


def test_a_deployment_of_a_service_that_nobody_configured_is_refused_once() -> None:
    driven = a_shard(a_setup())
    driven.take(deployment("nobody"), deployment("nobody"))
    driven.turn()
    driven.take(deployment("nobody"))
    driven.turn()
    assert driven.verdicts == [("d-1", "refused", True), ("d-1", "duplicate", False), ("d-1", "duplicate", False)]


def test_a_message_without_a_readable_identity_gets_a_record_and_no_verdict() -> None:
    driven = a_shard(a_setup())
    driven.take(Outgoing(Topic.DEPLOYMENTS, b"web", b"{"))
    (record,) = driven.turn()
    assert (record.type, record.verdict, record.terminal) == ("rejected", None, False)


def test_what_is_keyed_by_a_service_of_another_partition_changes_nothing_of_it() -> None:
    state = a_service(2)
    wrong = 1 - partition_of(b"web", 2)
    driven = a_shard(a_setup(partitions=2, shown=running(state)), partition=wrong)
    driven.take(Outgoing(Topic.METRICS, b"web", b"junk"), broken_deployment())
    driven.turn()
    assert states_in(driven.appends[-1]) == {}
    driven.shard.replan()
    assert driven.shard.actions(driven.now) == []


def test_a_clock_that_is_an_hour_ahead_makes_no_other_signal_unknown() -> None:
    services = {"web": some_settings(bounds=Bounds(1, 40, 1)), "api": some_settings()}
    state = a_service(2)
    driven = a_shard(a_setup(services, shown=running(state)), state)
    driven.take(sample("api", load=10.0), sample("web", errors=0.0), at=NOW + 3600)
    driven.turn()
    driven.take(sample("web", load=70.0), at=NOW)
    driven.turn()
    assert driven.state.demand == 7
    assert driven.shard.evaluator.newest_at == NOW + AHEAD_S


def test_samples_of_a_service_that_nobody_configured_are_counted() -> None:
    driven = a_shard(a_setup())
    driven.take(sample("nobody", load=1.0, queue=2.0), sample(load=1.0))
    counted = driven.shard.setup.counters.samples
    assert (counted["unknown_service"], counted["folded"]) == (2, 1)


def test_what_was_taken_before_is_passed_over() -> None:
    driven = a_shard(a_setup())
    driven.take(deployment(identity="d-1"), deployment(version="2", identity="d-2"))
    driven.turn()
    driven._next[Topic.DEPLOYMENTS] = 0
    driven.take(deployment(identity="d-1"), deployment(version="2", identity="d-2"))
    assert driven.turn() == []


def test_a_deadline_that_comes_between_deciding_and_planning_fires() -> None:
    state = a_service(2)
    driven = a_shard(a_setup(shown=running(state)), state)
    driven.take(command("web", "scale", "c-1", replicas=2, **{"for": "1s"}))
    driven.turn()
    driven.shard.actions(NOW + 2.0)
    assert driven.shard.next_due() == NOW + 1.0
    driven.turn(NOW + 2.0)
    assert driven.state.override is None


def with_history(driven: Driven, until: float, peak_until: float) -> None:
    """Samples of ten minutes: many until ``peak_until``, then few; each is decided about."""
    at = until - 600.0
    while at <= until:
        driven.now = at
        driven.take(sample(load=80.0 if at <= peak_until else 10.0))
        driven.turn()
        at += EVERY_S


def scaled_down_at(driven: Driven, since: float, seconds: float) -> float | None:
    """When few samples from ``since`` on first lower the demand."""
    demand, at = driven.state.demand, since
    while at < since + seconds:
        driven.now = at
        driven.take(sample(load=10.0))
        driven.turn()
        if driven.state.demand < demand:
            return at
        at += EVERY_S
    return None


def a_former_owner() -> Driven:
    """It saw its last peak a hundred seconds ago; web has eight replicas."""
    state = a_service(8)
    driven = a_shard(a_setup(shown=running(state)), state, at=NOW - 600)
    with_history(driven, NOW, NOW - 100)
    assert driven.state.demand == 8
    return driven


def the_next(former: Driven, *written: Outgoing) -> Driven:
    """The owner that reads the same messages from the first one on."""
    setup = a_setup(shown=running(a_service(8)), member="m2")
    end = former._next[Topic.METRICS]
    driven = Driven(taken_over(setup, restored(*written, ends={Topic.METRICS: end}), NOW + 1).shard, NOW + 1)
    driven.shard.read_again(Topic.METRICS, 0, end)
    at = NOW - 600
    while driven._next[Topic.METRICS] < end:
        driven.take(sample(load=80.0 if at <= NOW - 100 else 10.0), at=at)
        at += EVERY_S
    driven.shard.warming = False
    driven.turn()
    return driven


def test_a_calm_service_is_scaled_down_a_window_after_its_last_peak() -> None:
    found = scaled_down_at(a_former_owner(), NOW + EVERY_S, 400)
    assert found is not None
    assert 0 < found - (NOW - 100) - WINDOW_S <= 2 * EVERY_S


def test_samples_that_are_read_again_after_a_crash_scale_nothing_down() -> None:
    former = a_former_owner()
    written = former.shard._ledger.state_record(former.state)
    successor = the_next(former, written)
    assert successor.state.demand == 8
    found = scaled_down_at(successor, NOW + EVERY_S, 400)
    assert found is not None
    assert found >= NOW + WINDOW_S


def test_an_old_checkpoint_does_not_shorten_the_window() -> None:
    former = a_former_owner()
    old = next(r for r in former.appends[0].records if r.key == b"web" and r.topic is Topic.STATE)
    assert states_in(former.appends[0]) == {"web": True}
    successor = the_next(former, old)
    found = scaled_down_at(successor, NOW + EVERY_S, 400)
    assert found is not None
    assert found >= NOW + WINDOW_S


def test_signals_and_wishes_survive_a_clean_restart() -> None:
    former = a_former_owner()
    saved = former.shard.checkpoints(NOW)
    assert saved is not None
    former.shard.committed(NOW)
    assert former.shard.checkpoints(NOW) is None
    successor = the_next(former, *saved.records, *former.shard.release(NOW).records)
    assert successor.state.demand == 8
    found = scaled_down_at(successor, NOW + EVERY_S, 400)
    assert found is not None
    assert 0 < found - (NOW - 100) - WINDOW_S <= 2 * EVERY_S


def test_silence_after_a_restart_scales_nothing_down() -> None:
    former = a_former_owner()
    saved = former.shard.checkpoints(NOW)
    assert saved is not None
    successor = the_next(former, *saved.records)
    for seconds in range(10, 1000, 10):
        successor.turn(NOW + seconds)
    assert successor.state.demand == 8


def test_a_checkpoint_that_is_too_large_is_dropped_and_the_state_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (conclusion_module, shard_module):
        monkeypatch.setattr(module, "STATE_BYTES_MAX", 3000)
    state = a_service(2)
    driven = a_shard(a_setup(shown=running(state)), state)
    driven.take(sample(load=50.0))
    driven.turn()
    assert states_in(driven.appends[-1]) == {"web": True}
    driven.take(sample(**{f"metric_{n}": 1.0 for n in range(100)}))
    driven.take(command("web", "scale", "c-1", replicas=4))
    driven.turn()
    assert states_in(driven.appends[-1]) == {"web": False}
    assert driven.state.demand == 4
    assert driven.shard.checkpoints(NOW) is None


def test_an_append_that_decides_nothing_moves_no_position() -> None:
    driven = a_shard(a_setup(), a_service(1))
    driven.take(deployment())
    for append in (driven.shard.heartbeat(NOW), driven.shard.release(NOW)):
        assert append.positions == {}


def test_nothing_is_planned_twice_for_a_replica_with_a_call_under_way() -> None:
    state = a_service(0)
    shown = running(a_service(1))
    driven = a_shard(a_setup({"web": some_settings(scaling=Scaling())}, shown=shown), state)
    driven.shard.replan()
    (first,) = driven.shard.actions(NOW)
    assert isinstance(first, StopReplica)
    driven.shard.replan()
    assert driven.shard.actions(NOW) == []
    driven.shard.cleared("web", first.key)
    assert [action.key for action in driven.shard.actions(NOW)] == [first.key]
