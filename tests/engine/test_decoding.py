"""What a decoder plugin makes of a foreign message: events of ours, or a dead letter, whatever it returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from autoscaler.engine.decoding import decoded
from autoscaler.engine.intake import Letter
from autoscaler.events.rejection import Rejection, rejected
from autoscaler.ports.stream import Outgoing, StoredMessage, Topic


def an_event(load: object = 1.5, **changes: object) -> dict[str, Any]:
    given: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "/t", "type": "io.eventscaler.metric.v1"}
    return given | {"subject": "web", "data": {"load": load}} | changes


async def decode_into(*events: dict[str, Any]) -> list[Outgoing] | Letter:
    async def decode(message: Mapping[str, Any]) -> list[dict[str, Any]]:
        assert (message["topic"], message["value"]) == ("autoscaler.metrics", b"load=1.5")
        return list(events)

    error = rejected(Rejection.NOT_JSON, "it is no JSON")
    return await decoded(
        Letter(Topic.METRICS, StoredMessage(0, 1000, b"web", b"load=1.5", ()), error), "autoscaler.metrics", decode
    )


async def test_decoded_events_go_to_the_metrics_topic_by_service() -> None:
    found = await decode_into(an_event(), an_event(2))
    assert isinstance(found, list)
    assert [(outgoing.topic, outgoing.key) for outgoing in found] == [(Topic.METRICS, b"web")] * 2


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("event", "code"),
    [
        pytest.param(an_event(float("nan")), "not_finite", id="nan"),
        pytest.param(an_event(float("-inf")), "not_finite", id="infinity"),
        pytest.param(an_event(b"1"), "not_json", id="bytes"),
        pytest.param(an_event(nested(100_000)), "not_json", id="deep"),
        pytest.param(an_event(data={(1, 2): 1}), "not_json", id="key"),
        pytest.param(an_event(id="\ud800"), "not_json", id="half-a-pair"),
        pytest.param(an_event(type="io.eventscaler.control.v1"), "wrong_type", id="a-command"),
    ],
)
async def test_what_is_no_metric_event_is_a_dead_letter(event: dict[str, Any], code: str) -> None:
    found = await decode_into(an_event(), event)
    assert isinstance(found, Letter)
    assert found.error.code == code
