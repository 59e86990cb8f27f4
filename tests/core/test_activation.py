"""A service at zero whose requests are held: a floor of one, whatever the policies say, and no longer than needed."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.core.activation import LABEL, METRIC, activation, idle_since
from autoscaler.core.proposals import Scale
from autoscaler.core.settings import Bounds, Route, Scaling
from autoscaler.core.signals import ServiceSignals
from autoscaler.core.stimuli import PolicyVote
from tests.core.builders import some_settings, wishes
from tests.core.scene import Scene, a_scene

ROUTE = Route("127.0.0.1:0")
HELD = PolicyVote(LABEL, Scale(1, "2 requests are held for a first replica"), "", (METRIC,), floor=True)


def signals(*samples: tuple[float, float]) -> ServiceSignals:
    made = ServiceSignals()
    for at, value in samples:
        made.fold(METRIC, at, value, "/router")
    return made


def at_zero(**changes: Any) -> Scene:
    return a_scene(0, settings=some_settings(bounds=Bounds(0, 5, 0), route=ROUTE, **changes))


def test_held_requests_vote_for_a_first_replica_with_their_number() -> None:
    (vote,) = activation(ROUTE, signals((100.0, 3.0)), 101.0, 60.0)
    assert vote.proposal == Scale(1, "3 requests are held for a first replica")
    assert (vote.policy, vote.floor, vote.metrics) == ("activation", True, ("requests_held",))


@pytest.mark.parametrize(
    ("route", "samples", "at"),
    [
        pytest.param(None, [(100.0, 3.0)], 101.0, id="no route"),
        pytest.param(Route("127.0.0.1:0", hold=0), [(100.0, 3.0)], 101.0, id="a route that holds nothing"),
        pytest.param(ROUTE, [], 101.0, id="never any"),
        pytest.param(ROUTE, [(100.0, 3.0), (101.0, 0.0)], 101.5, id="no longer"),
        pytest.param(ROUTE, [(100.0, 3.0)], 161.0, id="too long ago to know"),
    ],
)
def test_nothing_held_is_no_vote(route: Route | None, samples: list[tuple[float, float]], at: float) -> None:
    assert activation(route, signals(*samples), at, 60.0) == ()


@pytest.mark.parametrize("combine", ["max", "min"])
def test_a_service_at_zero_comes_up_whatever_its_policies_say(combine: Any) -> None:
    scene = at_zero(scaling=Scaling(combine=combine))
    (record, *_) = scene.evaluate(wishes(0, policy="load"), HELD)
    assert (scene.state.demand, record.kind, record.reason.text) == (1, "scale", HELD.proposal.reason)  # type: ignore[union-attr]


def test_a_service_without_a_policy_or_with_an_unknown_one_comes_up_too() -> None:
    for votes in ((HELD,), (wishes(None, unknown="never seen"), HELD)):
        scene = at_zero()
        scene.evaluate(*votes)
        assert scene.state.demand == 1


def test_it_is_a_floor_and_never_takes_a_replica_away() -> None:
    scene = a_scene(4, settings=some_settings(bounds=Bounds(0, 5, 0), route=ROUTE))
    assert scene.evaluate(HELD) == []
    scene.evaluate(wishes(5, policy="load"), HELD)
    assert scene.state.demand == 5


def test_bounds_and_an_operators_demand_are_above_it() -> None:
    scene = a_scene(0, settings=some_settings(bounds=Bounds(0, 0, 0), route=ROUTE))
    scene.evaluate(HELD)
    assert scene.state.demand == 0
    scene = at_zero()
    scene.order("scale", replicas=0)
    scene.evaluate(HELD)
    assert scene.state.demand == 0


def test_the_idle_time_begins_with_the_last_held_request() -> None:
    held = signals((100.0, 2.0), (103.0, 0.0))
    assert idle_since(ROUTE, held, 40.0) == 103.0
    assert idle_since(ROUTE, held, 110.0) == 110.0
    assert idle_since(ROUTE, signals((100.0, 2.0)), 40.0) is None
    assert idle_since(ROUTE, signals(), 40.0) == 40.0
    assert idle_since(None, held, 40.0) == 40.0
