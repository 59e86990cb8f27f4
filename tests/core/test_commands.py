"""What each operator command does, when its verdict comes, and what it is refused for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.core.deployments import edited_later
from autoscaler.core.revision import RevisionSpec
from autoscaler.core.rollout import Advancing, Held, Preflight, Soaking
from autoscaler.core.settings import Bounds
from tests.core.builders import (
    a_revision,
    a_service,
    a_spec,
    an_image,
    count,
    some_rules,
    some_settings,
    wishes,
)
from tests.core.scene import Scene, a_scene, crashes, silent

# -- scale ---------------------------------------------------------------------------------------------------------


def test_scale_holds_against_the_policies_until_auto() -> None:
    scene = a_scene(3)
    scene.order("scale", "c-1", replicas=6)
    assert (scene.verdict("c-1"), scene.running()) == ("applied", {1: 6})
    scene.evaluate(wishes(2))
    assert scene.state.demand == 6
    scene.order("scale", "c-2")
    assert scene.verdict("c-2") == "applied"
    scene.evaluate(wishes(2))
    assert scene.state.demand == 2


def test_scale_for_a_time_ends_by_itself() -> None:
    scene = a_scene(3)
    scene.order("scale", "c-1", replicas=6, for_s=60.0)
    scene.run(61)
    assert scene.state.override is None
    assert scene.state.demand == 6, "the end of an override is no decision about the demand"
    scene.evaluate(wishes(4))
    assert scene.state.demand == 4


@pytest.mark.parametrize("replicas", [0, 9])
def test_scale_outside_the_bounds_is_refused(replicas: int) -> None:
    scene = a_scene(3, settings=some_settings(bounds=Bounds(1, 8, 1)))
    scene.order("scale", "c-1", replicas=replicas)
    assert (scene.verdict("c-1"), scene.reason("c-1"), scene.state.demand) == ("refused", "bounds", 3)


def test_scale_before_any_revision_is_refused() -> None:
    scene = Scene()
    scene.order("scale", "c-1", replicas=3)
    assert scene.reason("c-1") == "no_revision"


def test_scale_to_what_is_ordered_already_is_unchanged() -> None:
    scene = a_scene(3)
    scene.order("scale", "c-1", replicas=4)
    scene.order("scale", "c-2", replicas=4)
    assert scene.verdict("c-2") == "unchanged"


def test_override_stays_within_bounds_that_were_configured_later() -> None:
    scene = a_scene(3)
    scene.order("scale", "c-1", replicas=8)
    scene.settings = replace(scene.settings, bounds=Bounds(0, 5, 1))
    scene.configure()
    scene.evaluate(wishes(2))
    assert scene.state.demand == 5


# -- pause, resume, promote, abort ---------------------------------------------------------------------------------


def test_pause_holds_the_rollout_while_scaling_and_healing_go_on() -> None:
    scene = a_scene(4, settings=some_settings(update=some_rules(max_surge=count(1))))
    scene.deploy(a_spec("2"))
    scene.order("pause", "c-1")
    assert (scene.verdict("c-1"), scene.phase) == ("applied", "held")
    scene.evaluate(wishes(6))
    scene.run(20)
    before = scene.running()
    assert before[1] >= 5
    scene.remove_by_hand(2)
    assert sum(scene.running().values()) == sum(before.values())
    scene.run(500)
    assert scene.phase == "held"
    scene.order("resume", "c-2")
    scene.run(200)
    assert (scene.verdict("c-2"), scene.verdict("d-1"), scene.running()) == ("applied", "applied", {2: 6})


def test_pause_for_a_time_goes_on_by_itself() -> None:
    scene = a_scene(3)
    scene.deploy(a_spec("2"))
    scene.order("pause", for_s=100.0)
    scene.run(99)
    assert scene.phase == "held"
    scene.run(200)
    assert scene.verdict("d-1") == "applied"


def test_pause_in_the_soak_stops_its_clock() -> None:
    scene = a_scene(2)
    scene.deploy(a_spec("2"))
    scene.run(15)
    assert isinstance(scene.state.rollout, Soaking)
    scene.order("pause")
    scene.run(500)
    assert scene.verdict("d-1") == ""
    scene.order("resume")
    scene.run(30)
    assert scene.verdict("d-1") == "applied"


def test_crash_while_paused_still_rolls_back() -> None:
    scene = a_scene(3, v2=silent)
    scene.deploy(a_spec("2"))
    scene.order("pause")
    scene.change(0, condition="exited", exit_code=2)
    scene.run(10)
    assert (scene.verdict("d-1"), scene.running()) == ("rolled_back", {1: 3})


@pytest.mark.parametrize("command", ["pause", "promote", "abort"])
def test_without_a_rollout_there_is_nothing_to_do(command: str) -> None:
    scene = a_scene(3)
    scene.order(command, "c-1")
    assert (scene.verdict("c-1"), scene.reason("c-1")) == ("refused", "no_rollout")


def test_promote_ends_the_soak_at_once() -> None:
    scene = a_scene(2)
    scene.deploy(a_spec("2"))
    scene.run(15)
    scene.order("promote", "c-1")
    assert (scene.verdict("c-1"), scene.verdict("d-1"), scene.phase) == ("applied", "applied", "idle")


def test_dl19_promote_never_skips_health() -> None:
    scene = a_scene(2, v2=silent)
    scene.deploy(a_spec("2"))
    records = scene.order("promote", "c-1")
    assert (scene.verdict("c-1"), records[0].reason.text) == ("refused", "0 of 2 available")


def test_abort_in_preflight_stops_the_deployment_before_anything_changed() -> None:
    scene = a_scene(2, settings=some_settings(kind="docker"))
    scene.obedient = False
    scene.deploy(an_image("2"))
    assert isinstance(scene.state.rollout, Preflight)
    scene.order("abort", "c-1")
    assert (scene.verdict("c-1"), scene.verdict("d-1"), scene.phase) == ("applied", "rolled_back", "idle")


def test_abort_of_the_first_deployment_in_preflight_leaves_nothing() -> None:
    scene = Scene(settings=some_settings(kind="docker"))
    scene.obedient = False
    scene.deploy(an_image("1"))
    scene.order("abort", "c-1")
    assert (scene.verdict("c-1"), scene.verdict("d-1"), scene.phase) == ("applied", "rolled_back", "idle")


def test_abort_is_settled_when_the_base_runs_again() -> None:
    scene = a_scene(3)
    scene.deploy(a_spec("2"))
    scene.run(15)
    scene.order("abort", "c-1")
    assert scene.verdict("c-1") == ""
    scene.run(30)
    assert (scene.verdict("c-1"), scene.verdict("d-1"), scene.running()) == ("applied", "rolled_back", {1: 3})


# -- rollback ------------------------------------------------------------------------------------------------------


def test_rollback_returns_to_the_last_stable_revision_under_its_old_number() -> None:
    scene = Scene(a_service(3, revision=2, revisions=(a_revision(1), a_revision(2))))
    scene.order("rollback", "c-1")
    assert scene.verdict("c-1") == ""
    scene.run(30)
    assert (scene.verdict("c-1"), scene.state.revision, scene.running()) == ("applied", 1, {1: 3})


def test_bad_update_after_an_operators_rollback_goes_back_to_what_served() -> None:
    revisions = (a_revision(1), a_revision(2))
    scene = Scene(a_service(2, revision=2, revisions=revisions), v3=crashes)
    scene.order("rollback", "c-1")
    scene.run(30)
    scene.deploy(a_spec("3"))
    scene.run(60)
    assert (scene.verdict("d-1"), scene.state.revision, scene.running()) == ("rolled_back", 1, {1: 2})


def test_rollback_to_a_number_goes_there() -> None:
    revisions = (a_revision(1), a_revision(2), a_revision(3))
    scene = Scene(a_service(2, revision=3, revisions=revisions))
    scene.order("rollback", "c-1", revision=1)
    scene.run(30)
    assert (scene.verdict("c-1"), scene.running()) == ("applied", {1: 2})


@pytest.mark.parametrize("revision", [None, 7])
def test_rollback_to_nothing_is_refused(revision: int | None) -> None:
    scene = a_scene(2)
    scene.order("rollback", "c-1", revision=revision)
    assert (scene.verdict("c-1"), scene.reason("c-1")) == ("refused", "no_revision")


def test_rollback_during_an_update_settles_both() -> None:
    scene = a_scene(3, v2=silent)
    scene.deploy(a_spec("2"))
    scene.order("rollback", "c-1")
    scene.run(30)
    assert (scene.verdict("c-1"), scene.verdict("d-1"), scene.running()) == ("applied", "rolled_back", {1: 3})


def test_second_rollback_to_another_revision_supersedes_the_first() -> None:
    revisions = (a_revision(1), a_revision(2), a_revision(3))
    scene = Scene(a_service(2, revision=3, revisions=revisions))
    scene.order("rollback", "c-1")
    scene.order("rollback", "c-2", revision=1)
    scene.run(30)
    assert (scene.verdict("c-1"), scene.verdict("c-2"), scene.running()) == ("superseded", "applied", {1: 2})


def test_rollback_to_a_rejected_revision_is_the_operators_to_ask() -> None:
    scene = Scene(a_service(2, revision=2, revisions=(a_revision(1, "rejected"), a_revision(2))))
    scene.order("rollback", "c-1", revision=1)
    scene.run(40)
    assert (scene.verdict("c-1"), scene.running()) == ("applied", {1: 2})


# -- retire --------------------------------------------------------------------------------------------------------


def test_retire_stops_everything_keeps_the_history_and_refuses_events() -> None:
    scene = a_scene(3, settings=some_settings(bounds=Bounds(2, 8, 2)))
    scene.deploy(a_spec("2"))
    scene.order("retire", "c-1")
    assert (scene.verdict("c-1"), scene.verdict("d-1"), scene.running()) == ("applied", "superseded", {})
    assert scene.phase == "retired"
    assert scene.state.revisions
    scene.deploy(a_spec("3"), "d-2")
    scene.order("scale", "c-2", replicas=3)
    assert (scene.verdict("d-2"), scene.verdict("c-2")) == ("refused", "refused")
    scene.evaluate(wishes(5))
    scene.configure()
    assert (scene.state.demand, scene.running()) == (0, {})


def test_retired_service_runs_again_once_it_is_configured_differently() -> None:
    scene = a_scene(3)
    scene.order("retire")
    scene.settings = replace(scene.settings, bounds=Bounds(2, 9, 2))
    scene.configure()
    scene.run(10)
    assert (scene.phase, scene.running()) == ("idle", {1: 2})


def test_service_configured_again_with_another_revision_says_that_the_old_one_runs() -> None:
    scene = a_configured(a_spec("1"))
    scene.order("retire")
    scene.settings = replace(scene.settings, revision=a_spec("2"))
    scene.configure()
    scene.run(10)
    assert scene.running() == {1: 1}
    told = [record.reason.text for record in scene.records if record.reason.code == "configured"]
    assert told[-1].endswith("configured again, and revision 1 runs: the changed one counts once it is deployed")


def test_revision_of_the_configuration_counts_as_edited_until_it_runs() -> None:
    scene = a_configured(a_spec("1"))
    assert not edited_later(scene.state, scene.settings)
    scene.settings = replace(scene.settings, revision=a_spec("2"))
    assert edited_later(scene.state, scene.settings)
    scene.deploy(a_spec("2"))
    scene.run(700)
    assert not edited_later(scene.state, scene.settings)


def a_configured(spec: RevisionSpec) -> Scene:
    """A service that runs the configuration's own revision."""
    scene = Scene(settings=some_settings(revision=spec))
    scene.configure()
    scene.run(700)
    return scene


# -- every command, in every phase ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "phase", ["none", "idle", "preflight", "advancing", "soaking", "held", "rolling_back", "halted"]
)
@pytest.mark.parametrize(
    "command",
    ["scale", "auto", "rollback", "abort", "pause", "resume", "promote", "approve", "freeze", "unfreeze", "retire"],
)
def test_command_gets_exactly_one_terminal_verdict_in_every_phase(phase: str, command: str) -> None:
    kind = "docker" if phase == "preflight" else "process"
    make = an_image if kind == "docker" else a_spec
    behave = {"v2": crashes} if phase == "rolling_back" else {}
    state = a_service(0, demand=2) if phase == "rolling_back" else a_service(2)
    if phase == "none":
        state = replace(a_service(0), revision=0, revisions=(), initialised=False)
    if phase == "halted":
        state = a_service(0, demand=2, revisions=(a_revision(1, "unproven"),))
    scene = Scene(state, some_settings(kind=kind), **behave)
    if phase == "halted":
        scene.behave["2"] = crashes
    if phase == "preflight":
        scene.obedient = False
    if phase not in {"none", "idle"}:
        scene.deploy(make("2"))
    if phase == "soaking":
        scene.run(15)
    if phase == "held":
        scene.order("pause")
    assert phase in {"none", scene.phase}
    arguments = {"scale": {"replicas": 3}}.get(command, {})
    scene.order("scale" if command == "auto" else command, "x", **arguments)
    scene.obedient = True
    scene.behave.clear()
    scene.run(400)
    assert len(scene.verdicts("x")) == 1
    if phase not in {"none", "idle"}:
        assert len(scene.verdicts("d-1")) == (0 if scene.phase == "held" else 1)


def test_advancing_is_the_phase_right_after_a_process_deployment() -> None:
    scene = a_scene(2, v2=silent)
    scene.deploy(a_spec("2"))
    assert isinstance(scene.state.rollout, Advancing)


def test_demand_that_falls_in_a_soak_held_for_failure_takes_nothing_that_is_needed() -> None:
    rules = some_rules(on_failure="hold", max_unavailable=count(1))
    scene = a_scene(3, settings=some_settings(update=rules))
    scene.deploy(a_spec("2"))
    scene.run(15)
    scene.change(0, healthy=False)
    assert isinstance(scene.state.rollout, Held)
    scene.order("scale", replicas=2)
    assert scene.running() == {2: 2}
