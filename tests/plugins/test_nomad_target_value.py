"""`nomad_target_value` as a policy: its cooldown and its bounds."""

from __future__ import annotations

from typing import Any

import pytest

import autoscaler
from autoscaler.testing import NOW, a_service, propose, signal, unknown
from autoscaler_plugins import nomad_target_value

OPTIONS = {"metric": "busy", "target": 10, "cooldown": "5m", "cooldown_up": "1m"}


def ask(value: float, demand: int, memory: dict[str, Any], at: float = 0.0, **more: Any) -> Any:
    return propose(
        nomad_target_value, a_service(demand=demand), [signal("busy", value)], {**OPTIONS, **more}, now=NOW + at,
        memory=memory,
    )  # fmt: skip


def test_the_demand_is_multiplied_and_capped() -> None:
    assert ask(20.0, 3, {}) == autoscaler.Scale(6, "20 busy to 10: up from 3 to 6")
    assert ask(90.0, 3, {}).reason.endswith("up from 3 to 10, capped from 27")
    assert ask(90.0, 3, {}, max_scale_up=2).to == 5
    assert ask(10.05, 3, {}).to == 3


def test_a_change_starts_the_cooldown_of_its_direction() -> None:
    memory: dict[str, Any] = {}
    ask(20.0, 3, memory)
    held = ask(20.0, 6, memory, 10)
    assert isinstance(held, autoscaler.Hold)
    assert held.wake_at == NOW + 60
    assert ask(5.0, 6, memory, 70).to == 3
    assert ask(5.0, 3, memory, 80).wake_at == NOW + 370


def test_without_a_sample_there_is_no_opinion() -> None:
    assert propose(nomad_target_value, a_service(), [unknown("busy")], OPTIONS, memory={}) is None


@pytest.mark.parametrize(("ready", "to"), [(4, 8), (3, 6), (2, 4), (1, 4), (0, 4)])
def test_what_is_on_its_way_is_not_ordered_twice_where_that_is_asked_for(ready: int, to: int) -> None:
    service, options = a_service(demand=4, ready=ready, maximum=20), {"metric": "cpu", "target": 50.0}
    given = [signal("cpu", 100.0)]
    assert propose(nomad_target_value, service, given, options, memory={}).to == 8
    assert propose(nomad_target_value, service, given, options | {"count_starting": True}, memory={}).to == to


def test_in_a_group_no_change_is_no_opinion_but_a_cooldown_still_holds() -> None:
    assert ask(10.0, 3, {}, grouped=True) is None
    assert ask(5.0, 4, {}, grouped=True).to == 2
    memory: dict[str, Any] = {}
    ask(20.0, 3, memory, grouped=True)
    assert isinstance(ask(10.0, 6, memory, 10, grouped=True), autoscaler.Hold)


def test_a_change_that_somebody_else_made_starts_a_cooldown_when_it_is_seen() -> None:
    memory: dict[str, Any] = {}
    assert ask(10.0, 3, memory).to == 3
    assert ask(20.0, 6, memory, 10).wake_at == NOW + 70
