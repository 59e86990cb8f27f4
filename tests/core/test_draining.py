"""Emptying hosts, in every phase: successors first, and never fewer available than the strategy promises."""

from __future__ import annotations

from dataclasses import replace

from autoscaler.core.rollout import Advancing, Held
from autoscaler.core.settings import PlacementRules, Toleration
from autoscaler.core.state import ServiceState
from autoscaler.core.stimuli import Observed
from autoscaler.core.world import Taint
from tests.core.builders import (
    FOLLOWING,
    NOW,
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
    settings = some_settings(update=some_rules(max_surge=count(2)), scaling=FOLLOWING)
    scene = Scene(spread(6), settings, [a_host(h) for h in HOSTS])
    scene.deploy(a_spec("2"))
    scene.run(3)
    scene.order("pause")
    scene.change_host("h1", condition="draining")
    scene.evaluate(wishes(4))
    assert scene.state.demand == 4
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


def test_dl14_lost_and_draining_replicas_are_made_elsewhere_and_one_old_one_stops() -> None:
    """DL14: 3 r2 are made, one r1 stops (upstream stops more), what drains stops last. Our decision goes on at once:
    one more r2 comes in place of the r1 that stops, which is D in all."""
    places = ("lost", "drain", "drain", "h1", "h1", "h2", "h2", "h1", "h2", "h3")
    replicas = tuple(a_replica(slot, 2 if slot < 7 else 1, slot + 1, host) for slot, host in enumerate(places))
    state = a_service(replicas, revision=2, revisions=(a_revision(1), a_revision(2, "healthy")))
    rules = some_rules(max_surge=count(0), max_unavailable=count(4), first_batch=0)
    hosts = [
        a_host("lost", condition="lost", known=False, since=NOW - 100),
        a_host("drain", condition="draining"),
        *(a_host(name) for name in HOSTS),
    ]
    rollout = Advancing(2, 1, None, NOW - 50, NOW + 50, 10, 10)
    scene = Scene(replace(state, rollout=rollout), some_settings(update=rules), hosts)
    scene.obedient = False
    scene.tell(Observed(scene.now))
    made = [r for r in scene.state.replicas if r.attempt > 10]
    assert [(r.revision, r.host in HOSTS) for r in made] == [(2, True)] * (3 + 1)
    kept = {r.slot for r in scene.state.replicas if r.attempt <= 10}
    assert kept == {1, 2, 3, 4, 5, 6, 8, 9}
    scene.obedient = True
    drained = []
    for _ in range(30):
        scene.run(1)
        drained.append(sum(1 for r in scene.state.replicas if r.host == "drain"))
        assert available(scene) >= 6
    assert drained[-1] == 0
    assert scene.wanted() == {2: 10}


def test_host_whose_label_stops_matching_is_left_start_first() -> None:
    hosts = [a_host(host, labels={"zone": host, "disk": "ssd"}) for host in HOSTS]
    placement = PlacementRules(labels=(("disk", ("ssd",)),))
    scene = Scene(spread(6), some_settings(placement=placement), hosts)
    scene.change_host("h1", labels={"zone": "h1", "disk": "hdd"})
    for _ in range(30):
        scene.run(1)
        assert available(scene) >= 6
    assert "h1" not in {r.host for r in scene.state.replicas}
    assert len(scene.state.replicas) == 6


def test_taint_that_executes_sends_away_what_does_not_tolerate_it() -> None:
    tainted = Taint("maintenance", "", "NoExecute")
    for tolerations, stays in (((), False), ((Toleration("maintenance"),), True)):
        settings = some_settings(placement=PlacementRules(tolerations=tolerations))
        scene = Scene(spread(3), settings, [a_host(host) for host in HOSTS])
        scene.change_host("h1", taints=(tainted,))
        scene.run(20)
        assert ("h1" in {r.host for r in scene.state.replicas}) is stays


def stuck(scene: Scene) -> list[str]:
    """The reports of what has not left a host."""
    return [r.reason.text for r in scene.records if r.reason.code == "drain_stuck"]


def test_what_has_not_left_a_host_in_ten_minutes_is_reported_once_with_why() -> None:
    scene = Scene(spread(3), some_settings(placement=PlacementRules(max_per_host=1)), [a_host(h) for h in HOSTS])
    scene.change_host("h1", condition="draining")
    scene.run(599)
    assert stuck(scene) == []
    scene.run(600)
    why = "no host: 2 have 1 of the service already, 1 draining"
    assert stuck(scene) == [f"alarm: not gone in 600 s from hosts that are to be emptied: s0.r1.1 on h1; {why}"]
    assert [(one.host, one.told) for one in scene.state.leaving] == [("h1", True)]
    scene.hosts["h4"] = a_host("h4")
    scene.tell(Observed(scene.now))
    scene.run(10)
    assert (scene.state.leaving, {c.host for c in scene.containers.values()}) == ((), {"h2", "h3", "h4"})


def test_replica_that_does_not_end_on_a_draining_host_is_reported_as_well() -> None:
    scene = Scene(spread(3), some_settings(), [a_host(h) for h in HOSTS])
    scene.change_host("h1", condition="draining")
    scene.run(30)
    assert (scene.state.leaving, stuck(scene)) == ((), [])
    left_over = replace(next(iter(scene.containers.values())), id="x", name="x", host="h1", attempt=1, slot=0)
    scene.containers["x"] = replace(left_over, stopping=True)
    scene.tell(Observed(scene.now))
    scene.run(601)
    assert len(stuck(scene)) == 1
    assert stuck(scene)[0].endswith("s0.r1.1 on h1; they are to stop, and have not yet")


def test_host_that_is_left_in_time_or_may_be_stayed_on_is_no_alarm() -> None:
    scene = Scene(spread(3), some_settings(placement=PlacementRules(max_per_host=1)), [a_host(h) for h in HOSTS])
    scene.change_host("h1", condition="draining")
    scene.run(300)
    scene.change_host("h1", condition="ready")
    scene.run(301)
    assert (stuck(scene), scene.state.leaving) == ([], ())


def test_draining_host_is_emptied_start_first() -> None:
    scene = a_scene(4)
    lows: list[int] = []
    scene.change_host("h1", condition="draining")
    for _ in range(30):
        lows.append(sum(scene.running().values()))
        scene.run(1)
    assert min(lows) >= 4
    assert {c.host for c in scene.containers.values()} == {"h2"}
    assert len(scene.state.replicas) == 4
