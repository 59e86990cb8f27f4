"""From a deployment event to running replicas: preflight, first batch, soak, and every way a deployment can end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core.actions import Outcome, Resolve
from autoscaler.core.facts import EventRef
from autoscaler.core.plan import plan
from autoscaler.core.rollout import Advancing, Halted, Held, Preflight, RollingBack, Soaking
from autoscaler.core.settings import Bounds, EventRules
from autoscaler.core.stimuli import OutcomeArrived
from tests.core.builders import (
    a_host,
    a_revision,
    a_service,
    a_spec,
    an_image,
    count,
    percent,
    some_rules,
    some_settings,
    wishes,
)
from tests.core.scene import Scene, a_scene, crashes, one_after_another, sick, silent


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


def test_repository_that_is_not_listed_is_refused() -> None:
    scene = Scene(settings=some_settings(kind="docker", events=EventRules(images=("shop/api",))))
    scene.deploy(an_image("1"))
    assert (scene.verdict("d-1"), scene.reason("d-1")) == ("refused", "image")


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


# -- superseding ---------------------------------------------------------------------------------------------------


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


def test_rollback_that_fails_as_well_halts_and_is_never_rolled_back() -> None:
    scene = Scene(a_service(0, demand=3), v1=crashes, v2=crashes)
    scene.deploy(a_spec("2"))
    scene.run(30)
    assert isinstance(scene.state.rollout, Halted)
    assert scene.verdict("d-1") == "failed"
    assert sum(1 for r in scene.records if r.kind == "rollback" and r.raises_generation) == 1


# -- the configuration's own revision ------------------------------------------------------------------------------


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


def test_image_alone_takes_everything_else_from_the_last_stable_revision() -> None:
    settings = some_settings(kind="docker", events=EventRules(images=("shop/*",), event_env=("MODE",)))
    scene = Scene(settings=settings)
    scene.deploy(an_image("1", env=(("MODE", "prod"),)), fields=frozenset({"image", "env"}))
    scene.run(60)
    scene.deploy(an_image("2"), "d-2", fields=frozenset({"image"}))
    scene.run(60)
    assert scene.state.current is not None
    assert scene.state.current.spec.env == (("MODE", "prod"),)


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
