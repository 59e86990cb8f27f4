"""Replicas move, slowly and start-first, to hosts that have two fewer of the service, where that is wanted."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from autoscaler.core.rebalance import MOVE_EVERY_S, READY_FOR_S
from autoscaler.core.settings import PlacementRules
from tests.core.builders import NOW, a_host, a_service, a_spec, some_settings
from tests.core.scene import Scene, crashes

ZONE = {"zone": "a"}


def twelve_on_two_of_three(*, rebalance: bool = True, since: float = 0.0) -> Scene:
    """6/6/0: the third host has come."""
    hosts = [a_host(name, labels=ZONE) for name in ("h1", "h2")]
    settings = some_settings(placement=PlacementRules(rebalance=rebalance))
    return Scene(a_service(12), settings, [*hosts, a_host("h3", labels=ZONE, since=since)])


def crowd(scene: Scene) -> list[int]:
    """Replicas of the service by host."""
    counts = Counter(r.host for r in scene.state.replicas)
    return [counts[host] for host in ("h1", "h2", "h3")]


def test_six_six_none_becomes_four_each_in_four_moves_one_at_a_time() -> None:
    scene = twelve_on_two_of_three()
    lows, times = [], []
    for _ in range(200):
        before = len(scene.created)
        scene.run(1)
        lows.append(sum(1 for c in scene.containers.values() if c.condition == "running" and c.healthy))
        times += [scene.now] * (len(scene.created) - before)
    assert crowd(scene) == [4, 4, 4]
    assert len(scene.created) == 4
    assert min(lows) >= 12
    assert all(later - earlier >= MOVE_EVERY_S - 1 for earlier, later in pairwise(times))


def test_nothing_moves_unless_it_is_wanted() -> None:
    scene = twelve_on_two_of_three(rebalance=False)
    scene.run(300)
    assert (crowd(scene), scene.created) == ([6, 6, 0], [])


def test_host_that_has_just_come_back_is_waited_for() -> None:
    scene = twelve_on_two_of_three(since=NOW)
    scene.run(READY_FOR_S - 1)
    assert crowd(scene) == [6, 6, 0]
    scene.run(200)
    assert crowd(scene) == [4, 4, 4]


def test_service_without_replicas_has_nothing_to_move() -> None:
    scene = Scene(a_service(0), some_settings(placement=PlacementRules(rebalance=True)))
    scene.run(100)
    assert scene.records == []


def test_counts_one_apart_stay() -> None:
    hosts = [a_host(name, labels=ZONE) for name in ("h1", "h2")]
    scene = Scene(a_service(3), some_settings(placement=PlacementRules(rebalance=True)), hosts)
    scene.run(300)
    assert scene.created == []


def test_nothing_moves_during_a_rollout_and_a_move_gives_way_to_one() -> None:
    scene = twelve_on_two_of_three()
    scene.deploy(a_spec("2"))
    scene.run(200)
    assert scene.verdict("d-1") == "applied"
    assert scene.running() == {2: 12}


def test_replica_that_fails_where_it_moved_to_costs_none_that_serves() -> None:
    scene = twelve_on_two_of_three()
    scene.behave["1"] = crashes
    for _ in range(120):
        scene.run(1)
        assert sum(1 for c in scene.containers.values() if c.condition == "running" and c.healthy) >= 12
