"""A deployment that comes while another is under way: which of them goes on, and to what a failure leads back."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.core.actions import Outcome
from autoscaler.core.plan import plan
from autoscaler.core.rollout import Held, RollingBack
from autoscaler.core.stimuli import OutcomeArrived
from tests.core.builders import a_service, a_spec, an_image, some_settings
from tests.core.scene import Scene, a_scene, crashes


def test_later_deployment_supersedes_one_in_preflight() -> None:
    scene = a_scene(2, settings=some_settings(kind="docker"))
    scene.obedient = False
    scene.deploy(an_image("2"))
    scene.obedient = True
    scene.deploy(an_image("3"), "d-2")
    assert scene.verdict("d-1") == "superseded"
    scene.run(120)
    assert (scene.verdict("d-2"), scene.running()) == ("applied", {2: 2})


@pytest.mark.parametrize("pause", [False, True])
@pytest.mark.parametrize("kind", ["process", "docker"])
@pytest.mark.parametrize("after_s", [1, 15])
def test_later_deployment_supersedes_one_under_way_and_keeps_its_base(kind: Any, after_s: Any, pause: Any) -> None:
    make = a_spec if kind == "process" else an_image
    scene = a_scene(3, settings=some_settings(kind=kind), v3=crashes)
    scene.deploy(make("2"))
    scene.run(after_s)
    if pause:
        scene.order("pause")
        assert isinstance(scene.state.rollout, Held)
    scene.deploy(make("3"), "d-2")
    assert scene.verdict("d-1") == "superseded"
    scene.run(30)
    assert scene.verdict("d-2") == "rolled_back"
    assert (scene.state.revision, scene.running()) == (1, {1: 3})


def test_refused_image_after_superseding_brings_back_the_base() -> None:
    scene = a_scene(3, settings=some_settings(kind="docker"))
    scene.deploy(an_image("2"))
    scene.run(1)
    scene.obedient = False
    scene.deploy(an_image("3"), "d-2")
    action = next(a for a in plan(scene.state, scene.settings, scene.world(), "shop") if a.kind == "resolve")
    scene.obedient = True
    scene.tell(OutcomeArrived(scene.now, Outcome(action, "refused", "no such image", "revision")))
    scene.run(10)
    assert (scene.verdict("d-1"), scene.verdict("d-2")) == ("superseded", "refused")
    assert (scene.phase, scene.running()) == ("idle", {1: 3})


def test_deployment_that_arrives_during_a_rollback_waits_behind_it_and_then_begins() -> None:
    scene = Scene(a_service(0, demand=3), v2=crashes)
    scene.deploy(a_spec("2"))
    assert isinstance(scene.state.rollout, RollingBack)
    scene.deploy(a_spec("3"), "d-2")
    assert scene.state.waiting is not None
    scene.deploy(a_spec("4"), "d-3")
    assert scene.verdict("d-2") == "superseded"
    scene.run(120)
    assert scene.verdict("d-1") == "rolled_back"
    assert (scene.verdict("d-3"), len(scene.running()), sum(scene.running().values())) == ("applied", 1, 3)
