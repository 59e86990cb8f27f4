"""Which revisions are kept, and which images nobody needs any more."""

from __future__ import annotations

from dataclasses import replace

from autoscaler.core.draft import Draft
from autoscaler.core.history import FORMER_MAX, former_after, needed_contents, note_pruned, trimmed
from autoscaler.core.revision import Deployment, Revision
from autoscaler.core.rollout import Preflight
from autoscaler.core.state import ServiceState
from autoscaler.core.stimuli import ImagesPruned
from tests.core.builders import NOW, a_replica, a_revision, a_service, an_event, an_image, some_rules, some_settings
from tests.core.scene import Scene


def a_kept(number: int, version: str = "", standing: str = "healthy") -> Revision:
    """A revision of ``shop/web:<version>``, by default its number."""
    version = version or str(number)
    return a_revision(number, standing, an_image(version, pinned=pin(version)))  # type: ignore[arg-type]


def pin(version: str) -> str:
    return f"shop/web@sha256:{version}"


def test_the_base_the_two_newest_stable_ones_and_what_runs_are_kept_beyond_the_limit() -> None:
    state = a_service(
        (a_replica(0, 2),),
        revisions=(
            a_kept(1, standing="stable"),
            a_kept(2),
            a_kept(3),
            a_kept(4, standing="stable"),
            a_kept(5, standing="stable"),
            a_kept(6),
        ),
    )
    assert [r.number for r in trimmed(state, a_kept(7), 1, 3)] == [2, 3, 4, 5, 7]


def test_what_the_history_lets_go_is_named_and_what_is_kept_under_another_number_is_not() -> None:
    state = a_service(revisions=(a_kept(1), a_kept(2, "same"), a_kept(3, "same"), a_kept(4)))
    assert former_after(state, state.revisions[2:]) == (("shop/web:1", pin("1")),)


def test_what_comes_back_into_the_history_is_needed_again() -> None:
    state = a_service(revisions=(a_kept(1),), former=(("shop/web:9", pin("9")),))
    assert former_after(state, (a_kept(2, "9"),)) == (("shop/web:1", pin("1")),)


def test_an_image_that_nobody_could_get_again_is_never_named() -> None:
    state = a_service(revisions=(a_revision(1, "healthy", an_image("1", pinned="sha256:1")),))
    assert former_after(state, (a_kept(2),)) == ()


def test_what_waits_to_be_removed_is_bounded_and_the_oldest_is_forgotten() -> None:
    former = tuple((f"shop/web:{n}", pin(str(n))) for n in range(FORMER_MAX))
    kept = former_after(a_service(revisions=(a_kept(999),), former=former), ())
    assert len(kept) == FORMER_MAX
    assert kept[-1] == ("shop/web:999", pin("999"))


def test_what_any_service_keeps_or_is_about_to_run_is_needed() -> None:
    preflight = Preflight(Deployment(an_event("d-9"), an_image("9", pinned=pin("9")), NOW), NOW, NOW + 60, None)
    states = [
        a_service(revisions=(a_kept(1), a_revision(2))),
        replace(ServiceState("api"), revisions=(a_kept(7),), rollout=preflight),
    ]
    assert needed_contents(states) == {pin("1"), pin("7"), pin("9")}


def test_what_was_removed_is_written_down_and_what_is_settled_forgotten() -> None:
    former = (("shop/web:1", pin("1")), ("shop/web:2", pin("2")))
    draft = Draft(a_service(former=former), NOW)
    note_pruned(draft, ImagesPruned(NOW, (pin("1"),), 2, f"removed {pin('1')} from h1, h2"))
    (record,) = draft.records
    assert (record.type, record.reason.code, record.reason.text) == (
        "acted",
        "pruned",
        f"removed {pin('1')} from h1, h2",
    )
    assert draft.state.former == former[1:]
    assert not record.raises_generation


def test_nothing_removed_and_nothing_settled_is_no_record() -> None:
    draft = Draft(a_service(former=(("shop/web:1", pin("1")),)), NOW)
    note_pruned(draft, ImagesPruned(NOW, ()))
    assert not draft.records


def test_images_of_the_last_two_stable_revisions_stay_needed_through_many_deployments() -> None:
    scene = Scene(settings=some_settings(kind="docker", update=some_rules(history=1)))
    for number in range(1, 6):
        scene.deploy(an_image(str(number)), f"d-{number}")
        scene.run(120)
        assert scene.verdict(f"d-{number}") == "applied"
    needed = needed_contents([scene.state])
    stable = [r.spec.pinned for r in scene.state.revisions if r.standing == "stable"]
    assert len(stable) >= 2
    assert set(stable) <= needed
    assert [image for image, _ in scene.state.former] == ["shop/web:1", "shop/web:2", "shop/web:3"][
        : len(scene.state.former)
    ]
    assert len(scene.state.former) == 5 - len(scene.state.revisions)
    assert needed.isdisjoint(pinned for _, pinned in scene.state.former)
