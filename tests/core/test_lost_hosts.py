"""Hosts that are lost and come back: what serves there goes on serving for as long as it is needed."""

from __future__ import annotations

from tests.core.builders import NOW, a_host, a_service
from tests.core.scene import Scene


def healthy(scene: Scene) -> int:
    """Containers that run and are healthy, whether their host answers or not."""
    return sum(1 for c in scene.containers.values() if c.condition == "running" and c.healthy)


def lose(scene: Scene, name: str) -> None:
    """The host answers no more; its containers run on."""
    scene.change_host(name, condition="lost", known=False, since=scene.now)


def find(scene: Scene, name: str) -> None:
    """The host answers again."""
    scene.change_host(name, condition="ready", known=True, since=scene.now)


def test_only_host_that_is_lost_and_comes_back_changes_nothing() -> None:
    scene = Scene(a_service(3, hosts=("h1",)), hosts=[a_host("h1")])
    lose(scene, "h1")
    scene.run(600)
    assert len(scene.state.replicas) == 3
    find(scene, "h1")
    scene.run(60)
    assert (scene.created, scene.actions, healthy(scene)) == ([], [], 3)
    assert not [r for r in scene.records if r.at > NOW and "replicas" in r.changes]
