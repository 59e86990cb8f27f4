"""A freeze holds updates, or all but healing and going back, and ends by itself where it was told to."""

from __future__ import annotations

import pytest

from autoscaler.core.rollout import Held, RollingBack, Soaking
from autoscaler.core.settings import FreezeWindow, Guards
from autoscaler.core.stimuli import Observed
from tests.core.builders import (
    NOW,
    a_service,
    a_spec,
    an_image,
    count,
    some_rules,
    some_settings,
    wishes,
)
from tests.core.scene import Scene, a_scene, crashes


@pytest.mark.parametrize("what", ["deploy", "promote", "resume"])
def test_freeze_refuses_updates_and_promotions(what: str) -> None:
    scene = a_scene(3)
    if what != "deploy":
        scene.deploy(a_spec("2"))
    if what == "resume":
        scene.order("pause")
    scene.order("freeze", "c-1")
    assert scene.verdict("c-1") == "applied"
    if what == "deploy":
        scene.deploy(a_spec("2"), "x")
    else:
        scene.order(what, "x")
    assert (scene.verdict("x"), scene.reason("x")) == ("refused", "freeze")


def test_freeze_holds_a_rollout_until_it_ends() -> None:
    scene = a_scene(3)
    scene.deploy(a_spec("2"))
    created = len(scene.created)
    scene.order("freeze", for_s=300.0)
    assert isinstance(scene.state.rollout, Held)
    scene.run(299)
    assert len(scene.created) == created
    scene.run(120)
    assert scene.verdict("d-1") == "applied"


def test_freeze_that_is_prolonged_lets_nothing_go_on_between() -> None:
    scene = a_scene(3)
    scene.deploy(a_spec("2"))
    created = len(scene.created)
    scene.order("freeze", "c-1", for_s=100.0)
    scene.run(50)
    scene.order("freeze", "c-2", for_s=1000.0)
    scene.run(900)
    assert (len(scene.created), scene.phase) == (created, "held")


def test_pause_that_ends_in_a_freeze_becomes_the_freezes() -> None:
    scene = a_scene(3)
    scene.deploy(a_spec("2"))
    created = len(scene.created)
    scene.order("pause", for_s=10.0)
    scene.order("freeze", for_s=100.0)
    scene.run(50)
    assert (len(scene.created), scene.phase) == (created, "held")
    scene.run(200)
    assert scene.verdict("d-1") == "applied"


@pytest.mark.parametrize("kind", ["process", "docker"])
def test_deployment_that_waited_behind_a_rollback_is_held_by_a_freeze(kind: str) -> None:
    make = a_spec if kind == "process" else an_image
    scene = Scene(a_service(0, demand=3), some_settings(kind=kind), v2=crashes)
    scene.deploy(make("2"))
    scene.deploy(make("3"), "d-2")
    assert isinstance(scene.state.rollout, RollingBack)
    scene.order("freeze")
    scene.run(100)
    assert scene.verdict("d-1") == "rolled_back"
    assert not [name for name in scene.created if ".r3." in name]
    scene.order("unfreeze")
    scene.run(100)
    assert scene.verdict("d-2") == "applied"


def test_soak_healing_and_rollbacks_go_on_in_a_freeze() -> None:
    scene = a_scene(3)
    scene.deploy(a_spec("2"))
    scene.run(15)
    scene.order("freeze")
    assert isinstance(scene.state.rollout, Soaking)
    scene.remove_by_hand(1)
    scene.run(5)
    assert scene.running() == {2: 3}
    scene.change(0, condition="exited", exit_code=1)
    scene.run(30)
    assert (scene.verdict("d-1"), scene.running()) == ("rolled_back", {1: 3})


def test_freeze_of_all_stops_scaling_as_well() -> None:
    scene = a_scene(3)
    scene.order("freeze", scope="all")
    scene.evaluate(wishes(8))
    assert scene.state.demand == 3
    scene.order("scale", "c-2", replicas=5)
    assert (scene.verdict("c-2"), scene.reason("c-2")) == ("refused", "freeze")
    scene.order("unfreeze")
    scene.evaluate(wishes(8))
    assert scene.state.demand == 8


def test_configured_window_freezes_updates() -> None:
    week = FreezeWindow(0, 7 * 1440 - 1, "UTC", "all week")
    scene = a_scene(3, settings=some_settings(guards=Guards(freeze=(week,))))
    scene.deploy(a_spec("2"))
    assert (scene.verdict("d-1"), scene.reason("d-1")) == ("refused", "freeze")


def test_window_that_opens_in_the_middle_of_a_rollout_holds_it() -> None:
    start = int((NOW % 604800) // 60) + 3 * 1440 + 1
    window = FreezeWindow(start % 10080, (start + 10) % 10080, "UTC", "ten minutes")
    scene = a_scene(6, settings=some_settings(guards=Guards(freeze=(window,)), update=some_rules(max_surge=count(1))))
    scene.deploy(a_spec("2"))
    for _ in range(120):
        scene.run(1)
        scene.tell(Observed(scene.now))
        if scene.phase == "held":
            break
    if scene.phase == "held":
        scene.run(700)
    scene.run(120)
    assert scene.verdict("d-1") == "applied"
