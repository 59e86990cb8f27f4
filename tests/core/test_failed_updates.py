"""What comes of an update whose replicas fail: held, gone on with, or taken back, by the rules of the service."""

from __future__ import annotations

from autoscaler.core.plan import plan
from autoscaler.core.rollout import Held, RollingBack
from tests.core.builders import NOW, a_spec, count, some_rules, some_settings, wishes
from tests.core.scene import a_scene, crashes, good, one_after_another, silent
from tests.core.updates import an_update, some_replicas


def test_dl1_hold_on_failure_keeps_what_runs_and_plans_nothing_more() -> None:
    rules = some_rules(order="stop_first", max_unavailable=count(1), on_failure="hold")
    scene = a_scene(3, settings=some_settings(update=rules), v2=crashes)
    scene.deploy(a_spec("2"))
    assert isinstance(scene.state.rollout, Held)
    assert (scene.running(), scene.verdict("d-1")) == ({1: 2}, "")
    scene.run(600)
    assert (scene.running(), plan(scene.state, scene.settings, scene.world(), "shop")) == ({1: 2}, ())


def test_dl1_continue_goes_on_through_failures() -> None:
    rules = some_rules(order="stop_first", max_unavailable=count(3), on_failure="continue", first_batch=0)
    scene = a_scene(3, settings=some_settings(update=rules))
    scene.deploy(a_spec("2"))
    assert scene.running() == {2: 3}


def test_dl2_failure_ratio_counts_failed_replicas_and_rolls_back_over_it() -> None:
    rules = some_rules(max_parallel=1, failure_ratio_percent=40)
    scene = a_scene(4, settings=some_settings(update=rules))
    scene.behave["2"] = one_after_another(crashes, good, crashes)
    scene.deploy(a_spec("2"))
    for _ in range(30):
        if isinstance(scene.state.rollout, RollingBack):
            break
        scene.run(1)
    failed = sum(1 for r in scene.records if r.kind == "heal")
    assert failed == 2
    assert len([n for n in scene.created if ".r2." in n]) == 3
    scene.run(30)
    assert (scene.verdict("d-1"), scene.running()) == ("rolled_back", {1: 4})


def test_dl16_one_unhealthy_new_replica_rolls_back_at_once_and_keeps_the_demand() -> None:
    scene = a_scene(4)
    scene.deploy(a_spec("2"))
    scene.run(3)
    scene.change(0, healthy=False)
    assert scene.state.revision == 1
    scene.run(20)
    assert (scene.verdict("d-1"), scene.state.demand, scene.running()) == ("rolled_back", 4, {1: 4})


def test_dl18_no_available_replica_by_the_deadline_rolls_back() -> None:
    rules = some_rules(startup_deadline_s=500.0)
    scene = a_scene(3, settings=some_settings(update=rules), v2=silent)
    scene.deploy(a_spec("2"))
    scene.run(70)
    assert (scene.verdict("d-1"), scene.reason("d-1")) == ("rolled_back", "deadline")


def test_dl20_abort_brings_the_base_back_before_the_new_ones_go_and_the_event_is_not_retried() -> None:
    scene = an_update(some_replicas(2, range(1)), some_replicas(1, range(1, 10)), 10, some_rules(max_surge=count(1)))
    scene.obedient = False
    scene.order("abort", "c-1")
    assert scene.wanted() == {1: 10, 2: 1}
    scene.obedient = True
    scene.run(1)
    scene.run(10)
    assert (scene.running(), scene.verdict("c-1")) == ({1: 10}, "applied")


def test_dl29_mended_failure_does_not_keep_the_new_revision_from_growing() -> None:
    rules = some_rules(max_surge=count(3), failure_ratio_percent=20, first_batch=0)
    scene = an_update(
        some_replicas(2, range(5)),
        some_replicas(1, range(5, 13)),
        10,
        rules,
        failed=("web.s0.r2.39",),
        started_at=NOW - 90,
    )
    scene.obedient = False
    scene.order("pause")
    held = scene.state.rollout
    assert isinstance(held, Held)
    scene.evaluate(wishes(15))
    assert scene.wanted() == {1: 11, 2: 7}
    assert isinstance(scene.state.rollout, Held)
    assert scene.state.rollout.resumed == held.resumed


def test_dl30_rollback_in_the_soak_brings_back_todays_demand() -> None:
    scene = a_scene(3)
    scene.deploy(a_spec("2"))
    scene.run(15)
    scene.evaluate(wishes(12))
    scene.run(5)
    scene.change(0, condition="exited", exit_code=1)
    scene.run(30)
    assert (scene.verdict("d-1"), scene.running()) == ("rolled_back", {1: 12})
