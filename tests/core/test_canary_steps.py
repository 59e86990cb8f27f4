"""Along the steps of a canary: judging, commands, changed demand, hosts and health meanwhile, and the traffic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core.rollout import Advancing, Held, Judging
from autoscaler.core.steps import Step
from autoscaler.core.stimuli import Observed
from autoscaler.core.traffic import shares
from tests.core.builders import (
    NOW,
    a_spec,
    count,
    judges,
    wishes,
)
from tests.core.canaries import PAUSED, ROUTE, a_canary, a_canary_of
from tests.core.scene import Scene, a_scene, crashes, silent

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
