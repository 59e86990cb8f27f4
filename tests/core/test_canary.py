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
from autoscaler.core.rollout import Advancing, Held, Judging, RollingBack
from autoscaler.core.settings import Route, ServiceSettings
from autoscaler.core.state import Replica
from autoscaler.core.steps import Step, canary_counts, step_counts
from autoscaler.core.stimuli import Observed
from autoscaler.core.traffic import shares
from tests.core.builders import (
    NOW,
    a_host,
    a_replica,
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
from tests.core.scene import Scene, a_scene, crashes, silent

ROUTE = Route("127.0.0.1:8080", "http")
FOUR_HOSTS = ("h1", "h2", "h3", "h4")
PAUSED = Step(weight=20, pause_s=None)


def a_canary_of(*steps: Step, route: Route | None = None, **rules: Any) -> ServiceSettings:
    """Settings of a service that is updated by these steps."""
    return some_settings(update=some_rules(strategy="canary", steps=steps, **rules), route=route)


def some_replicas(revision: int, slots: range, *, available: bool = True) -> list[Replica]:
    """Replicas of a revision in those slots."""
    at = NOW - 800 if available else None
    return [a_replica(s, revision, revision * 20 + s, FOUR_HOSTS[s % 4], available_at=at) for s in slots]


def a_canary(
    new: int, old: int, demand: int, settings: ServiceSettings, *, judging: bool = False, step: int = 0, **changes: Any
) -> Scene:
    """A canary in the middle: so many of r2 and r1, on the way to a step or judged there."""
    steps = settings.update.steps
    rollout: Any = Advancing(2, 1, None, NOW - 100, NOW + 60, demand, demand, steps=steps, step=step)
    if judging:
        pause_s = steps[step].pause_s
        until = None if pause_s is None else NOW + pause_s
        rollout = Judging(2, 1, None, NOW - 100, demand, demand, NOW, until, steps=steps, step=step)
    replicas = sorted(
        [*some_replicas(2, range(new)), *some_replicas(1, range(old))], key=lambda r: (r.slot, r.revision)
    )
    state = a_service(
        tuple(replicas),
        demand=demand,
        revision=2,
        revisions=(a_revision(1), a_revision(2, "healthy")),
        attempts=100,
        rollout=replace(rollout, **changes),
    )
    return Scene(state, settings, [a_host(h) for h in FOUR_HOSTS])


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


# Along the steps.


def test_canary_goes_through_its_steps_and_soaks() -> None:
    steps = (Step(weight=20, pause_s=30.0), Step(count=2, pause_s=10.0), Step(weight=50, pause_s=0.0))
    scene = a_scene(5, settings=a_canary_of(*steps))
    scene.votes = (judges("pass"),)
    scene.deploy(a_spec("2"))
    reached: list[tuple[str, int, dict[int, int]]] = []
    for _ in range(120):
        rollout = scene.state.rollout
        if isinstance(rollout, Judging) and (not reached or reached[-1][1] != rollout.step):
            reached.append((rollout.phase, rollout.step, scene.wanted()))
        scene.run(1)
    assert reached == [("judging", 0, {1: 4, 2: 1}), ("judging", 1, {1: 5, 2: 2})]
    assert [r.reason.code for r in scene.records if r.reason.code in {"judging", "step"}] == ["judging", "step"] * 3
    assert (scene.verdict("d-1"), scene.running()) == ("applied", {2: 5})


def test_first_revision_has_no_steps_to_go() -> None:
    scene = Scene(settings=a_canary_of(PAUSED))
    scene.deploy(a_spec("1"))
    scene.run(60)
    assert (scene.verdict("d-1"), scene.running()) == ("applied", {1: 1})


def test_crashing_canary_goes_back_before_anything_is_judged() -> None:
    scene = a_scene(5, settings=a_canary_of(PAUSED), v2=crashes)
    scene.deploy(a_spec("2"))
    scene.run(10)
    assert (scene.verdict("d-1"), scene.running()) == ("rolled_back", {1: 5})


def test_canary_that_turns_sick_in_its_pause_goes_back() -> None:
    scene = a_canary(1, 4, 5, a_canary_of(PAUSED), judging=True)
    name = next(n for n, c in scene.containers.items() if c.revision == 2)
    scene.containers[name] = replace(scene.containers[name], healthy=False)
    scene.tell(Observed(scene.now))
    scene.run(10)
    assert (scene.running(), scene.state.revision) == ({1: 5}, 1)


def test_pause_until_promote_goes_on_by_no_clock() -> None:
    scene = a_canary(1, 4, 5, a_canary_of(PAUSED), judging=True)
    scene.votes = (judges("pass"),)
    scene.evaluate(judges("pass"))
    scene.run(100_000)
    assert scene.phase == "judging"


def test_check_that_asks_for_time_is_waited_for_and_in_the_end_inconclusive() -> None:
    scene = a_canary(1, 4, 5, a_canary_of(Step(weight=20, pause_s=30.0)), judging=True)
    scene.votes = (judges("inconclusive", wake_at=NOW + 100_000),)
    scene.run(100)
    assert scene.phase == "judging"
    scene.run(30)
    assert isinstance(scene.state.rollout, Held)
    assert scene.state.rollout.why == "inconclusive"


def test_worst_check_decides() -> None:
    scene = a_canary(1, 4, 5, a_canary_of(Step(weight=20, pause_s=30.0)), judging=True)
    scene.votes = (judges("pass", "a"), judges("inconclusive", "b"), judges("unknown", "c"))
    scene.run(31)
    assert isinstance(scene.state.rollout, Judging)
    assert scene.state.rollout.unknown_since == NOW + 30


def test_scaling_policies_do_not_judge() -> None:
    scene = a_canary(1, 4, 5, a_canary_of(Step(weight=20, pause_s=30.0)), judging=True)
    scene.votes = (wishes(None, unknown="rps unknown: never seen"), judges("pass"))
    scene.run(31)
    assert isinstance(scene.state.rollout, Advancing)


def test_answers_about_a_phase_that_has_ended_judge_nothing() -> None:
    scene = a_canary(1, 4, 5, a_canary_of(Step(weight=20, pause_s=0.0)), judging=True, until=NOW - 5)
    scene.evaluate(judges("inconclusive"), told_since=NOW - 100)
    assert scene.phase == "judging"
    scene.evaluate(judges("inconclusive"), told_since=NOW)
    assert scene.phase == "held"


# Demand, hosts and health meanwhile.


def test_weight_is_computed_anew_when_the_demand_changes() -> None:
    scene = a_canary(2, 8, 10, a_canary_of(PAUSED, first_batch=0), judging=True)
    scene.evaluate(wishes(20))
    scene.run(5)
    assert (scene.wanted(), scene.phase) == ({1: 16, 2: 4}, "judging")
    scene.evaluate(wishes(5))
    scene.run(5)
    assert (scene.wanted(), scene.phase) == ({1: 4, 2: 1}, "judging")


def test_canary_that_ails_does_not_grow_with_the_demand() -> None:
    scene = a_canary(2, 8, 10, a_canary_of(PAUSED, first_batch=0), judging=True)
    name = next(n for n, c in scene.containers.items() if c.revision == 2)
    scene.containers[name] = replace(scene.containers[name], healthy=None, healthy_since=None)
    scene.obedient = False
    scene.evaluate(wishes(20))
    edit = next(r for r in scene.records if r.kind == "schedule" and "replicas" in r.changes)
    assert sum(1 for r in edit.changes["replicas"] if r.revision == 2) == 2  # type: ignore[attr-defined]


def test_sick_replica_of_the_base_is_replaced_in_kind_while_a_canary_is_judged() -> None:
    scene = a_canary(1, 4, 5, a_canary_of(PAUSED), judging=True)
    name = next(n for n, c in scene.containers.items() if c.revision == 1)
    scene.containers[name] = replace(scene.containers[name], healthy=False)
    scene.tell(Observed(scene.now))
    scene.run(10)
    assert name not in scene.containers
    assert (scene.running(), scene.phase) == ({1: 4, 2: 1}, "judging")


def test_draining_host_is_emptied_while_a_canary_is_judged() -> None:
    scene = a_canary(1, 4, 5, a_canary_of(PAUSED), judging=True)
    scene.change_host("h1", condition="draining")
    scene.run(20)
    assert {c.host for c in scene.containers.values()} <= {"h2", "h3", "h4"}
    assert (scene.running(), scene.phase) == ({1: 4, 2: 1}, "judging")


def test_demand_of_zero_ends_a_canary_unproven() -> None:
    scene = a_scene(3, settings=a_canary_of(PAUSED))
    scene.deploy(a_spec("2"))
    scene.run(10)
    scene.order("scale", replicas=0)
    scene.run(10)
    assert (scene.verdict("d-1"), scene.running(), scene.phase) == ("applied", {}, "idle")


# Commands in every phase.


def test_promote_waits_for_the_canaries_health() -> None:
    settings = a_canary_of(Step(count=2, pause_s=None), first_batch=0)
    scene = a_scene(4, settings=settings, v2=silent)
    scene.deploy(a_spec("2"))
    scene.order("promote", "c-1")
    assert scene.verdict("c-1") == "refused"
    assert next(r.reason.text for r in scene.records if r.reason.code == "not_available") == "0 of 2 available"


def test_promote_skips_the_steps_that_are_left_and_their_checks() -> None:
    scene = a_canary(1, 4, 5, a_canary_of(PAUSED, Step(weight=60, pause_s=None)), judging=True)
    scene.votes = (judges("inconclusive"),)
    scene.order("promote", "c-1")
    scene.run(20)
    assert (scene.verdict("c-1"), scene.phase, scene.running()) == ("applied", "soaking", {2: 5})


def test_expired_pause_does_not_go_on_while_an_operator_pauses() -> None:
    scene = a_canary(1, 4, 5, a_canary_of(Step(weight=20, pause_s=30.0), Step(weight=60)), judging=True)
    scene.votes = (judges("pass"),)
    scene.run(10)
    scene.order("pause", "c-1")
    scene.run(1000)
    assert (scene.phase, scene.wanted()) == ("held", {1: 4, 2: 1})
    scene.order("resume", "c-2")
    scene.run(19)
    assert scene.phase == "judging"
    scene.run(2)
    assert isinstance(scene.state.rollout, Advancing)


def test_resume_ends_a_pause_until_promote_for_one_step() -> None:
    scene = a_canary(1, 4, 5, a_canary_of(PAUSED, Step(weight=60, pause_s=None)), judging=True)
    scene.votes = (judges("pass"),)
    scene.order("resume", "c-1")
    scene.run(20)
    assert scene.verdict("c-1") == "applied"
    assert (scene.phase, scene.wanted()) == ("judging", {1: 2, 2: 3})


@pytest.mark.parametrize("command", ["approve", "promote"])
def test_inconclusive_step_goes_on_when_an_operator_says_so(command: str) -> None:
    scene = a_canary(1, 4, 5, a_canary_of(Step(weight=20, pause_s=30.0)), judging=True)
    scene.votes = (judges("inconclusive"),)
    scene.run(31)
    scene.order(command, "c-1")
    scene.run(20)
    assert (scene.verdict("c-1"), scene.phase, scene.running()) == ("applied", "soaking", {2: 5})


def test_resume_of_an_inconclusive_step_judges_it_anew() -> None:
    scene = a_canary(1, 4, 5, a_canary_of(Step(weight=20, pause_s=30.0)), judging=True)
    scene.votes = (judges("inconclusive"),)
    scene.run(31)
    scene.order("resume", "c-1")
    scene.votes = (judges("pass"),)
    scene.run(29)
    assert scene.phase == "judging"
    scene.run(20)
    assert scene.phase == "soaking"


def test_abort_takes_a_judged_canary_back() -> None:
    scene = a_canary(1, 4, 5, a_canary_of(PAUSED), judging=True)
    scene.order("abort", "c-1")
    scene.run(10)
    assert (scene.verdict("c-1"), scene.running(), scene.state.revision) == ("applied", {1: 5}, 1)


def test_freeze_holds_a_judged_canary_until_it_ends() -> None:
    scene = a_canary(1, 4, 5, a_canary_of(Step(weight=20, pause_s=30.0)), judging=True)
    scene.votes = (judges("pass"),)
    scene.order("freeze", "c-1", for_s=100.0)
    scene.run(60)
    assert (scene.phase, scene.wanted()) == ("held", {1: 4, 2: 1})
    scene.run(80)
    assert scene.phase in {"advancing", "soaking"}


def test_newer_deployment_stops_the_canaries_and_starts_from_the_base() -> None:
    scene = a_scene(5, settings=a_canary_of(PAUSED, max_surge=count(1)))
    scene.deploy(a_spec("2"), "d-1")
    scene.run(10)
    scene.order("promote", "c-9")
    scene.deploy(a_spec("3"), "d-2")
    scene.run(30)
    assert scene.verdict("d-1") == "superseded"
    assert scene.wanted()[3] >= 1
    assert 2 not in scene.wanted()


def test_update_to_the_base_in_a_canary_goes_straight_back() -> None:
    scene = a_scene(5, settings=a_canary_of(PAUSED))
    scene.deploy(a_spec("2"), "d-1")
    scene.run(10)
    assert scene.wanted() == {1: 4, 2: 1}
    made = [n for n in scene.created if ".r1." in n]
    scene.deploy(a_spec("1"), "d-2")
    scene.run(10)
    assert (scene.verdict("d-1"), scene.verdict("d-2")) == ("superseded", "applied")
    assert (scene.state.revision, scene.running(), scene.phase) == (1, {1: 5}, "idle")
    assert len([n for n in scene.created if ".r1." in n]) == len(made) + 1


# Shares of the traffic.


def test_traffic_shifts_when_a_step_is_reached_and_never_before() -> None:
    steps = (Step(weight=20, pause_s=30.0), Step(weight=50, pause_s=30.0))
    scene = a_scene(4, settings=a_canary_of(*steps, route=ROUTE, soak_s=0.0))
    scene.votes = (judges("pass"),)
    scene.deploy(a_spec("2"))
    seen: list[Any] = []
    for _ in range(100):
        now = (shares(scene.state, scene.settings), scene.phase)
        if not seen or seen[-1] != now:
            seen.append(now)
        scene.run(1)
    parts = [dict(shared)[2] if shared else None for shared, _ in seen]
    assert parts[:4] == [0, 20, 20, 50]
    numbers = [part for part in parts if part is not None]
    assert numbers == sorted(numbers)
    assert scene.running() == {2: 4}


def test_no_share_where_nothing_routes() -> None:
    scene = a_canary(1, 4, 5, a_canary_of(PAUSED), judging=True)
    assert shares(scene.state, scene.settings) is None


def test_step_of_counts_is_shared_by_count() -> None:
    scene = a_canary(1, 5, 5, a_canary_of(Step(count=1, pause_s=None), route=ROUTE), judging=True)
    assert shares(scene.state, scene.settings) is None
