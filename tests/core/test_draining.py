"""Emptying hosts, in every phase: successors first, and never fewer available than the strategy promises."""

from __future__ import annotations

from autoscaler.core.rollout import Held
from autoscaler.core.state import ServiceState
from tests.core.builders import (
    a_host,
    a_replica,
    a_revision,
    a_service,
    a_spec,
    count,
    some_rules,
    some_settings,
    wishes,
)
from tests.core.scene import Scene, a_scene, crashes

HOSTS = ("h1", "h2", "h3")


def spread(replicas: int) -> ServiceState:
    """A service on three hosts."""
    return a_service(replicas, hosts=HOSTS)


def available(scene: Scene) -> int:
    """Containers that run and are healthy."""
    return sum(1 for c in scene.containers.values() if c.condition == "running" and c.healthy)


def test_emptied_one_by_one_where_a_slots_former_replica_must_end_first() -> None:
    rules = some_rules(order="stop_first", max_unavailable=count(1))
    scene = Scene(spread(4), some_settings(update=rules), [a_host(h) for h in HOSTS])
    scene.change_host("h1", condition="draining")
    lows = []
    for _ in range(40):
        lows.append(available(scene))
        scene.run(1)
    assert min(lows) >= 3
    assert "h1" not in {c.host for c in scene.containers.values()}
    assert len(scene.state.replicas) == 4


def test_emptied_while_a_rollout_is_held_without_growing_it() -> None:
    scene = Scene(spread(4), some_settings(update=some_rules(max_surge=count(1))), [a_host(h) for h in HOSTS])
    scene.deploy(a_spec("2"))
    scene.run(3)
    scene.order("pause")
    before = scene.wanted()
    scene.change_host("h1", condition="draining")
    for _ in range(20):
        scene.run(1)
        assert available(scene) >= 4
    assert isinstance(scene.state.rollout, Held)
    assert scene.wanted() == before
    assert "h1" not in {r.host for r in scene.state.replicas}


def test_demand_that_falls_while_a_held_rollout_leaves_a_host_starts_nothing_beyond_the_demand() -> None:
    scene = Scene(spread(6), some_settings(update=some_rules(max_surge=count(2))), [a_host(h) for h in HOSTS])
    scene.deploy(a_spec("2"))
    scene.run(3)
    scene.order("pause")
    scene.change_host("h1", condition="draining")
    scene.evaluate(wishes(4))
    steady = [r for r in scene.state.replicas if r.host != "h1"]
    assert len(steady) <= 4 + 2


def test_nothing_leaves_while_there_is_no_room_elsewhere() -> None:
    scene = a_scene(4)
    for host in ("h1", "h2"):
        scene.change_host(host, condition="draining")
    scene.run(300)
    assert available(scene) >= 4
    assert scene.state.pending is not None


def test_update_on_a_draining_host_ends_on_the_others() -> None:
    scene = Scene(spread(3), hosts=[a_host(h) for h in HOSTS])
    scene.change_host("h1", condition="draining")
    scene.deploy(a_spec("2"))
    scene.run(30)
    scene.run(60)
    assert (scene.verdict("d-1"), scene.running()) == ("applied", {2: 3})
    assert "h1" not in {c.host for c in scene.containers.values()}


def test_what_an_operator_went_back_to_is_not_taken_back_when_it_fails_later() -> None:
    revisions = (a_revision(1, "rejected"), a_revision(2))
    scene = Scene(a_service(0, revision=2, revisions=revisions), v1=crashes)
    scene.order("rollback", "c-1", revision=1)
    assert scene.verdict("c-1") == "applied"
    scene.evaluate(wishes(2))
    scene.run(30)
    assert scene.state.revision == 1


def test_scale_down_while_a_slot_has_two_replicas_takes_both_or_none() -> None:
    replicas = (a_replica(0, 1, 1, "h1"), a_replica(1, 1, 2, "h2"), a_replica(1, 1, 3, "h1"))
    scene = Scene(a_service(replicas, demand=2))
    scene.evaluate(wishes(1))
    scene.run(5)
    assert len(scene.state.replicas) == 1


def test_failure_on_a_draining_host_costs_no_successor_while_the_rollout_is_held() -> None:
    rules = some_rules(on_failure="hold", max_unavailable=count(1))
    scene = Scene(spread(3), some_settings(update=rules), [a_host(h) for h in HOSTS])
    scene.deploy(a_spec("2"))
    scene.run(20)
    scene.change(0, healthy=False)
    assert isinstance(scene.state.rollout, Held)
    leaving = next(r for r in scene.state.replicas if r.slot == 1)
    scene.change_host(leaving.host, condition="draining")
    scene.run(1)
    before = available(scene)
    scene.change(1, condition="exited", exit_code=1)
    assert available(scene) >= before - 1
