"""The arithmetic of a rolling update, the split of a changed demand, and the conformance scenarios that concern
them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core.plan import plan
from autoscaler.core.rollout import Advancing, Held, RollingBack
from autoscaler.core.settings import Bounds, UpdateRules
from autoscaler.core.split import surge_and_unavailable
from autoscaler.core.state import Replica
from autoscaler.core.stimuli import Observed
from tests.core.builders import (
    FOLLOWING,
    NOW,
    a_host,
    a_replica,
    a_revision,
    a_service,
    a_spec,
    count,
    percent,
    some_rules,
    some_settings,
    wishes,
)
from tests.core.scene import Scene, a_scene, crashes, good, one_after_another, silent

FOUR_HOSTS = ("h1", "h2", "h3", "h4")


def an_update(new: list[Replica], old: list[Replica], demand: int, rules: UpdateRules, **changes: object) -> Scene:
    """A rolling update in the middle: so many of r2 and r1, the demand, the rules."""
    advancing = Advancing(2, 1, None, NOW - 100, NOW + 60, demand, demand)
    state = a_service(
        tuple(sorted([*new, *old], key=lambda r: (r.slot, r.revision))),
        demand=demand,
        revision=2,
        revisions=(a_revision(1), a_revision(2, "healthy")),
        attempts=100,
        rollout=replace(advancing, **changes),  # type: ignore[arg-type]
    )
    return Scene(state, some_settings(update=rules, scaling=FOLLOWING), [a_host(h) for h in FOUR_HOSTS])


def some_replicas(revision: int, slots: range, *, available: bool = True) -> list[Replica]:
    """Replicas of a revision in those slots."""
    at = NOW - 800 if available else None
    return [
        a_replica(
            s, revision, revision * 20 + s, FOUR_HOSTS[s % 4], available_at=at, placed_at=NOW - 10, created_at=NOW - 9
        )
        for s in slots
    ]


def not_available(scene: Scene, replicas: list[Replica]) -> None:
    """Their containers run and have not said how they are."""
    for r in replicas:
        name = f"shop.web.s{r.slot}.r{r.revision}.{r.attempt}"
        scene.containers[name] = replace(
            scene.containers[name], healthy=None, healthy_since=None, started_at=scene.now - 5
        )


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


def test_dl1_hold_on_failure_keeps_what_runs_and_plans_nothing_more() -> None:
    rules = some_rules(order="stop_first", max_unavailable=count(1), on_failure="hold")
    scene = a_scene(3, settings=some_settings(update=rules), v2=crashes)
    scene.deploy(a_spec("2"))
    assert isinstance(scene.state.rollout, Held)
    assert (scene.running(), scene.verdict("d-1")) == ({1: 2}, "")
    scene.run(600)
    assert (scene.running(), plan(scene.state, scene.settings, scene.world(), "shop")) == ({1: 2}, ())


def test_dl1_continue_goes_on_through_failures() -> None:
    rules = some_rules(order="stop_first", max_unavailable=count(3), on_failure="continue", first_batch=0)
    scene = a_scene(3, settings=some_settings(update=rules))
    scene.deploy(a_spec("2"))
    assert scene.running() == {2: 3}


def test_dl2_failure_ratio_counts_failed_replicas_and_rolls_back_over_it() -> None:
    rules = some_rules(max_parallel=1, failure_ratio_percent=40)
    scene = a_scene(4, settings=some_settings(update=rules))
    scene.behave["2"] = one_after_another(crashes, good, crashes)
    scene.deploy(a_spec("2"))
    for _ in range(30):
        if isinstance(scene.state.rollout, RollingBack):
            break
        scene.run(1)
    failed = sum(1 for r in scene.records if r.kind == "heal")
    assert failed == 2
    assert len([n for n in scene.created if ".r2." in n]) == 3
    scene.run(30)
    assert (scene.verdict("d-1"), scene.running()) == ("rolled_back", {1: 4})


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


def test_dl16_one_unhealthy_new_replica_rolls_back_at_once_and_keeps_the_demand() -> None:
    scene = a_scene(4)
    scene.deploy(a_spec("2"))
    scene.run(3)
    scene.change(0, healthy=False)
    assert scene.state.revision == 1
    scene.run(20)
    assert (scene.verdict("d-1"), scene.state.demand, scene.running()) == ("rolled_back", 4, {1: 4})


def test_dl18_no_available_replica_by_the_deadline_rolls_back() -> None:
    rules = some_rules(startup_deadline_s=500.0)
    scene = a_scene(3, settings=some_settings(update=rules), v2=silent)
    scene.deploy(a_spec("2"))
    scene.run(70)
    assert (scene.verdict("d-1"), scene.reason("d-1")) == ("rolled_back", "deadline")


def test_dl20_abort_brings_the_base_back_before_the_new_ones_go_and_the_event_is_not_retried() -> None:
    scene = an_update(some_replicas(2, range(1)), some_replicas(1, range(1, 10)), 10, some_rules(max_surge=count(1)))
    scene.obedient = False
    scene.order("abort", "c-1")
    assert scene.wanted() == {1: 10, 2: 1}
    scene.obedient = True
    scene.run(1)
    scene.run(10)
    assert (scene.running(), scene.verdict("c-1")) == ({1: 10}, "applied")


@pytest.mark.parametrize(("old", "new", "started"), [(10, 0, 2), (5, 0, 7), (10, 2, 2), (2, 11, 10)], ids=str)
def test_dl28_new_replicas_fill_the_surge_and_no_more(old: int, new: int, started: int) -> None:
    rules = some_rules(max_surge=count(2), max_unavailable=count(0), first_batch=0)
    fresh = some_replicas(2, range(new), available=False)
    scene = an_update(fresh, some_replicas(1, range(old)), 10, rules)
    not_available(scene, fresh)
    scene.obedient = False
    scene.tell(Observed(scene.now))
    assert scene.wanted()[2] == started


def test_dl29_mended_failure_does_not_keep_the_new_revision_from_growing() -> None:
    rules = some_rules(max_surge=count(3), failure_ratio_percent=20, first_batch=0)
    scene = an_update(
        some_replicas(2, range(5)),
        some_replicas(1, range(5, 13)),
        10,
        rules,
        failed=("web.s0.r2.39",),
        started_at=NOW - 90,
    )
    scene.obedient = False
    scene.order("pause")
    held = scene.state.rollout
    assert isinstance(held, Held)
    scene.evaluate(wishes(15))
    assert scene.wanted() == {1: 11, 2: 7}
    assert isinstance(scene.state.rollout, Held)
    assert scene.state.rollout.resumed == held.resumed


def test_dl30_rollback_in_the_soak_brings_back_todays_demand() -> None:
    scene = a_scene(3)
    scene.deploy(a_spec("2"))
    scene.run(15)
    scene.evaluate(wishes(12))
    scene.run(5)
    scene.change(0, condition="exited", exit_code=1)
    scene.run(30)
    assert (scene.verdict("d-1"), scene.running()) == ("rolled_back", {1: 12})


def test_dl33_next_owner_goes_on_where_the_former_stood() -> None:
    rules = some_rules(failure_ratio_percent=20, max_surge=count(1))
    new = some_replicas(2, range(2))
    scene = an_update(new, some_replicas(1, range(2, 10)), 10, rules, failed=("web.s2.r2.77",))
    scene.configure()
    rollout = scene.state.rollout
    assert isinstance(rollout, Advancing)
    assert rollout.failed == ("web.s2.r2.77",)
    assert scene.created == ["shop.web.s2.r2.101"]


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


def test_scale_down_takes_the_fullest_host_first() -> None:
    replicas = tuple(a_replica(s, 1, s + 1, h) for s, h in enumerate(("h1", "h2", "h1", "h1")))
    scene = Scene(a_service(replicas))
    scene.evaluate(wishes(2))
    assert sorted(r.host for r in scene.state.replicas) == ["h1", "h2"]


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
