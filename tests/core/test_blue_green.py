"""Blue-green: a preview beside all old replicas, judged, grown to the demand, one switch, and the old ones standing
by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core.rollout import Advancing, Judging, Soaking
from autoscaler.core.settings import PlacementRules, Route, ServiceSettings
from autoscaler.core.steps import Step
from autoscaler.core.stimuli import Observed
from autoscaler.core.traffic import shares
from tests.core.builders import a_host, a_service, a_spec, judges, some_rules, some_settings, votes_down, wishes
from tests.core.scene import Scene, a_scene, crashes

ROUTE = Route("127.0.0.1:8080", "http")


def blue_green(*steps: Step, placement: PlacementRules | None = None, **rules: Any) -> ServiceSettings:
    """Settings of a routed service that is switched from one revision to the next."""
    settings = some_settings(update=some_rules(strategy="blue_green", steps=steps, **rules), route=ROUTE)
    return settings if placement is None else replace(settings, placement=placement)


def test_preview_of_the_demand_is_judged_switched_at_once_and_the_old_ones_stand_by() -> None:
    scene = a_scene(3, settings=blue_green(Step(weight=100, pause_s=20.0)))
    scene.votes = (judges("pass"),)
    scene.deploy(a_spec("2"))
    seen: list[tuple[str, Any, dict[int, int]]] = []
    for _ in range(90):
        now = (scene.phase, shares(scene.state, scene.settings), scene.wanted())
        if not seen or seen[-1] != now:
            seen.append(now)
        scene.run(1)
    parts = [shared for _, shared, _ in seen if shared is not None]
    assert parts == [p for p in parts if dict(p).get(2, 0) in {0, 100}]
    switched = next(n for n, p in enumerate(parts) if dict(p).get(2) == 100)
    assert all(dict(p)[1] == 100 for p in parts[:switched])
    assert ("judging", ((1, 100), (2, 0)), {1: 3, 2: 3}) in seen
    assert ("soaking", ((2, 100),), {1: 3, 2: 3}) in seen
    assert (scene.verdict("d-1"), scene.running()) == ("applied", {2: 3})


def test_smaller_preview_grows_to_the_demand_of_today_before_the_switch() -> None:
    scene = a_scene(4, settings=blue_green(Step(count=1, pause_s=None)))
    scene.votes = (judges("pass"),)
    scene.deploy(a_spec("2"))
    scene.run(5)
    assert (scene.phase, scene.wanted()) == ("judging", {1: 4, 2: 1})
    scene.evaluate(wishes(6))
    scene.run(5)
    assert scene.wanted() == {1: 6, 2: 1}
    scene.order("promote", "c-1")
    assert shares(scene.state, scene.settings) == ((1, 100), (2, 0))
    assert scene.wanted() == {1: 6, 2: 6}
    scene.run(10)
    assert isinstance(scene.state.rollout, Soaking)
    assert (shares(scene.state, scene.settings), scene.wanted()) == (((2, 100),), {1: 6, 2: 6})


def test_nothing_is_switched_while_a_replica_of_the_preview_is_not_available() -> None:
    scene = a_scene(3, settings=blue_green())
    scene.deploy(a_spec("2"))
    scene.obedient = False
    scene.run(1)
    assert shares(scene.state, scene.settings) == ((1, 100), (2, 0))
    scene.order("promote", "c-1")
    assert scene.verdict("c-1") == "refused"


def test_failed_preview_never_had_a_request() -> None:
    scene = a_scene(3, settings=blue_green(Step(weight=100, pause_s=60.0)), v2=crashes)
    scene.deploy(a_spec("2"))
    scene.run(20)
    assert (scene.verdict("d-1"), scene.running()) == ("rolled_back", {1: 3})


def test_going_back_in_the_soak_is_a_switch_and_makes_nothing() -> None:
    scene = a_scene(3, settings=blue_green())
    scene.deploy(a_spec("2"))
    scene.run(10)
    assert isinstance(scene.state.rollout, Soaking)
    created = len(scene.created)
    scene.evaluate(votes_down())
    assert scene.state.revision == 1
    assert scene.wanted() == {1: 3}
    scene.run(30)
    assert (scene.verdict("d-1"), scene.running(), len(scene.created)) == ("rolled_back", {1: 3}, created)


def test_what_stands_by_leaves_after_half_a_minute_where_its_room_is_wanted() -> None:
    placement = PlacementRules(max_per_host=3)
    scene = Scene(a_service(3), blue_green(placement=placement, soak_s=300.0), [a_host("h1"), a_host("h2")])
    scene.deploy(a_spec("2"))
    scene.run(10)
    assert (scene.phase, scene.wanted()) == ("soaking", {1: 3, 2: 3})
    scene.evaluate(wishes(5))
    scene.run(15)
    assert scene.wanted() == {1: 3, 2: 3}
    assert scene.state.pending is not None
    scene.run(30)
    assert scene.wanted() == {2: 5}


def test_preflight_proves_room_for_twice_the_demand() -> None:
    placement = PlacementRules(max_per_host=2)
    scene = Scene(a_service(3), blue_green(placement=placement), [a_host("h1"), a_host("h2")])
    scene.deploy(a_spec("2"))
    assert (scene.phase, scene.wanted()) == ("preflight", {1: 3})
    scene.run(61)
    assert (scene.verdict("d-1"), scene.reason("d-1"), scene.phase) == ("refused", "no_room", "idle")
    text = next(r.reason.text for r in scene.records if r.terminal)
    assert "room for 1 of 3 replicas beside the 3 that run" in text
    assert not [n for n in scene.created if ".r2." in n]


def test_preflight_goes_on_when_room_comes() -> None:
    placement = PlacementRules(max_per_host=2)
    scene = Scene(a_service(3), blue_green(placement=placement), [a_host("h1"), a_host("h2")])
    scene.deploy(a_spec("2"))
    assert scene.phase == "preflight"
    scene.hosts["h3"] = a_host("h3")
    scene.tell(Observed(scene.now))
    scene.run(10)
    assert scene.phase == "soaking"


def test_first_revision_needs_no_preview() -> None:
    scene = Scene(settings=blue_green())
    scene.deploy(a_spec("1"))
    scene.run(60)
    assert (scene.verdict("d-1"), scene.running()) == ("applied", {1: 1})


@pytest.mark.parametrize("slot", [0, 1])
def test_preview_that_loses_a_replica_in_its_pause_makes_it_again(slot: int) -> None:
    scene = a_scene(2, settings=blue_green(Step(weight=100, pause_s=60.0)))
    scene.votes = (judges("pass"),)
    scene.deploy(a_spec("2"))
    scene.run(10)
    assert isinstance(scene.state.rollout, Judging)
    name = next(n for n, c in scene.containers.items() if c.revision == 2 and c.slot == slot)
    del scene.containers[name]
    scene.tell(Observed(scene.now))
    scene.run(10)
    assert (scene.phase, scene.running()) == ("judging", {1: 2, 2: 2})


def test_no_step_left_grows_on_without_a_judge() -> None:
    scene = a_scene(2, settings=blue_green(Step(count=1, pause_s=None)))
    scene.deploy(a_spec("2"))
    scene.run(5)
    scene.order("promote", "c-1")
    rollout = scene.state.rollout
    assert isinstance(rollout, Advancing | Soaking)
    scene.run(10)
    assert scene.phase == "soaking"
