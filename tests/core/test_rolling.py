"""The arithmetic of a rolling update, the split of a changed demand, and the conformance scenarios that concern
them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core.plan import plan
from autoscaler.core.rollout import Advancing, Held
from autoscaler.core.settings import Bounds
from autoscaler.core.split import surge_and_unavailable
from autoscaler.core.stimuli import Observed
from tests.core.builders import a_host, a_service, a_spec, count, percent, some_rules, some_settings, wishes
from tests.core.scene import Scene, a_scene
from tests.core.updates import FOUR_HOSTS, an_update, not_available, some_replicas


@pytest.mark.parametrize(
    ("demand", "surge", "unavailable", "expected"),
    [
        (1, 25, 25, (1, 0)),
        (4, 25, 25, (1, 1)),
        (5, 25, 25, (2, 1)),
        (10, 25, 25, (3, 2)),
        (1, 0, 25, (0, 1)),
        (2, 0, 25, (0, 1)),
        (3, 0, 25, (0, 1)),
    ],
)
def test_bounds_of_an_update_round_surge_up_and_unavailable_down(
    demand: Any, surge: Any, unavailable: Any, expected: Any
) -> None:
    settings = some_settings(update=some_rules(max_surge=percent(surge), max_unavailable=percent(unavailable)))
    assert surge_and_unavailable(settings, demand, stop_first=False) == expected


@pytest.mark.parametrize("pause", [False, True])
@pytest.mark.parametrize(
    ("new", "old", "demand", "to", "rules", "expected"),
    [
        pytest.param(5, 8, 10, 15, {"max_surge": count(3)}, {1: 11, 2: 7}, id="8 old 5 new, 10 to 15"),
        pytest.param(
            5, 8, 10, 6, {"max_surge": percent(25), "max_unavailable": percent(25)}, {1: 5, 2: 3}, id="25 %, 10 to 6"
        ),
    ],
)
def test_demand_that_changes_in_an_update_is_shared_by_present_size(
    new: Any, old: Any, demand: Any, to: Any, rules: Any, expected: Any, pause: Any
) -> None:
    rules = some_rules(first_batch=0, max_parallel=0, **rules)
    scene = an_update(some_replicas(2, range(new)), some_replicas(1, range(5, 5 + old)), demand, rules)
    scene.obedient = False
    if pause:
        scene.order("pause")
    scene.evaluate(wishes(to))
    shared = next(r for r in scene.records if r.kind == "schedule" and "replicas" in r.changes)
    counts: dict[int, int] = {}
    for r in shared.changes["replicas"]:  # type: ignore[attr-defined]
        counts[r.revision] = counts.get(r.revision, 0) + 1
    if pause:
        assert counts == expected
        assert isinstance(scene.state.rollout, Held)
    else:
        # The same decision goes on with the update, within D + S: the share shows in the totals.
        assert sum(counts.values()) == sum(expected.values())
    assert scene.state.demand == to


def test_new_revision_that_is_not_available_does_not_grow_with_the_demand() -> None:
    new = some_replicas(2, range(1), available=False)
    scene = an_update(new, some_replicas(1, range(4)), 4, some_rules(max_surge=count(1)))
    not_available(scene, new)
    scene.obedient = False
    scene.evaluate(wishes(8))
    assert scene.wanted() == {1: 8, 2: 1}


@pytest.mark.parametrize("available", range(5))
def test_dl10_exactly_as_many_old_ones_stop_as_new_ones_are_available(available: int) -> None:
    rules = some_rules(order="stop_first", max_unavailable=count(4), first_batch=0)
    ready = some_replicas(2, range(available))
    late = some_replicas(2, range(available, 4), available=False)
    scene = an_update([*ready, *late], some_replicas(1, range(4, 10)), 10, rules)
    not_available(scene, late)
    scene.obedient = False
    scene.tell(Observed(scene.now))
    left = sorted(r.slot for r in scene.state.replicas if r.revision == 1)
    assert left == list(range(4 + available, 10))


def test_dl13_held_rollout_replaces_nothing() -> None:
    scene = an_update(some_replicas(2, range(2)), some_replicas(1, range(2, 10)), 10, some_rules(max_surge=count(2)))
    scene.obedient = False
    scene.order("pause")
    before = scene.wanted()
    scene.run(3600)
    assert (scene.wanted(), scene.phase) == (before, "held")


def test_dl15_missing_replicas_are_made_as_the_new_revision() -> None:
    rules = some_rules(order="stop_first", max_unavailable=count(4), first_batch=0)
    state = a_service(tuple(some_replicas(1, range(7))), demand=10)
    scene = Scene(state, some_settings(update=rules), [a_host(h) for h in FOUR_HOSTS])
    scene.obedient = False
    scene.deploy(a_spec("2"))
    assert scene.wanted() == {1: 6, 2: 4}
    assert sum(1 for r in scene.state.replicas if r.revision == 1) == 6


@pytest.mark.parametrize(("old", "new", "started"), [(10, 0, 2), (5, 0, 7), (10, 2, 2), (2, 11, 10)], ids=str)
def test_dl28_new_replicas_fill_the_surge_and_no_more(old: int, new: int, started: int) -> None:
    rules = some_rules(max_surge=count(2), max_unavailable=count(0), first_batch=0)
    fresh = some_replicas(2, range(new), available=False)
    scene = an_update(fresh, some_replicas(1, range(old)), 10, rules)
    not_available(scene, fresh)
    scene.obedient = False
    scene.tell(Observed(scene.now))
    assert scene.wanted()[2] == started


def test_dl33_next_owner_goes_on_where_the_former_stood() -> None:
    rules = some_rules(failure_ratio_percent=20, max_surge=count(1))
    new = some_replicas(2, range(2))
    scene = an_update(new, some_replicas(1, range(2, 10)), 10, rules, failed=("web.s2.r2.77",))
    scene.configure()
    rollout = scene.state.rollout
    assert isinstance(rollout, Advancing)
    assert rollout.failed == ("web.s2.r2.77",)
    assert scene.created == ["shop.web.s2.r2.101"]


def test_stop_first_ends_the_slots_former_replica_before_the_new_one_is_made() -> None:
    rules = some_rules(order="stop_first")
    scene = a_scene(2, settings=some_settings(update=rules))
    scene.obedient = False
    scene.deploy(a_spec("2"))
    kinds = [a.kind for a in plan(scene.state, scene.settings, scene.world(), "shop")]
    assert kinds == ["stop"]
    scene.obedient = True
    scene.run(60)
    assert (scene.running(), scene.verdict("d-1")) == ({2: 2}, "applied")


def test_dl5_old_replica_that_never_says_it_stopped_is_waited_for_only_so_long() -> None:
    rules = some_rules(order="stop_first", stop_deadline_s=10.0)
    scene = a_scene(1, settings=some_settings(update=rules))
    scene.obedient = False
    scene.deploy(a_spec("2"))
    scene.now += 10
    kinds = [a.kind for a in plan(scene.state, scene.settings, scene.world(), "shop")]
    assert kinds == ["create", "stop"]


def test_plan_is_level_triggered_and_comes_to_rest() -> None:
    scene = a_scene(3)
    assert plan(scene.state, scene.settings, scene.world(), "shop") == ()
    scene.obedient = False
    scene.evaluate(wishes(5))
    first = plan(scene.state, scene.settings, scene.world(), "shop")
    assert first == plan(scene.state, scene.settings, scene.world(), "shop")
    assert [a.kind for a in first] == ["create", "create"]


def test_update_of_one_replica_never_leaves_none() -> None:
    scene = a_scene(1, settings=some_settings(bounds=Bounds(1, 5, 1)))
    scene.deploy(a_spec("2"))
    for _ in range(20):
        assert sum(1 for c in scene.containers.values() if c.healthy and c.condition == "running") >= 1
        scene.run(1)
    assert scene.running() == {2: 1}


@pytest.mark.parametrize("watched_for", [None, 0.0], ids=["long watched", "just taken over"])
def test_sick_one_goes_before_those_that_nobody_has_asked_yet(watched_for: float | None) -> None:
    old = some_replicas(1, range(4))
    scene = an_update(some_replicas(2, range(4, 5)), old, 4, some_rules(max_surge=count(1)))
    scene.obedient = False
    not_available(scene, old[:3])
    name = next(n for n, c in scene.containers.items() if c.slot == 3)
    scene.containers[name] = replace(scene.containers[name], healthy=False)
    if watched_for is not None:
        scene.watched_since = scene.now - watched_for
    scene.tell(Observed(scene.now))
    assert [r.slot for r in scene.state.replicas if r.revision == 1] == [0, 1, 2]


def test_what_a_new_owner_has_not_asked_yet_is_not_stopped_before_it_could_answer() -> None:
    old = some_replicas(1, range(4))
    scene = an_update(some_replicas(2, range(4, 5)), old, 4, some_rules(max_surge=count(1)))
    scene.obedient = False
    not_available(scene, old)
    scene.watched_since = scene.now
    scene.tell(Observed(scene.now))
    assert scene.wanted() == {1: 4, 2: 1}
    scene.run(19)
    assert scene.wanted() == {1: 4, 2: 1}
    scene.run(2)
    assert scene.wanted()[1] == 3
