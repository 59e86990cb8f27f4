"""Conformance scenarios of updates that need a stage of their own."""

from __future__ import annotations

from dataclasses import replace

from autoscaler.core.actions import Action, Outcome, StopReplica
from autoscaler.core.facts import Reason
from autoscaler.core.rollout import Halted
from tests.core.builders import NOW, a_revision, a_service, an_image, percent, some_rules, some_settings
from tests.core.scene import Scene, crashes


class SlowToStop(Scene):
    """Hosts that take long to stop what they are asked to stop."""

    def _execute(self, action: Action) -> Outcome | None:
        if isinstance(action, StopReplica):
            self.containers[action.name] = replace(self.containers[action.name], stopping=True)
            return None
        return super()._execute(action)


def test_dl3_new_ones_are_available_beside_old_ones_that_are_slow_to_stop() -> None:
    scene = SlowToStop(a_service(3), some_settings(update=some_rules(max_surge=percent(100), first_batch=0)))
    scene.deploy(replace(a_revision(2).spec), "d-1")
    scene.run(5)
    stopping = [c.revision for c in scene.containers.values() if c.stopping]
    standing = [c.revision for c in scene.containers.values() if not c.stopping and c.healthy]
    assert (stopping, standing) == ([1] * 3, [2] * 3)
    assert {r.revision for r in scene.state.replicas if r.available_at is not None} == {2}


def test_dl4_another_way_to_pull_replaces_nothing_and_serves_the_next_replica() -> None:
    pinned = an_image("1", pinned=f"shop/web:1@sha256:{'1' * 64}", pull="missing")
    scene = Scene(a_service(3, revisions=(a_revision(1, spec=pinned),)), some_settings(kind="docker"))
    scene.deploy(an_image("1", pull="always"), "d-1", fields=frozenset({"image", "pull"}))
    assert (scene.verdict("d-1"), scene.created) == ("unchanged", [])
    scene.settings = replace(scene.settings, target="other-credentials")
    scene.configure()
    assert scene.created == []
    scene.remove_by_hand(1)
    scene.run(20)
    assert (len(scene.created), scene.running()) == (1, {1: 3})


def test_dl17_the_only_stable_content_deployed_again_has_no_way_back() -> None:
    halted = Halted(Reason("rollback_failed", "earlier trouble"), NOW - 50)
    scene = Scene(a_service(2, rollout=halted), v1=crashes)
    scene.deploy(a_revision(1).spec, "d-1")
    scene.run(60)
    assert (scene.verdict("d-1"), scene.phase) == ("failed", "halted")
    assert isinstance(scene.state.rollout, Halted)
    assert "no earlier revision to go back to" in scene.state.rollout.why.text
    assert scene.state.rollbacks == ()
    assert not any(r.kind == "rollback" and r.verdict is None for r in scene.records)
