"""A revision that fails is taken back, and its content with it; without anything to go back to the service halts."""

from __future__ import annotations

from autoscaler.core.facts import EventRef
from autoscaler.core.rollout import Advancing, Halted, Soaking
from autoscaler.core.settings import Bounds
from tests.core.builders import a_host, a_revision, a_service, a_spec, percent, some_rules, some_settings, wishes
from tests.core.scene import Scene, a_scene, crashes, one_after_another, sick, silent


def test_new_revision_that_never_gets_healthy_is_rolled_back_at_the_startup_deadline_and_keeps_todays_demand() -> None:
    scene = a_scene(3, v2=silent)
    scene.deploy(a_spec("2"))
    scene.run(5)
    scene.evaluate(wishes(5))
    assert scene.state.demand == 5
    scene.run(25)
    assert (scene.verdict("d-1"), scene.reason("d-1")) == ("rolled_back", "startup_deadline")
    assert (scene.state.demand, scene.wanted(), scene.running()) == (5, {1: 5}, {1: 5})
    last = next(r for r in scene.records if r.verdict == "rolled_back")
    assert (last.before.revision, last.after.revision, last.after.demand) == (2, 1, 5)


def test_new_revision_that_crashes_is_rolled_back_at_once_and_its_content_is_rejected() -> None:
    scene = a_scene(3, v2=crashes)
    scene.deploy(a_spec("2"))
    assert scene.verdict("d-1") == "rolled_back"
    assert scene.running() == {1: 3}
    scene.deploy(a_spec("2"), "d-2")
    assert (scene.verdict("d-2"), scene.reason("d-2")) == ("refused", "rejected_before")


def test_rejected_content_may_be_deployed_again_after_approve() -> None:
    scene = a_scene(3, v2=crashes)
    scene.deploy(a_spec("2"))
    scene.order("approve", "c-1")
    assert scene.verdict("c-1") == "applied"
    scene.behave.clear()
    scene.deploy(a_spec("2"), "d-2")
    scene.run(120)
    assert (scene.verdict("d-2"), scene.running()) == ("applied", {3: 3})


def test_death_in_the_soak_rolls_back() -> None:
    scene = a_scene(3)
    scene.deploy(a_spec("2"))
    scene.run(15)
    assert isinstance(scene.state.rollout, Soaking)
    scene.change(1, condition="exited", exit_code=137)
    scene.run(10)
    assert (scene.verdict("d-1"), scene.running()) == ("rolled_back", {1: 3})


def test_first_revision_without_anything_to_go_back_to_halts_and_says_failed() -> None:
    scene = Scene(settings=some_settings(bounds=Bounds(0, 10, 3)), v1=crashes)
    scene.deploy(a_spec("1"))
    assert (scene.phase, scene.verdict("d-1")) == ("halted", "failed")
    scene.run(3600)
    assert len(scene.created) == 1, "a revision that failed by its own fault is not tried again by itself"


def test_halted_service_takes_a_new_revision() -> None:
    scene = Scene(settings=some_settings(bounds=Bounds(0, 10, 3)), v1=crashes)
    scene.deploy(a_spec("1"))
    scene.deploy(a_spec("2"), "d-2")
    scene.run(120)
    assert (scene.phase, scene.verdict("d-2"), scene.running()) == ("idle", "applied", {2: 3})


def test_halted_for_lack_of_room_takes_the_same_content_again() -> None:
    scene = Scene(hosts=[a_host("h1", condition="draining")])
    scene.deploy(a_spec("1"))
    assert scene.state.pending is not None
    scene.run(70)
    assert (scene.phase, scene.verdict("d-1")) == ("halted", "failed")
    scene.change_host("h1", condition="ready")
    scene.deploy(a_spec("1"), "d-2")
    scene.run(120)
    assert (scene.verdict("d-2"), len(scene.running())) == ("applied", 1)


def test_rollback_that_fails_as_well_halts_and_is_never_rolled_back() -> None:
    scene = Scene(a_service(0, demand=3), v1=crashes, v2=crashes)
    scene.deploy(a_spec("2"))
    scene.run(30)
    assert isinstance(scene.state.rollout, Halted)
    assert scene.verdict("d-1") == "failed"
    assert sum(1 for r in scene.records if r.kind == "rollback" and r.raises_generation) == 1


def test_sick_revision_under_a_failure_ratio_goes_on_with_a_new_attempt() -> None:
    scene = a_scene(5, settings=some_settings(update=some_rules(failure_ratio_percent=40, max_surge=percent(50))))
    scene.behave["2"] = one_after_another(sick)
    scene.deploy(a_spec("2"))
    scene.run(120)
    assert (scene.verdict("d-1"), scene.running()) == ("applied", {2: 5})
    assert EventRef("/ci", "d-1") in {r.event for r in scene.records}


def test_failed_revision_is_never_the_base_of_the_next() -> None:
    scene = Scene(a_service(0, demand=2, revisions=(a_revision(1, "unproven"),)), v2=crashes)
    scene.deploy(a_spec("2"))
    assert scene.phase == "halted"
    scene.deploy(a_spec("3"), "d-2")
    rollout = scene.state.rollout
    assert isinstance(rollout, Advancing)
    assert rollout.base is None


def test_time_in_which_nobody_looked_is_never_held_against_a_replica() -> None:
    scene = a_scene(2, v2=silent)
    scene.deploy(a_spec("2"))
    scene.take_over_after(10_000.0)
    assert scene.phase == "advancing", "the new owner has only just begun to ask"
    scene.run(19)
    assert scene.phase == "advancing"
    scene.run(2)
    assert (scene.verdict("d-1"), scene.reason("d-1")) == ("rolled_back", "startup_deadline")
