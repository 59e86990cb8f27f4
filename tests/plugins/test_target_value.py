"""`target_value`: the total over what one replica carries."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

import autoscaler
from autoscaler.testing import GivenSignal, a_service, propose, signal, unknown
from autoscaler_plugins import target_value

OPTIONS = {"metric": "requests_per_second", "per_replica": 50}


@pytest.mark.parametrize(
    ("total", "demand", "to"),
    [
        pytest.param(412.5, 5, 9, id="rounds_up"),
        pytest.param(0.0, 5, 0, id="nothing_needs_nothing"),
        pytest.param(0.5, 0, 1, id="a_little_needs_one"),
        pytest.param(150.0 + 1e-8, 9, 3, id="dust_is_no_replica"),
        pytest.param(1e15, 9, 10**6, id="beyond_all_bounds"),
    ],
)
def test_the_wish_is_the_total_shared_out(total: float, demand: int, to: int) -> None:
    proposal = propose(target_value, a_service(demand=demand), [signal("requests_per_second", total)], OPTIONS)
    assert isinstance(proposal, autoscaler.Scale)
    assert proposal.to == to


def test_the_reason_carries_the_numbers() -> None:
    proposal = propose(target_value, a_service(demand=5), [signal("requests_per_second", 412.5)], OPTIONS)
    assert proposal is not None
    assert proposal.reason == "412.5 requests_per_second over 50 a replica = 9"


@pytest.mark.parametrize("total", [450.0, 500.0, 550.0])
def test_within_tolerance_the_wish_is_todays_demand(total: float) -> None:
    proposal = propose(target_value, a_service(demand=10), [signal("requests_per_second", total)], OPTIONS)
    assert proposal == autoscaler.Scale(10, f"{total:g} requests_per_second over 50 a replica is within 10% of 10")


@pytest.mark.parametrize(("total", "to"), [(444.0, 9), (551.0, 12)])
def test_outside_the_tolerance_it_moves(total: float, to: int) -> None:
    proposal = propose(target_value, a_service(demand=10), [signal("requests_per_second", total)], OPTIONS)
    assert isinstance(proposal, autoscaler.Scale)
    assert proposal.to == to


@pytest.mark.parametrize("given", [unknown("requests_per_second"), signal("requests_per_second", 9.0, age=61)])
def test_an_unknown_total_is_no_opinion(given: GivenSignal) -> None:
    assert propose(target_value, a_service(demand=10), [given], OPTIONS) is None


def test_a_negative_total_keeps_todays_demand() -> None:
    proposal = propose(target_value, a_service(demand=10), [signal("requests_per_second", -1.0)], OPTIONS)
    assert proposal == autoscaler.Hold("-1 requests_per_second is no load")


@pytest.mark.parametrize(("written", "ratio"), [("10%", 0.1), (0.1, 0.1), ("0.25", 0.25), (0, 0.0)])
def test_tolerance_is_a_percentage_or_a_ratio(written: object, ratio: float) -> None:
    options = target_value.Options.model_validate({**OPTIONS, "tolerance": written})
    assert options.tolerance == pytest.approx(ratio)
    assert target_value.Options.model_validate(options.model_dump(mode="json", by_alias=True)) == options


@pytest.mark.parametrize(
    "wrong", [{"per_replica": 0}, {"per_replica": "50"}, {"tolerance": "100%"}, {"metric": ""}, {"x": 1}]
)
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        target_value.Options.model_validate({**OPTIONS, **wrong})
