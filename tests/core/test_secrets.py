"""A secret's content belongs to the revision that was accepted with it, and is nowhere but in its file."""

from __future__ import annotations

from dataclasses import replace

from autoscaler.core.actions import Outcome, Resolve, Start
from autoscaler.core.plan import plan
from autoscaler.core.revision import content_hash
from autoscaler.core.stimuli import OutcomeArrived
from tests.core.builders import a_spec, an_image, some_settings
from tests.core.scene import Scene

FILE = (("KEY", "/s/key"),)


def a_secretive(kind: str = "docker", **secrets: str) -> Scene:
    """A service whose configured revision has a secret; its first revision runs."""
    spec = replace(an_image("1") if kind == "docker" else a_spec("1"), secrets=FILE)
    scene = Scene(settings=some_settings(kind=kind, revision=spec))
    scene.secrets = {"KEY": "aaaaaa"} | secrets
    scene.deploy(an_image("1") if kind == "docker" else a_spec("1"))
    scene.run(60)
    assert (scene.phase, scene.verdict("d-1")) == ("idle", "applied")
    return scene


def test_a_revision_keeps_the_mark_of_the_content_that_was_accepted_and_each_start_carries_it() -> None:
    scene = a_secretive()
    assert scene.state.current is not None
    assert scene.state.current.spec.secret_marks == (("KEY", "aaaaaa"),)
    starts = [action for action in scene.actions if isinstance(action, Start)]
    assert {(start.secrets, start.secret_marks) for start in starts} == {(FILE, (("KEY", "aaaaaa"),))}


def test_a_process_with_a_secret_is_resolved_first() -> None:
    scene = a_secretive("process")
    assert [action.spec.secrets for action in scene.actions if isinstance(action, Resolve)] == [FILE]
    assert scene.state.current is not None
    assert scene.state.current.spec.secret_marks == (("KEY", "aaaaaa"),)


def test_the_same_image_with_the_same_secret_is_unchanged() -> None:
    scene = a_secretive()
    scene.deploy(an_image("1"), "d-2")
    assert scene.verdict("d-2") == "unchanged"


def test_the_same_image_with_a_new_secret_is_a_new_revision() -> None:
    scene = a_secretive()
    scene.secrets["KEY"] = "bbbbbb"
    scene.deploy(an_image("1"), "d-2")
    scene.run(60)
    assert (scene.verdict("d-2"), scene.state.revision) == ("applied", 2)


def test_new_content_never_runs_under_the_revision_that_was_accepted_with_the_old() -> None:
    scene = a_secretive()
    scene.secrets["KEY"] = "bbbbbb"
    scene.change(0, condition="exited", exit_code=1)
    scene.run(10)
    assert not [seen for seen in scene.containers.values() if seen.condition == "running"]
    assert "secret KEY: its file /s/key has changed" in " ".join(record.reason.text for record in scene.records)
    assert scene.state.current is not None
    assert scene.state.current.standing == "stable", "no fault of the revision"
    scene.secrets["KEY"] = "aaaaaa"
    scene.run(600)
    assert scene.running() == {1: 1}, "the old content back, it runs again"


def test_a_missing_file_is_refused_before_anything_is_touched() -> None:
    scene = a_secretive()
    scene.obedient = False
    scene.deploy(an_image("2"), "d-2")
    (action,) = plan(scene.state, scene.settings, scene.world(), "shop")
    text = "secret KEY: its file /s/key cannot be read on the owner's machine: No such file or directory"
    scene.tell(OutcomeArrived(scene.now, Outcome(action, "refused", text)))
    assert (scene.phase, scene.verdict("d-2"), scene.wanted()) == ("idle", "refused", {1: 1})
    assert scene.reason("d-2") == "secret"
    assert text in " ".join(record.reason.text for record in scene.records)


def test_content_without_secrets_has_the_hash_that_it_had_before_there_were_marks() -> None:
    spec = an_image("1", pinned="shop/web@sha256:1")
    assert content_hash(replace(spec, secret_marks=(("KEY", "aaaaaa"),))) != content_hash(spec)
    assert content_hash(spec) == "0568d856303b73458479b8d9659ad496"
