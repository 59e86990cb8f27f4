"""From votes to demand: combination, windows, clamps, limits, and what never scales down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core.evolve import fold
from autoscaler.core.settings import Bounds, Guards, Scaling, StepLimit
from autoscaler.core.stimuli import GuardNote
from tests.core.builders import a_replica, a_service, an_evaluation, count, holds, percent, some_settings, wishes
from tests.core.scene import Scene, a_scene


def limited(**guards: StepLimit) -> Scene:
    """Four replicas under step limits."""
    return a_scene(4, settings=some_settings(guards=Guards(**guards)))


def test_highest_wish_wins_and_the_record_says_whose_it_was() -> None:
    scene = a_scene(3)
    (record, *_) = scene.evaluate(wishes(5, policy="cpu"), wishes(7, policy="queue"))
    assert (scene.state.demand, record.kind, record.raises_generation) == (7, "scale", True)
    assert [(p.policy, p.to) for p in record.proposals] == [("cpu", 5), ("queue", 7)]


def test_lowest_wish_wins_where_the_service_says_so() -> None:
    scene = a_scene(6, settings=some_settings(scaling=Scaling(combine="min")))
    scene.evaluate(wishes(4, policy="a"), wishes(5, policy="b"), wishes_max=4)
    assert scene.state.demand == 4


def test_unchanged_conclusion_writes_nothing() -> None:
    scene = a_scene(3)
    assert len(scene.evaluate(wishes(3))) == 1
    assert scene.evaluate(wishes(3)) == []


@pytest.mark.parametrize("combine", ["max", "min"])
def test_unknown_never_scales_down(combine: Any) -> None:
    scene = a_scene(5, settings=some_settings(scaling=Scaling(combine=combine)))
    scene.evaluate(wishes(None, unknown="no sample for 61 s"), wishes(1, policy="b"))
    assert scene.state.demand == 5


def test_unknown_does_not_keep_another_policy_from_scaling_up() -> None:
    scene = a_scene(5)
    scene.evaluate(wishes(None, unknown="no sample for 61 s"), wishes(9, policy="b"))
    assert scene.state.demand == 9


def test_hold_blocks_a_scale_down_of_others() -> None:
    scene = a_scene(5)
    scene.evaluate(holds(), wishes(2))
    assert scene.state.demand == 5


@pytest.mark.parametrize(
    ("changes", "clamp"),
    [
        pytest.param({"sampled": False}, "no_sample", id="a deadline, not a sample"),
        pytest.param({"covered_since": None}, "window_not_full", id="signals with a gap"),
        pytest.param({"covered_since": 1_800_000_000.0 - 200}, "window_not_full", id="window not full yet"),
        pytest.param({"wishes_max": None}, "window_not_full", id="no earlier wish"),
        pytest.param({"wishes_max": 9}, "down_window", id="a higher wish in the window"),
    ],
)
def test_scale_down_waits(changes: Any, clamp: Any) -> None:
    scene = a_scene(5)
    (record,) = scene.evaluate(wishes(2), **changes)
    assert scene.state.demand == 5
    assert [c.guard for c in record.clamps] == [clamp]


def test_without_a_window_no_earlier_wish_is_needed_to_scale_down() -> None:
    scene = a_scene(5, settings=some_settings(scaling=Scaling(down_window_s=0)))
    scene.evaluate(wishes(2), wishes_max=None)
    assert scene.state.demand == 2


def test_scale_down_goes_to_the_highest_wish_of_the_window() -> None:
    scene = a_scene(8)
    scene.evaluate(wishes(2), wishes_max=4)
    assert scene.state.demand == 4


def test_scale_up_waits_for_the_up_window() -> None:
    scene = a_scene(3, settings=some_settings(scaling=Scaling(up_window_s=60.0)))
    scene.evaluate(wishes(9), wishes_min=3)
    assert scene.state.demand == 3
    scene.evaluate(wishes(9), wishes_min=6)
    assert scene.state.demand == 6


def test_to_zero_only_after_known_zeros_for_the_idle_time() -> None:
    scene = a_scene(3)
    scene.evaluate(wishes(0))
    assert scene.state.demand == 1
    scene.evaluate(wishes(0), zero_since=scene.now - 800)
    assert scene.state.demand == 1
    scene.evaluate(wishes(0), zero_since=scene.now - 901)
    assert (scene.state.demand, scene.running()) == (0, {})


def test_from_zero_at_the_first_wish() -> None:
    scene = a_scene(0)
    scene.evaluate(wishes(2))
    assert scene.running() == {1: 2}


def test_bounds_clamp_both_ways() -> None:
    scene = a_scene(4, settings=some_settings(bounds=Bounds(2, 6, 2)))
    scene.evaluate(wishes(90))
    assert scene.state.demand == 6
    scene.evaluate(wishes(0))
    assert scene.state.demand == 2


def test_step_up_is_limited_within_any_period() -> None:
    scene = limited(max_step_up=StepLimit(count(3), 60.0))
    for expected, wait_s in ((7, 30), (7, 31), (10, 0), (10, 61), (13, 0)):
        scene.evaluate(wishes(40))
        assert scene.state.demand == expected
        scene.run(wait_s)


def test_step_down_of_a_share_is_at_least_one() -> None:
    scene = limited(max_step_down=StepLimit(percent(25), 60.0))
    for expected in (3, 2, 1):
        scene.evaluate(wishes(0))
        assert scene.state.demand == expected
        scene.evaluate(wishes(0))
        assert scene.state.demand == expected
        scene.run(61)


@pytest.mark.parametrize(("to", "scaling"), [(9, Scaling(up_cooldown_s=60.0)), (1, Scaling(down_cooldown_s=60.0))])
def test_cooldown_keeps_the_demand_and_ends(to: Any, scaling: Any) -> None:
    scene = a_scene(4, settings=some_settings(scaling=scaling))
    first = 6 if to > 4 else 3
    scene.evaluate(wishes(first))
    scene.evaluate(wishes(to))
    assert scene.state.demand == first
    scene.run(60)
    scene.evaluate(wishes(to))
    assert scene.state.demand == to


@pytest.mark.parametrize(
    ("note", "to", "expected"),
    [
        pytest.param(GuardNote("budget", None, "over budget"), 9, 4, id="a veto keeps the demand"),
        pytest.param(GuardNote("budget", 6, "half"), 9, 6, id="a guard takes some of it"),
        pytest.param(GuardNote("budget", 2, "less"), 9, 4, id="a guard never turns a rise into a fall"),
        pytest.param(GuardNote("budget", 30, "more"), 9, 9, id="a guard never adds to a rise"),
        pytest.param(GuardNote("budget", None, "late", unknown=True), 9, 9, id="a failed guard lets a rise through"),
        pytest.param(GuardNote("budget", None, "late", unknown=True), 2, 4, id="a failed guard stops a fall"),
    ],
)
def test_guard_plugins(note: Any, to: Any, expected: Any) -> None:
    scene = a_scene(4)
    scene.evaluate(wishes(to), guards=(note,))
    assert scene.state.demand == expected


def test_every_clamp_is_recorded_before_and_after() -> None:
    scene = a_scene(4, settings=some_settings(bounds=Bounds(0, 8, 1), guards=Guards(StepLimit(count(10), 60.0))))
    (record, *_) = scene.evaluate(wishes(30))
    assert [(c.guard, c.before, c.after) for c in record.clamps] == [("max_step_up", 30, 14), ("max", 14, 8)]
    assert record.reason.code == "max"


def test_nothing_is_scaled_before_the_first_revision() -> None:
    scene = Scene()
    assert scene.evaluate(wishes(5)) == []


def test_replaying_the_records_gives_the_state() -> None:
    scene = a_scene(4)
    before = scene.state
    scene.evaluate(wishes(7))
    scene.run(10)
    scene.evaluate(wishes(3))
    assert fold(before, scene.records) == scene.state


def test_generation_rises_by_one_with_each_change_of_demand_only() -> None:
    scene = a_scene(4)
    generation = scene.state.generation
    scene.evaluate(wishes(7))
    scene.evaluate(wishes(7))
    scene.run(10)
    assert scene.state.generation == generation + 1


def test_evaluation_without_votes_concludes_nothing() -> None:
    scene = a_scene(4)
    assert scene.tell(replace(an_evaluation(scene.now), votes=())) == []


def test_scale_down_takes_the_fullest_host_first() -> None:
    replicas = tuple(a_replica(s, 1, s + 1, h) for s, h in enumerate(("h1", "h2", "h1", "h1")))
    scene = Scene(a_service(replicas))
    scene.evaluate(wishes(2))
    assert sorted(r.host for r in scene.state.replicas) == ["h1", "h2"]
