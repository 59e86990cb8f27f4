"""What `status` says of a rollout by steps: which step, how large, and what it waits for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.cli.service_view import operation_text, step_document
from autoscaler.core.rollout import Advancing, Held, Idle, Judging, Soaking
from autoscaler.core.state import ServiceState
from autoscaler.core.steps import Step

NOW = 10_000.0
STEPS = (Step(weight=25, pause_s=60.0), Step(count=2, pause_s=None))
ADVANCING = Advancing(4, 3, None, NOW, NOW + 60, 4, 4, steps=STEPS)
JUDGING = Judging(4, 3, None, NOW, 4, 4, NOW, NOW + 60, steps=STEPS)
GREEN = Advancing(4, 3, None, NOW, NOW + 60, 4, 4, steps=STEPS[:1], step=1, blue_green=True)


@pytest.mark.parametrize(
    ("rollout", "text"),
    [
        (ADVANCING, "update to 4, on the way to step 1 of 2 (25 %): 0 available"),
        (JUDGING, "update to 4, step 1 of 2 (25 %): pauses for another 60s"),
        (replace(JUDGING, until=NOW), "update to 4, step 1 of 2 (25 %): waits for its checks"),
        (
            replace(JUDGING, step=1, until=None),
            "update to 4, step 2 of 2 (2 replicas): waits for promote (all the way), resume (the next step) or abort",
        ),
        (
            replace(JUDGING, unknown_since=NOW),
            "update to 4, step 1 of 2 (25 %): pauses for another 60s, its checks have no data",
        ),
        (
            Held("inconclusive", JUDGING, NOW, None),
            "update to 4 held at step 1 of 2 (25 %) (inconclusive); approve, resume, promote or abort",
        ),
        (GREEN, "update to 4: 0 of 4 available, not switched yet"),
        (
            Soaking(4, 3, None, NOW, NOW + 60, NOW + 90, standby=True),
            "revision 4 soaks for another 60s; what it replaced stands by",
        ),
    ],
)  # fmt: skip
def test_operation_says_which_step_and_what_it_waits_for(rollout: Any, text: str) -> None:
    assert operation_text(ServiceState("shop", rollout=rollout), NOW) == text


def test_step_as_a_document() -> None:
    shown = step_document(ServiceState("shop", rollout=Held("operator", JUDGING, NOW, None)))
    assert shown == {
        "number": 1, "of": 2, "weight": 25, "count": None, "reached": True, "until": "1970-01-01T02:47:40.000Z",
    }  # fmt: skip
    assert step_document(ServiceState("shop", rollout=Idle())) is None
    assert step_document(ServiceState("shop", rollout=GREEN)) is None
