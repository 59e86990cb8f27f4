"""The configuration's own first revision: tried until the service has one, each try an event with one verdict."""

from __future__ import annotations

from dataclasses import replace

from autoscaler.core.actions import Outcome, Resolve
from autoscaler.core.facts import EventRef
from autoscaler.core.plan import plan
from autoscaler.core.settings import Bounds, EventRules
from autoscaler.core.stimuli import OutcomeArrived
from tests.core.builders import a_deployment, a_spec, an_image, some_settings
from tests.core.scene import Scene, a_scene, crashes


def a_configured_scene() -> Scene:
    """A new service whose first revision is an image."""
    return Scene(settings=some_settings(kind="docker", bounds=Bounds(0, 5, 1), revision=an_image("1")))


def fail_to_resolve(scene: Scene) -> None:
    """The service is configured, and its image cannot be had."""
    scene.obedient = False
    scene.configure()
    [resolve] = plan(scene.state, scene.settings, scene.world(), "shop")
    assert isinstance(resolve, Resolve)
    scene.tell(OutcomeArrived(scene.now, Outcome(resolve, "refused", "no such image", "revision")))
    scene.obedient = True


def terminal(scene: Scene) -> list[tuple[str, str]]:
    """Events with their terminal verdicts."""
    return [(r.event.id.partition("#")[2], str(r.verdict)) for r in scene.records if r.terminal and r.event is not None]


def test_refused_first_revision_is_tried_again_when_the_service_is_taken_over() -> None:
    scene = a_configured_scene()
    fail_to_resolve(scene)
    assert (scene.state.revision, scene.phase) == (0, "idle")
    fail_to_resolve(scene)
    scene.configure()
    scene.run(60)
    assert terminal(scene) == [("", "refused"), ("2", "refused"), ("3", "applied")]
    assert scene.running() == {1: 1}
    assert scene.configure() == []


def test_first_revision_that_is_being_tried_is_not_tried_beside_itself() -> None:
    scene = a_configured_scene()
    scene.obedient = False
    scene.configure()
    before = len(scene.records)
    scene.configure()
    assert len(scene.records) == before


def test_first_revision_that_failed_by_its_own_fault_is_not_tried_again() -> None:
    scene = a_configured_scene()
    scene.behave["1"] = crashes
    scene.configure()
    scene.run(120)
    assert scene.phase == "halted"
    assert scene.configure() == []


def test_no_event_passes_a_freeze_by_calling_itself_the_configuration() -> None:
    scene = Scene()
    scene.order("freeze")
    event = replace(a_deployment(scene.now, a_spec("1")), event=EventRef("/configuration", "d-1"))
    scene.tell(event)
    assert (scene.verdict("d-1"), scene.reason("d-1")) == ("refused", "freeze")


def test_configured_revision_is_deployed_once() -> None:
    scene = Scene(settings=some_settings(revision=a_spec("0"), bounds=Bounds(0, 10, 2)))
    scene.configure()
    scene.run(60)
    assert (scene.running(), scene.phase) == ({1: 2}, "idle")
    assert scene.configure() == []


def test_configured_revision_never_displaces_a_deployment_in_flight() -> None:
    scene = Scene(settings=some_settings(kind="docker"))
    scene.obedient = False
    scene.deploy(an_image("2"))
    scene.settings = replace(scene.settings, revision=an_image("1"))
    scene.configure()
    assert scene.verdict("d-1") == ""


def test_image_alone_while_nothing_is_stable_takes_the_rest_from_the_configuration_not_from_a_failed_one() -> None:
    configured = an_image("0", env=(("MODE", "prod"),))
    settings = some_settings(
        kind="docker", revision=configured, events=EventRules(images=("shop/*",), event_env=("MODE",))
    )
    scene = Scene(settings=settings, v1=crashes)
    scene.deploy(an_image("1", env=(("MODE", "broken"),)), fields=frozenset({"image", "env"}))
    assert scene.phase == "halted"
    scene.deploy(an_image("2"), "d-2", fields=frozenset({"image"}))
    assert scene.state.current is not None
    assert scene.state.current.spec.env == (("MODE", "prod"),)


def test_configured_bounds_that_changed_move_the_demand() -> None:
    scene = a_scene(8)
    scene.settings = replace(scene.settings, bounds=Bounds(0, 5, 1))
    scene.configure()
    assert (scene.state.demand, sum(scene.running().values())) == (5, 5)
