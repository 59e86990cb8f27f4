"""A canary goes by steps: how many replicas of either revision, who starts and stops, who judges, what commands do."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.evolve import fold
from autoscaler.core.plan import plan
from autoscaler.core.rollout import Advancing, Held, RollingBack
from autoscaler.core.steps import Step, canary_counts, step_counts
from autoscaler.core.stimuli import Observed
from autoscaler.core.traffic import shares
from tests.core.builders import (
    NOW,
    a_host,
    a_revision,
    a_service,
    a_spec,
    count,
    judges,
    some_rules,
    some_settings,
    votes_down,
    wishes,
)
from tests.core.canaries import PAUSED, ROUTE, a_canary, a_canary_of, some_replicas
from tests.core.scene import Scene, a_scene

# Counts.


@pytest.mark.parametrize(
    ("demand", "weight", "surge", "expected"),
    [
        (10, 5, 1, (1, 10)),
        (10, 5, 0, (1, 9)),
        (10, 33, 1, (3, 7)),
        (7, 10, 1, (1, 7)),
        (3, 50, 0, (2, 1)),
        (3, 50, 1, (2, 2)),
        (10, 95, 0, (9, 1)),
        (1, 5, 1, (1, 1)),
        (1, 5, 0, (0, 1)),
    ],
)
def test_canary_counts_come_closest_to_the_weight(demand: int, weight: int, surge: int, expected: Any) -> None:
    assert canary_counts(demand, weight, surge) == expected


@given(demand=st.integers(1, 300), weight=st.integers(1, 99), surge=st.integers(0, 3))
def test_canary_counts_keep_one_of_each_revision_and_are_the_nearest(demand: int, weight: int, surge: int) -> None:
    new, old = canary_counts(demand, weight, surge)
    total = new + old
    assert total in ({demand, demand + 1} if surge else {demand})
    if demand + surge > 1 and total > 1:
        assert 1 <= new <= total - 1
    near = abs(Fraction(100 * new, total) - weight)
    for other_total in (demand, demand + 1) if surge else (demand,):
        for other in (demand * weight // 100, -(-demand * weight // 100)):
            if 1 <= other <= other_total - 1:
                assert near <= abs(Fraction(100 * other, other_total) - weight)


@given(demand=st.integers(1, 300), weight=st.integers(1, 100))
def test_with_a_router_all_old_ones_stay_and_the_canaries_can_bear_their_part(demand: int, weight: int) -> None:
    new, old = step_counts(Step(weight=weight), demand, 1, routed=True)
    assert old == demand
    assert new * 100 >= demand * weight > (new - 1) * 100


# Scenarios.


def test_dl11_count_canaries_stay_while_the_base_grows_with_the_demand() -> None:
    scene = a_canary(2, 10, 10, a_canary_of(Step(count=2, pause_s=None)), judging=True)
    scene.obedient = False
    scene.evaluate(wishes(15))
    assert scene.wanted() == {1: 15, 2: 2}
    assert scene.phase == "judging"


def test_dl12_promote_stops_what_is_covered_and_then_replaces_the_rest() -> None:
    settings = a_canary_of(Step(count=2, pause_s=None), max_surge=count(0), max_unavailable=count(2))
    scene = a_canary(2, 10, 10, settings, judging=True)
    scene.obedient = False
    scene.order("promote", "c-1")
    assert scene.verdict("c-1") == "applied"
    assert [r.slot for r in scene.state.replicas if r.revision == 1] == list(range(4, 10))
    assert [r.slot for r in scene.state.replicas if r.revision == 2] == [0, 1, 2, 3]


def test_dl14_lost_slot_and_drained_ones_are_made_anew_and_drained_ones_stop_last() -> None:
    rules = some_rules(order="stop_first", max_unavailable=count(4), first_batch=0)
    new = [r for r in some_replicas(2, range(7)) if r.slot]
    new = [replace(r, host="h9") if r.slot in {1, 2} else replace(r, host="h1") for r in new]
    old = [replace(r, host="h1") for r in some_replicas(1, range(7, 10))]
    rollout = Advancing(2, 1, None, NOW - 100, NOW + 60, 10, 10)
    state = a_service(
        (*new, *old), demand=10, revision=2, revisions=(a_revision(1), a_revision(2, "healthy")), attempts=100,
        rollout=rollout,
    )  # fmt: skip
    scene = Scene(state, some_settings(update=rules), [a_host("h1"), a_host("h9", condition="draining")])
    scene.obedient = False
    scene.tell(Observed(scene.now))
    assert [r.slot for r in scene.state.replicas if r.revision == 1] == [8, 9]
    assert sorted(r.slot for r in scene.state.replicas if r.host == "h9") == [1, 2]
    fresh = [r for r in scene.state.replicas if r.attempt > 100]
    # Three for the lost and the drained ones, and one more for the r1 that stops.
    assert (len(fresh), {r.revision for r in fresh}) == (4, {2})


@pytest.mark.parametrize(("to", "fast"), [(3, True), (4, True), (2, False), (6, False)], ids=str)
def test_dl21_only_proven_ground_close_behind_needs_no_steps(to: int, fast: Any) -> None:
    revisions = tuple(a_revision(n) for n in range(1, 6))
    settings = a_canary_of(PAUSED)
    scene = Scene(a_service(5, revision=5, revisions=revisions), settings)
    scene.deploy(a_spec(str(to)))
    scene.run(20)
    assert (scene.phase, scene.wanted()) == (("soaking", {6: 5}) if fast else ("judging", {5: 4, 6: 1}))


def test_dl22_demand_that_grows_while_paused_is_filled_old_first_and_nothing_resumes() -> None:
    scene = a_canary(0, 5, 5, a_canary_of(PAUSED, first_batch=0))
    scene.obedient = False
    scene.order("pause")
    held = scene.state.rollout
    scene.evaluate(wishes(10))
    assert scene.wanted() == {1: 8, 2: 2}
    started = next(r.reason.text for r in scene.records if r.kind == "schedule" and "start" in r.reason.text)
    assert started.index(".r1.") < started.index(".r2.")
    assert isinstance(scene.state.rollout, Held)
    assert isinstance(held, Held)
    assert scene.state.rollout.resumed == held.resumed


def test_dl23_inconclusive_step_is_held_and_not_advanced() -> None:
    scene = a_canary(1, 4, 5, a_canary_of(Step(weight=20, pause_s=30.0)), judging=True)
    scene.votes = (judges("inconclusive"),)
    scene.run(40)
    rollout = scene.state.rollout
    assert isinstance(rollout, Held)
    assert (rollout.why, rollout.resumed.phase, scene.wanted()) == ("inconclusive", "judging", {1: 4, 2: 1})
    scene.run(3600)
    assert scene.state.rollout == rollout


def test_dl25_canary_surges_before_the_old_ones_stop() -> None:
    scene = a_canary(0, 10, 10, a_canary_of(PAUSED, max_surge=count(2), first_batch=0))
    scene.obedient = False
    scene.tell(Observed(scene.now))
    assert scene.wanted() == {1: 10, 2: 2}
    scene.obedient = True
    scene.tell(Observed(scene.now))
    scene.run(5)
    assert (scene.wanted(), scene.phase) == ({1: 8, 2: 2}, "judging")


@pytest.mark.parametrize(
    ("weight", "surge", "unavailable", "old", "new", "expected"),
    [(20, 0, 2, 10, 0, {1: 8, 2: 2}), (100, 1, 1, 1, 10, {2: 10}), (0, 0, 1, 10, 1, {1: 10})],
    ids=["20 %", "100 %", "0 %"],
)
def test_dl26_step_is_approached_within_what_may_be_unavailable(
    weight: int, surge: int, unavailable: int, old: int, new: int, expected: Any
) -> None:
    rules: Any = {"max_surge": count(surge), "max_unavailable": count(unavailable), "first_batch": 0}
    scene = a_canary(new, old, 10, a_canary_of(Step(weight=weight, pause_s=None), **rules))
    scene.obedient = False
    scene.tell(Observed(scene.now))
    assert scene.wanted() == expected
    stopped = [a for a in plan(scene.state, scene.settings, scene.world(), "shop") if a.kind == "stop"]
    assert len(stopped) == old + new - sum(min(expected.get(n, 0), was) for n, was in ((1, old), (2, new)))


def test_dl27_failed_canary_loses_its_traffic_before_it_stops() -> None:
    scene = a_canary(1, 10, 10, a_canary_of(Step(weight=10, pause_s=30.0), route=ROUTE), judging=True)
    assert shares(scene.state, scene.settings) == ((1, 90), (2, 10))
    scene.obedient = False
    before = scene.state
    records = scene.evaluate(votes_down())
    turned = next(n for n, r in enumerate(records) if isinstance(r.changes.get("rollout"), RollingBack))
    rolling_back = fold(before, records[: turned + 1])
    assert shares(rolling_back, scene.settings) == ((1, 100),)
    assert {r.revision for r in rolling_back.replicas} == {1, 2}
    assert scene.wanted() == {1: 10}
    assert scene.running() == {1: 10, 2: 1}
    stops = [a for a in plan(scene.state, scene.settings, scene.world(), "shop") if a.kind == "stop"]
    assert [(a.kind, a.drain_s) for a in stops] == [("stop", 30.0)]  # type: ignore[union-attr]
    scene.obedient = True
    scene.tell(Observed(scene.now))
    scene.run(5)
    assert (scene.running(), scene.phase) == ({1: 10}, "idle")


def test_dl31_metrics_that_stop_hold_the_step_after_patience_and_judge_it_when_they_are_back() -> None:
    scene = a_canary(1, 4, 5, a_canary_of(Step(weight=20, pause_s=30.0), Step(weight=50, pause_s=30.0)), judging=True)
    scene.votes = (judges("unknown"),)
    scene.run(100)
    assert scene.phase == "judging"
    scene.run(30)
    held = scene.state.rollout
    assert isinstance(held, Held)
    assert (held.why, scene.wanted(), scene.state.revision) == ("unknown", {1: 4, 2: 1}, 2)
    alarm = next(r for r in scene.records if r.reason.code == "held_unknown")
    assert "alarm" in alarm.reason.text
    scene.evaluate(judges("unknown"))
    assert scene.state.rollout == held
    scene.evaluate(judges("pass"))
    assert isinstance(scene.state.rollout, Advancing)
    assert scene.state.rollout.step == 1


def test_dl31_data_that_come_back_bad_take_the_canary_back() -> None:
    scene = a_canary(1, 4, 5, a_canary_of(Step(weight=20, pause_s=30.0)), judging=True)
    scene.votes = (judges("unknown"),)
    scene.run(200)
    assert scene.phase == "held"
    scene.evaluate(judges("fail"))
    scene.run(5)
    assert (scene.state.revision, scene.phase, scene.running()) == (1, "idle", {1: 5})


def test_dl32_content_that_a_canary_rejected_is_refused_and_no_host_is_called() -> None:
    scene = a_scene(4, settings=a_canary_of(Step(weight=25, pause_s=60.0)))
    scene.deploy(a_spec("2"), "d-1")
    scene.run(20)
    scene.evaluate(votes_down())
    scene.run(20)
    assert scene.verdict("d-1") == "rolled_back"
    before = len(scene.actions)
    scene.deploy(a_spec("2"), "d-2")
    assert (scene.verdict("d-2"), scene.reason("d-2")) == ("refused", "rejected_before")
    assert "(d-1)" in next(r.reason.text for r in scene.records if r.reason.code == "rejected_before")
    assert len(scene.actions) == before
