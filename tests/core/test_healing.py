"""Sick replicas are made anew beside what serves, few at a time, and ever more slowly."""

from __future__ import annotations

import re
from dataclasses import replace

from autoscaler.core.records import Record
from autoscaler.core.stimuli import Observed
from tests.core.builders import a_service, count, some_rules, some_settings, wishes
from tests.core.scene import Scene, a_scene, silent


def started_and_stopped(record: Record) -> set[str]:
    """Replicas that one record both starts and stops."""
    start, _, stop = record.reason.text.partition("stop ")
    names = r"s\d+\.r\d+\.\d+"
    return set(re.findall(names, start)) & set(re.findall(names, stop))


def an_ill_scene() -> Scene:
    """Four stable replicas that all fall sick, and whose successors fall sick as soon as they are available."""
    scene = Scene(a_service(replicas=4))
    for slot in range(4):
        scene.change(slot, healthy=False)
    for _ in range(40):
        scene.run(2.5)
        for slot in range(4):
            scene.change(slot, healthy=False)
    return scene


def test_no_decision_starts_what_it_stops() -> None:
    assert not [r.reason.text for r in an_ill_scene().records if started_and_stopped(r)]


def test_a_slot_whose_replicas_keep_falling_sick_is_tried_ever_more_slowly() -> None:
    scene = an_ill_scene()
    assert 0 < len(scene.created) <= 4 * 5, scene.created


def test_one_sick_replica_is_replaced_at_once_and_only_then_stopped() -> None:
    scene = Scene(a_service(replicas=3))
    scene.change(1, healthy=False)
    assert len(scene.created) == 1
    assert len(scene.state.replicas) == 4
    scene.run(3)
    assert sorted(r.slot for r in scene.state.replicas) == [0, 1, 2]
    assert scene.running() == {1: 3}


def test_a_sick_replica_that_recovers_keeps_its_place() -> None:
    scene = Scene(a_service(replicas=3))
    scene.change(1, healthy=False)
    name = next(n for n, c in scene.containers.items() if c.slot == 1 and c.healthy is False)
    scene.containers[name] = replace(scene.containers[name], healthy=True, healthy_since=scene.now)
    scene.run(10)
    assert len(scene.state.replicas) == 3


def test_demand_that_falls_takes_no_slot_whose_former_replica_still_serves() -> None:
    settings = some_settings(update=some_rules(max_surge=count(4)))
    scene = Scene(a_service(replicas=4, hosts=("h2",)), settings, v1=silent)
    scene.change_host("h2", condition="draining")
    scene.run(1)
    assert len(scene.state.replicas) == 8
    for slot in (0, 1):
        name = next(n for n, c in scene.containers.items() if c.slot == slot and c.attempt == slot + 1)
        scene.containers[name] = replace(scene.containers[name], healthy=False)
    scene.evaluate(wishes(2))
    assert sum(1 for c in scene.containers.values() if c.healthy and c.condition == "running") == 2


def test_sick_dependency_of_all_replicas_does_not_restart_all() -> None:
    scene = a_scene(6, v1=silent)
    for name, seen in scene.containers.items():
        scene.containers[name] = replace(seen, healthy=False)
    scene.tell(Observed(scene.now))
    assert len(scene.created) == 1
    assert sum(scene.running().values()) == 7
    for name, seen in scene.containers.items():
        scene.containers[name] = replace(seen, healthy=True, healthy_since=scene.now)
    scene.tell(Observed(scene.now))
    scene.run(10)
    assert scene.running() == {1: 6}


def test_sick_replica_is_replaced_start_first() -> None:
    scene = a_scene(3)
    scene.change(1, healthy=False)
    assert scene.running() == {1: 4}
    scene.run(5)
    assert scene.running() == {1: 3}
    assert all(c.healthy for c in scene.containers.values())
