"""Hosts that are lost and come back: what serves there goes on serving for as long as it is needed."""

from __future__ import annotations

from dataclasses import replace

from autoscaler.core.plan import plan
from autoscaler.core.stimuli import Observed
from tests.core.builders import NOW, a_host, a_service
from tests.core.scene import Behaviour, Scene, silent
from tests.core.updates import FOUR_HOSTS


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


def two_hosts(replicas: int, **behave: Behaviour) -> Scene:
    """A service on two of three hosts; the third has no room for it."""
    hosts = [a_host("h1"), a_host("h2"), a_host("h3", condition="cordoned")]
    return Scene(a_service(replicas, hosts=("h1", "h2")), None, hosts, **behave)


def lowest(scene: Scene, seconds: int) -> int:
    """Let time pass; how few were healthy meanwhile."""
    low = healthy(scene)
    for _ in range(seconds):
        scene.run(1)
        low = min(low, healthy(scene))
    return low


def test_what_comes_back_takes_its_place_again_where_its_successor_is_not_available() -> None:
    scene = two_hosts(4, v1=silent)
    lose(scene, "h2")
    scene.run(65)
    assert len(scene.created) == 2
    find(scene, "h2")
    assert lowest(scene, 60) == 4
    assert sorted(r.attempt for r in scene.state.replicas) == [1, 2, 3, 4]
    assert scene.running() == {1: 4}
    assert scene.state.lost == ()


def test_what_comes_back_and_is_not_needed_any_more_is_stopped() -> None:
    scene = two_hosts(4)
    lose(scene, "h2")
    scene.run(65)
    assert scene.state.lost == ()
    find(scene, "h2")
    assert lowest(scene, 30) == 4
    assert sorted(r.attempt for r in scene.state.replicas) == [1, 3, 5, 6]
    assert scene.running() == {1: 4}


def test_what_comes_back_is_not_stopped_before_it_could_be_asked() -> None:
    scene = two_hosts(2, v1=silent)
    lose(scene, "h2")
    scene.run(65)
    name = next(n for n, c in scene.containers.items() if c.slot == 1 and c.attempt == 2)
    scene.containers[name] = replace(scene.containers[name], healthy=None, healthy_since=None)
    find(scene, "h2")
    scene.run(5)
    assert name in scene.containers
    assert [r.attempt for r in scene.state.lost] == [2]
    scene.containers[name] = replace(scene.containers[name], healthy=True, healthy_since=scene.now)
    scene.run(30)
    assert sorted(r.attempt for r in scene.state.replicas) == [1, 2]


def test_what_comes_back_and_says_nothing_is_given_up() -> None:
    scene = two_hosts(2, v1=silent)
    lose(scene, "h2")
    scene.run(65)
    name = next(n for n, c in scene.containers.items() if c.slot == 1 and c.attempt == 2)
    scene.containers[name] = replace(scene.containers[name], healthy=None, healthy_since=None)
    find(scene, "h2")
    scene.run(30)
    assert name not in scene.containers
    assert scene.state.lost == ()


def test_retiring_stops_what_comes_back() -> None:
    scene = two_hosts(2, v1=silent)
    lose(scene, "h2")
    scene.run(65)
    scene.order("retire")
    find(scene, "h2")
    scene.run(60)
    assert (scene.phase, scene.running(), scene.state.lost) == ("retired", {}, ())


def test_plan_leaves_alone_what_is_not_decided_about() -> None:
    scene = two_hosts(2, v1=silent)
    lose(scene, "h2")
    scene.run(65)
    scene.hosts["h2"] = replace(scene.hosts["h2"], condition="ready", known=True, since=scene.now)
    assert not [a for a in plan(scene.state, scene.settings, scene.world(), "shop") if a.kind in {"stop", "remove"}]


def test_dl6_only_replicas_on_ready_hosts_stay() -> None:
    hosts = [
        a_host("h1"),
        a_host("h2", condition="draining"),
        a_host("h3", condition="lost", known=False, since=NOW - 100),
        a_host("h5"),
    ]
    scene = Scene(a_service(4, hosts=FOUR_HOSTS), hosts=hosts)
    scene.tell(Observed(scene.now))
    scene.run(30)
    assert len(scene.state.replicas) == 4
    assert {r.host for r in scene.state.replicas} <= {"h1", "h5"}
    assert next(r.attempt for r in scene.state.replicas if r.host == "h1") == 1


def test_dl34_most_hosts_lost_at_once_moves_nothing() -> None:
    hosts = [a_host("h1"), *(a_host(h, condition="lost", known=False, since=NOW - 100) for h in ("h2", "h3", "h4"))]
    scene = Scene(a_service(4, hosts=FOUR_HOSTS), hosts=hosts)
    scene.run(600)
    assert scene.created == []


def test_lost_host_moves_its_replicas_after_the_grace() -> None:
    scene = Scene(a_service(4, hosts=FOUR_HOSTS), hosts=[a_host(h) for h in FOUR_HOSTS])
    scene.change_host("h2", condition="lost", known=False, since=scene.now)
    scene.run(59)
    assert scene.created == []
    scene.run(2)
    assert scene.created == ["shop.web.s1.r1.5"]
