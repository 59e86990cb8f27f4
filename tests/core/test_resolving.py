"""An image is looked for before anything is touched: found and pinned, refused, not allowed, or too slow."""

from __future__ import annotations

from autoscaler.core.actions import Outcome, Resolve
from autoscaler.core.plan import plan
from autoscaler.core.rollout import Advancing, Preflight
from autoscaler.core.settings import Bounds, EventRules
from autoscaler.core.stimuli import OutcomeArrived
from tests.core.builders import a_spec, an_image, some_settings
from tests.core.scene import Scene, a_scene, crashes


def test_process_deployment_resolves_nothing() -> None:
    scene = Scene()
    scene.deploy(a_spec("1"))
    assert not [a for a in scene.actions if isinstance(a, Resolve)]
    assert isinstance(scene.state.rollout, Advancing)


def test_image_is_resolved_before_any_replica_is_touched_and_pinned_in_the_revision() -> None:
    scene = Scene(settings=some_settings(kind="docker"))
    scene.obedient = False
    scene.deploy(an_image("1"))
    assert isinstance(scene.state.rollout, Preflight)
    actions = plan(scene.state, scene.settings, scene.world(), "shop")
    assert [a.kind for a in actions] == ["resolve"]
    scene.obedient = True
    scene.tell(OutcomeArrived(scene.now, Outcome(actions[0], "done", pinned="shop/web@sha256:1")))
    assert scene.state.current is not None
    assert scene.state.current.spec.pinned == "shop/web@sha256:1"
    assert scene.created == ["shop.web.s0.r1.1"]


def test_image_that_cannot_be_had_is_refused_and_nothing_is_touched() -> None:
    scene = a_scene(2, settings=some_settings(kind="docker"))
    scene.obedient = False
    scene.deploy(an_image("9"))
    (action,) = plan(scene.state, scene.settings, scene.world(), "shop")
    scene.tell(OutcomeArrived(scene.now, Outcome(action, "refused", "no such image", "revision")))
    assert (scene.phase, scene.verdict("d-1"), scene.wanted()) == ("idle", "refused", {1: 2})


def test_image_that_is_not_resolved_by_the_deadline_fails() -> None:
    scene = a_scene(2, settings=some_settings(kind="docker"))
    scene.obedient = False
    scene.deploy(an_image("9"))
    scene.run(61)
    assert (scene.phase, scene.verdict("d-1"), scene.reason("d-1")) == ("idle", "failed", "deadline")


def test_repository_that_is_not_listed_is_refused() -> None:
    scene = Scene(settings=some_settings(kind="docker", events=EventRules(images=("shop/api",))))
    scene.deploy(an_image("1"))
    assert (scene.verdict("d-1"), scene.reason("d-1")) == ("refused", "image")


def test_halted_service_stays_halted_when_the_next_image_cannot_be_had() -> None:
    scene = Scene(settings=some_settings(kind="docker", bounds=Bounds(0, 10, 3)), v1=crashes)
    scene.deploy(an_image("1"))
    assert scene.phase == "halted"
    scene.obedient = False
    scene.deploy(an_image("2"), "d-2")
    actions = plan(scene.state, scene.settings, scene.world(), "shop")
    scene.obedient = True
    scene.tell(OutcomeArrived(scene.now, Outcome(actions[0], "refused", "no such image", "revision")))
    scene.run(600)
    assert (scene.phase, len(scene.created)) == ("halted", 1)


def test_image_is_looked_for_by_the_next_owner_though_the_deadline_passed_while_there_was_none() -> None:
    scene = a_scene(2, settings=some_settings(kind="docker"))
    scene.obedient = False
    scene.deploy(an_image("9"))
    scene.take_over_after(10_000.0)
    assert isinstance(scene.state.rollout, Preflight)
    scene.run(21)
    assert (scene.verdict("d-1"), scene.reason("d-1")) == ("failed", "deadline")


def test_image_that_is_slow_to_resolve_keeps_no_later_deployment_waiting() -> None:
    scene = Scene(settings=some_settings(kind="docker"))
    scene.obedient = False
    scene.deploy(an_image("1"), "d-1")
    [slow] = plan(scene.state, scene.settings, scene.world(), "shop")
    scene.now += 59
    scene.deploy(an_image("2"), "d-2")
    [next_one] = plan(scene.state, scene.settings, scene.world(), "shop")
    assert slow.key != next_one.key
    scene.run(59)
    assert (scene.phase, scene.verdict("d-1"), scene.verdict("d-2")) == ("preflight", "superseded", "")
    scene.tell(OutcomeArrived(scene.now, Outcome(slow, "done", pinned="shop/web@sha256:1")))
    assert scene.phase == "preflight"
    scene.tell(OutcomeArrived(scene.now, Outcome(next_one, "done", pinned="shop/web@sha256:2")))
    assert scene.phase == "advancing"
