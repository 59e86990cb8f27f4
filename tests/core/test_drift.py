"""What somebody's hand changed on a container is made anew beside it, in back-off, and is nobody's failure."""

from __future__ import annotations

from dataclasses import replace

from autoscaler.core.plan import plan
from autoscaler.core.rollout import Advancing
from tests.core.builders import a_service, a_spec
from tests.core.scene import Scene, silent

ALWAYS = "its restart policy is always"


def test_a_replica_changed_by_hand_serves_until_its_successor_is_available_and_the_record_says_what_was_changed() -> (
    None
):
    scene = Scene(a_service(replicas=3))
    scene.change(1, drift=ALWAYS)
    assert len(scene.created) == 1
    assert scene.running() == {1: 4}
    assert any(f"changed by hand: s1.r1.2: {ALWAYS}" in r.reason.text for r in scene.records)
    scene.run(3)
    assert scene.running() == {1: 3}
    assert not [c for c in scene.containers.values() if c.drift]


def test_a_hand_that_changes_every_successor_as_well_is_answered_ever_more_slowly() -> None:
    scene = Scene(a_service(replicas=2))
    for _ in range(60):
        for slot in range(2):
            scene.change(slot, drift=ALWAYS)
        scene.run(2.5)
    assert 2 <= len(scene.created) <= 2 * 5, scene.created


def test_all_changed_at_once_are_renewed_one_after_another() -> None:
    scene = Scene(a_service(replicas=4))
    lows = []
    scene.obedient = False
    for slot in range(4):
        scene.change(slot, drift=ALWAYS)
    scene.obedient = True
    for _ in range(80):
        scene.run(1)
        lows.append(sum(scene.running().values()))
    assert min(lows) == 4
    assert max(lows) <= 5
    assert not [c for c in scene.containers.values() if c.drift]


def test_a_paused_replica_of_the_new_revision_fails_no_rollout() -> None:
    scene = Scene(a_service(replicas=3), v2=silent)
    scene.deploy(a_spec("2"))
    scene.behave = {}
    assert isinstance(scene.state.rollout, Advancing)
    slot = next(c.slot for c in scene.containers.values() if c.revision == 2)
    scene.change(slot, drift="it is paused", healthy=False)
    assert isinstance(scene.state.rollout, Advancing)
    assert scene.state.rollout.failed == ()
    scene.run(120)
    assert (scene.verdict("d-1"), scene.running()) == ("applied", {2: 3})


def test_a_copy_that_a_hand_made_is_stopped_and_the_replica_stays() -> None:
    scene = Scene(a_service(replicas=2))
    name, mine = next(iter(scene.containers.items()))
    copy = replace(mine, id="copy", name="copy", drift="it is called copy")
    for containers in ({"copy": copy, **scene.containers}, {**scene.containers, "copy": copy}):
        scene.containers = containers
        actions = plan(scene.state, scene.settings, scene.world(), "shop")
        assert [(a.kind, a.id) for a in actions if a.kind == "stop"] == [("stop", "copy")]
        assert len(actions) == 1
    assert name in scene.containers
