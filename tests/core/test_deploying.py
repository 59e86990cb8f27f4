"""From a deployment event to running replicas: first batch, one after another, soak; and what is no change at all."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.core.settings import Bounds, EventRules
from tests.core.builders import a_spec, an_image, count, some_rules, some_settings, wishes
from tests.core.scene import Scene, a_scene, crashes, silent


def test_first_deployment_starts_the_initial_replicas_and_is_applied_after_its_soak() -> None:
    scene = Scene(settings=some_settings(bounds=Bounds(0, 10, 3)))
    scene.deploy(a_spec("1"))
    assert scene.running() == {1: 1}, "the first batch is one replica"
    scene.run(3)
    assert scene.running() == {1: 3}
    scene.run(3)
    assert scene.phase == "soaking"
    scene.run(40)
    assert (scene.phase, scene.verdict("d-1")) == ("idle", "applied")
    assert scene.state.current is not None
    assert scene.state.current.standing == "stable"


@pytest.mark.parametrize(
    ("spec", "fields", "code"),
    [
        pytest.param(an_image("1"), {"image", "ports"}, "target", id="image on a process target"),
        pytest.param(a_spec("1", user="root"), {"command", "user"}, "field", id="user from an event"),
        pytest.param(a_spec("1", volumes=("/:/host",)), {"command", "volumes"}, "field", id="volumes from an event"),
        pytest.param(a_spec("1", env=(("DEBUG", "1"),)), {"command", "env"}, "env", id="unlisted environment"),
    ],
)
def test_content_that_an_event_may_not_bring_is_refused(spec: Any, fields: Any, code: Any) -> None:
    scene = Scene()
    scene.deploy(spec, fields=frozenset(fields))
    assert (scene.verdict("d-1"), scene.reason("d-1"), scene.actions) == ("refused", code, [])


def test_update_replaces_one_after_another_and_the_new_one_is_available_before_the_old_one_goes() -> None:
    scene = a_scene(4, settings=some_settings(update=some_rules(max_surge=count(1))))
    lows = []
    scene.deploy(a_spec("2"))
    for _ in range(40):
        lows.append(sum(scene.running().values()))
        assert sum(scene.wanted().values()) <= 5
        scene.run(1)
    assert min(lows) == 4
    assert scene.wanted() == {2: 4}
    scene.run(40)
    assert scene.verdict("d-1") == "applied"


def test_same_content_as_the_wanted_revision_is_unchanged() -> None:
    scene = a_scene(2)
    scene.deploy(a_spec("1"))
    assert (scene.verdict("d-1"), scene.state.revision, scene.created) == ("unchanged", 1, [])


def test_repeated_event_is_a_duplicate_that_names_the_first_verdict() -> None:
    scene = a_scene(2)
    scene.deploy(a_spec("1"))
    records = scene.deploy(a_spec("1"))
    assert [(r.verdict, r.terminal) for r in records] == [("duplicate", False)]
    assert "unchanged" in records[0].reason.text


def test_at_demand_zero_a_deployment_is_applied_at_once_unproven() -> None:
    scene = Scene(settings=some_settings(bounds=Bounds(0, 10, 0)))
    scene.deploy(a_spec("1"))
    assert (scene.verdict("d-1"), scene.reason("d-1"), scene.phase) == ("applied", "unproven", "idle")
    assert scene.state.current is not None
    assert scene.state.current.standing == "unproven"


def test_unproven_revision_starts_with_a_first_batch_when_demand_comes_and_becomes_stable() -> None:
    scene = Scene(settings=some_settings(bounds=Bounds(0, 10, 0)), v1=silent)
    scene.deploy(a_spec("1"))
    scene.evaluate(wishes(4))
    assert scene.running() == {1: 1}
    scene.behave.clear()
    scene.change(0, healthy=True, healthy_since=scene.now)
    scene.run(40)
    assert scene.running() == {1: 4}
    assert scene.state.current is not None
    assert scene.state.current.standing == "stable"


def test_unproven_revision_that_fails_when_demand_comes_goes_back_to_the_stable_one() -> None:
    scene = a_scene(0, v2=crashes)
    scene.deploy(a_spec("2"))
    assert scene.verdict("d-1") == "applied"
    scene.evaluate(wishes(3))
    scene.run(10)
    assert (scene.state.revision, scene.running(), scene.verdicts("d-1")) == (1, {1: 3}, ["applied"])


def test_image_alone_takes_everything_else_from_the_last_stable_revision() -> None:
    settings = some_settings(kind="docker", events=EventRules(images=("shop/*",), event_env=("MODE",)))
    scene = Scene(settings=settings)
    scene.deploy(an_image("1", env=(("MODE", "prod"),)), fields=frozenset({"image", "env"}))
    scene.run(60)
    scene.deploy(an_image("2"), "d-2", fields=frozenset({"image"}))
    scene.run(60)
    assert scene.state.current is not None
    assert scene.state.current.spec.env == (("MODE", "prod"),)
