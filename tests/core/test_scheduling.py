"""Demand that is planned: overrides that begin later and end, and windows of the configuration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core.deadlines import next_deadline
from autoscaler.core.scheduling import plan_deadlines
from autoscaler.core.settings import Bounds, FreezeWindow, Planned
from autoscaler.core.state import Override
from autoscaler.ledger.state_codec import decode_state, encode_state
from tests.core.builders import NOW, a_command, some_settings, wishes
from tests.core.scene import Scene, a_scene

HOUR_S = 3600.0


def command(scene: Scene, replicas: int | None, identity: str = "c-1", **changes: Any) -> Any:
    """A scale command; its record."""
    (record, *_) = scene.tell(a_command(scene.now, "scale", identity, replicas=replicas, **changes))
    return record


def planned(scene: Scene, *plans: Planned) -> Scene:
    """The same service with windows in its configuration."""
    scene.settings = replace(scene.settings, overrides=plans)
    return scene


def once(begins: float = 60.0, ends: float = 120.0, **numbers: Any) -> Planned:
    """A window of one minute, a minute from now."""
    return Planned("overrides[0]: sale", begins_at=NOW + begins, ends_at=NOW + ends, **numbers)


# Commands.


def test_scheduled_override_begins_at_its_moment_and_ends() -> None:
    scene = a_scene(3)
    record = command(scene, 10, begins_at=NOW + 600, for_s=HOUR_S, reason="sale")
    assert (record.verdict, record.terminal, record.reason.code) == ("applied", True, "scheduled")
    assert (scene.state.demand, scene.state.override) == (3, None)
    scene.run(599)
    assert scene.state.demand == 3
    scene.run(2)
    assert scene.state.demand == 10
    assert scene.state.scheduled == ()
    assert scene.state.override == Override(10, NOW + 600 + HOUR_S, record.event)
    begun = next(r for r in scene.records if r.reason.code == "scheduled" and r.kind == "scale")
    assert begun.reason.text == "3 -> 10 replicas, as scheduled by /ops: sale"
    assert begun.raises_generation
    assert begun.causes == (record.event,)
    scene.run(HOUR_S)
    assert scene.state.override is None
    scene.evaluate(wishes(2))
    assert scene.state.demand == 2


def test_nothing_wakes_it_between() -> None:
    """Its beginning is the next deadline: no tick."""
    scene = a_scene(3)
    command(scene, 10, begins_at=NOW + 600, for_s=HOUR_S)
    assert next_deadline(scene.state, scene.settings, scene.world()) == NOW + 600


def test_scheduled_override_survives_a_restart() -> None:
    scene = a_scene(3)
    command(scene, 10, begins_at=NOW + 600, for_s=HOUR_S, reason="sale")
    scene.state = decode_state(encode_state(scene.state)).state
    scene.take_over_after(700)
    assert scene.state.demand == 10
    assert scene.state.override is not None
    assert scene.state.override.until == NOW + 600 + HOUR_S


def test_one_that_nobody_could_begin_before_its_end_is_let_go() -> None:
    scene = a_scene(3)
    command(scene, 10, begins_at=NOW + 600, for_s=60)
    scene.take_over_after(700)
    assert (scene.state.demand, scene.state.override, scene.state.scheduled) == (3, None, ())
    assert "was not begun before its end" in scene.records[-1].reason.text


def test_later_one_takes_the_place_of_the_one_in_force() -> None:
    scene = a_scene(3)
    command(scene, 8, "c-2", begins_at=NOW + 20, for_s=100)
    command(scene, 5, "c-1", begins_at=NOW + 10, for_s=100)
    assert [one.replicas for one in scene.state.scheduled] == [5, 8]
    scene.run(15)
    assert scene.state.demand == 5
    scene.run(10)
    assert scene.state.demand == 8


def test_moment_that_has_passed_is_now_as_long_as_its_end_has_not() -> None:
    scene = a_scene(3)
    assert command(scene, 6, begins_at=NOW - 60, for_s=HOUR_S).reason.code == "override"
    assert scene.state.override is not None
    assert scene.state.override.until == NOW - 60 + HOUR_S
    refused = command(scene, 7, "c-2", begins_at=NOW - 60, for_s=30)
    assert (refused.verdict, refused.reason.code) == ("expired", "expired")


def test_bounds_hold_when_it_is_asked_for_and_when_it_begins() -> None:
    scene = a_scene(3)
    assert command(scene, 99, begins_at=NOW + 60).verdict == "refused"
    command(scene, 10, "c-2", begins_at=NOW + 60)
    scene.settings = replace(scene.settings, bounds=Bounds(0, 6, 1))
    scene.run(61)
    assert scene.state.demand == 6


def test_those_that_wait_can_be_taken_back_and_are_bounded() -> None:
    scene = a_scene(3)
    for number in range(16):
        assert command(scene, 10, f"c-{number}", begins_at=NOW + 60 + number).verdict == "applied"
    assert command(scene, 10, "c-16", begins_at=NOW + 60).reason.code == "too_many"
    assert command(scene, None, "c-17").verdict == "unchanged"
    assert command(scene, None, "c-18", scheduled=True).verdict == "applied"
    assert command(scene, None, "c-19", scheduled=True).verdict == "unchanged"
    assert command(scene, None, "c-20", begins_at=NOW + 60).verdict == "refused"
    scene.run(100)
    assert scene.state.demand == 3


def test_freeze_of_all_holds_it_back_until_it_ends() -> None:
    scene = a_scene(3)
    command(scene, 10, begins_at=NOW + 60, for_s=HOUR_S)
    scene.tell(a_command(scene.now, "freeze", "c-2", scope="all", for_s=100))
    scene.run(90)
    assert scene.state.demand == 3
    scene.run(20)
    assert scene.state.demand == 10


def test_retired_service_forgets_what_waits() -> None:
    scene = a_scene(3)
    command(scene, 10, begins_at=NOW + 60)
    scene.tell(a_command(scene.now, "retire", "c-2"))
    scene.run(100)
    assert (scene.state.demand, scene.state.scheduled) == (0, ())


# Windows of the configuration.


@pytest.mark.parametrize(
    ("numbers", "demand", "within"),
    [
        pytest.param({"exact": 8}, 3, 8, id="exactly, upwards"),
        pytest.param({"exact": 2}, 5, 2, id="exactly, downwards"),
        pytest.param({"least": 8}, 3, 8, id="at least"),
        pytest.param({"least": 2}, 3, 3, id="at least, met"),
        pytest.param({"most": 2}, 5, 2, id="at most"),
        pytest.param({"least": 4, "most": 6}, 9, 6, id="both"),
    ],
)
def test_window_begins_without_a_sample(numbers: dict[str, int], demand: int, within: int) -> None:
    scene = planned(a_scene(demand), once(**numbers))
    scene.run(59)
    assert scene.state.demand == demand
    scene.run(2)
    assert scene.state.demand == within
    if within != demand:
        record = next(r for r in scene.records if r.reason.code == "schedule")
        assert [(c.guard, c.before, c.after, c.text) for c in record.clamps] == [
            ("schedule", demand, within, "overrides[0]: sale")
        ]


def test_policies_decide_within_the_window_and_alone_after_it() -> None:
    scene = planned(a_scene(3), once(least=4, most=6))
    scene.run(61)
    (record, *_) = scene.evaluate(wishes(9))
    assert scene.state.demand == 6
    assert [c.guard for c in record.clamps] == ["schedule"]
    scene.evaluate(wishes(1))
    assert scene.state.demand == 4
    scene.run(60)
    assert scene.state.demand == 4, "the end of a window is no decision about the demand"
    scene.evaluate(wishes(1))
    assert scene.state.demand == 1


def test_operator_comes_before_the_window() -> None:
    scene = planned(a_scene(3), once(exact=8))
    command(scene, 5, for_s=80)
    scene.run(61)
    assert scene.state.demand == 5
    scene.run(20)
    assert scene.state.demand == 8


def test_window_stands_still_in_a_freeze_of_all() -> None:
    scene = planned(a_scene(3), once(exact=8))
    scene.tell(a_command(scene.now, "freeze", "c-2", scope="all"))
    scene.run(70)
    assert scene.state.demand == 3
    scene.tell(a_command(scene.now, "unfreeze", "c-3"))
    assert scene.state.demand == 8


def test_several_windows_the_first_exact_one_else_the_highest_least() -> None:
    scene = planned(a_scene(3), once(least=5), once(least=7), once(most=6))
    scene.run(61)
    assert scene.state.demand == 7
    scene = planned(a_scene(3), once(least=5), once(exact=4), once(exact=9))
    scene.run(61)
    assert scene.state.demand == 4


def test_weekly_window_begins_and_ends_by_the_clock_of_its_zone() -> None:
    """Virtual time begins on a Friday at 08:00 UTC."""
    window = FreezeWindow(4 * 1440 + 10 * 60, 4 * 1440 + 11 * 60, "Europe/Berlin", "Fri 10:00-Fri 11:00 Europe/Berlin")
    scene = planned(a_scene(3), Planned("overrides[0]: at least 8", window, least=8))
    assert next_deadline(scene.state, scene.settings, scene.world()) == NOW + HOUR_S
    scene.run(HOUR_S + 1)
    assert scene.state.demand == 8
    assert list(plan_deadlines(scene.state, scene.settings, scene.now)) == [NOW + 2 * HOUR_S]
    scene.run(HOUR_S)
    scene.evaluate(wishes(2))
    assert scene.state.demand == 2


def test_bounds_of_the_service_come_before_the_window() -> None:
    scene = a_scene(3, settings=some_settings(bounds=Bounds(2, 5, 2), overrides=(once(exact=9),)))
    scene.run(61)
    assert scene.state.demand == 5
