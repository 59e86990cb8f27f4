"""`kafka_lag` as a policy: consumers by lag, no more than partitions."""

from __future__ import annotations

from typing import Any

import pytest

import autoscaler
from autoscaler.testing import NOW, a_service, propose, signal, unknown
from autoscaler_plugins import kafka_lag

OPTIONS = {"metric": "lag", "partitions": 12, "per_replica": 10}


def ask(lag: float, demand: int, memory: dict[str, Any] | None = None, at: float = 0.0, **more: Any) -> Any:
    kept = {} if memory is None else memory
    given = [signal("lag", lag), signal("lagging", 3.0)]
    return propose(kafka_lag, a_service(demand=demand), given, {**OPTIONS, **more}, now=NOW + at, memory=kept)


@pytest.mark.parametrize(
    ("lag", "demand", "more", "to"),
    [
        pytest.param(45.0, 1, {}, 5, id="shared_out"),
        pytest.param(125.0, 1, {}, 12, id="no_more_than_partitions"),
        pytest.param(500.0, 1, {"allow_idle": True}, 50, id="unless_idle_ones_are_allowed"),
        pytest.param(45.0, 1, {"even": True}, 6, id="a_divisor_of_the_partitions"),
        pytest.param(51.0, 5, {"even": True}, 6, id="also_within_the_tolerance"),
        pytest.param(100.0, 1, {"with_lag": "lagging"}, 3, id="partitions_with_lag"),
        pytest.param(52.0, 5, {}, 5, id="tolerance"),
        pytest.param(1.0, 0, {}, 1, id="one_message_starts_one"),
    ],
)
def test_consumers_share_the_lag(lag: float, demand: int, more: dict[str, Any], to: int) -> None:
    assert ask(lag, demand, **more).to == to


def test_the_last_consumer_stays_for_the_cooldown() -> None:
    memory: dict[str, Any] = {}
    ask(30.0, 3, memory)
    assert ask(0.0, 3, memory, 300).to == 1
    assert ask(0.0, 1, memory, 301).to == 0
    assert ask(0.0, 0, memory, 302).to == 0


@pytest.mark.parametrize("options", [OPTIONS, {**OPTIONS, "metric": "lagging", "with_lag": "lag"}])
def test_an_unknown_lag_is_no_opinion(options: dict[str, Any]) -> None:
    given = [unknown("lag"), signal("lagging", 3.0)]
    assert propose(kafka_lag, a_service(), given, options, memory={}) is None


@pytest.mark.parametrize(("partitions", "to"), [(3.0, 3), (40.0, 10), (0.0, 1)])
def test_partitions_that_are_not_configured_are_those_that_the_source_tells_of(partitions: float, to: int) -> None:
    given = [signal("lag", 100.0), signal("lag_partitions", partitions)]
    assert propose(kafka_lag, a_service(), given, {"metric": "lag"}, memory={}).to == to
    assert propose(kafka_lag, a_service(), given[:1], {"metric": "lag"}, memory={}) is None


def test_an_idle_group_needs_no_partitions() -> None:
    given = [signal("lag", 0.0), unknown("lag_partitions")]
    assert propose(kafka_lag, a_service(demand=0), given, {"metric": "lag"}, memory={}).to == 0


def test_a_negative_lag_is_none() -> None:
    assert isinstance(ask(-1.0, 2), autoscaler.Hold)
