"""While it is unknown whether what will run carries the load, nothing is scaled down; up goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.cli.why_not import obstacles
from autoscaler.core.facts import EventRef, Reason
from autoscaler.core.revision import Deployment
from autoscaler.core.rollout import (
    Advancing,
    Halted,
    Held,
    Idle,
    Judging,
    Preflight,
    RollingBack,
    Rollout,
    Soaking,
    is_unproven,
)
from autoscaler.core.settings import Bounds, Scaling
from tests.core.builders import NOW, a_spec, some_settings, wishes
from tests.core.scene import Scene, a_scene

EVENT = EventRef("/ci", "d-9")
LATE = NOW + 10_000
SOAKING = Soaking(1, None, EVENT, NOW - 10, LATE, LATE)
ADVANCING = Advancing(1, None, EVENT, NOW - 10, LATE, 4, 4)
UNPROVEN: dict[str, Rollout] = {
    "preflight": Preflight(Deployment(EVENT, a_spec("9"), NOW), NOW, LATE, None),
    "advancing": ADVANCING,
    "judging": Judging(1, None, EVENT, NOW - 20, 4, 4, NOW - 10, None),
    "soaking": SOAKING,
    "held": Held("operator", SOAKING, NOW, None),
    "rolling back": RollingBack(1, 2, EVENT, None, Reason("unhealthy", "sick"), NOW - 10, LATE),
}
PROVEN: dict[str, Rollout] = {"idle": Idle(), "halted": Halted(Reason("unhealthy", "sick"), NOW)}


def within(rollout: Rollout, **scaling: bool) -> Scene:
    """Four replicas, and the service in that phase; nothing obeys, so that it stays there."""
    scene = a_scene(4, settings=some_settings(scaling=Scaling(**scaling), bounds=Bounds(0, 6, 4)))
    scene.obedient = False
    scene.state = replace(scene.state, rollout=rollout)
    return scene


@pytest.mark.parametrize("name", UNPROVEN)
def test_nothing_is_scaled_down_before_the_rollout_is_proven(name: str) -> None:
    scene = within(UNPROVEN[name])
    assert is_unproven(scene.state.rollout)
    (record,) = (r for r in scene.evaluate(wishes(2)) if r.proposals)
    assert (scene.state.demand, record.kind, record.reason.code) == (4, "hold", "unproven")
    (clamp,) = record.clamps
    assert (clamp.guard, clamp.before, clamp.after) == ("unproven", 2, 4)
    assert clamp.text.startswith("not scaled down before the rollout (")
    state = replace(scene.state, rollout=UNPROVEN[name])
    assert next(o.code for o in obstacles("scale-down", state, scene.settings, None, NOW)) == "unproven"
    assert "unproven" not in [o.code for o in obstacles("scale-up", scene.state, scene.settings, None, NOW)]


@pytest.mark.parametrize("name", UNPROVEN)
def test_up_goes_on_meanwhile(name: str) -> None:
    scene = within(UNPROVEN[name])
    scene.evaluate(wishes(6))
    assert scene.state.demand == 6


@pytest.mark.parametrize("name", PROVEN)
def test_what_is_proven_is_scaled_down(name: str) -> None:
    scene = within(PROVEN[name])
    assert not is_unproven(scene.state.rollout)
    scene.evaluate(wishes(2))
    assert scene.state.demand == 2


@pytest.mark.parametrize("name", UNPROVEN)
def test_a_service_may_say_otherwise(name: str) -> None:
    scene = within(UNPROVEN[name], down_while_unproven=True)
    scene.evaluate(wishes(2))
    assert scene.state.demand == 2
    assert obstacles("scale-down", scene.state, scene.settings, None, NOW)[0].code != "unproven"


def test_an_operator_and_a_lower_maximum_are_obeyed_all_the_same() -> None:
    scene = within(SOAKING)
    scene.order("scale", replicas=1)
    assert scene.state.demand == 1
    scene = within(SOAKING)
    scene.settings = replace(scene.settings, bounds=Bounds(0, 3, 3))
    scene.evaluate(wishes(2))
    assert scene.state.demand == 3


def test_the_first_sample_after_the_soak_scales_down() -> None:
    scene = a_scene(4)
    scene.deploy(a_spec("2"))
    scene.run(30)
    assert scene.phase == "soaking"
    scene.evaluate(wishes(1))
    assert scene.state.demand == 4
    scene.run(3600)
    assert scene.phase == "idle"
    scene.evaluate(wishes(1))
    assert scene.state.demand == 1
