"""`cron` as a policy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

import autoscaler
from autoscaler.testing import a_service, propose
from autoscaler_plugins import cron

DAY = {"start": "0 8 * * *", "end": "0 18 * * *", "timezone": "Europe/Berlin", "replicas": 5}
NOON = {"start": "0 12 * * *", "duration": "90m", "timezone": "Europe/Berlin", "replicas": 9}


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def ask(now: str) -> autoscaler.Scale:
    proposal = propose(cron, a_service(demand=3, minimum=1), options={"windows": [DAY, NOON]}, now=at(now))
    assert isinstance(proposal, autoscaler.Scale)
    return proposal


@pytest.mark.parametrize(
    ("now", "to", "wake"),
    [
        ("2026-01-15T06:59", 1, "2026-01-15T07:00"),
        ("2026-01-15T07:00", 5, "2026-01-15T11:00"),
        ("2026-01-15T11:00", 9, "2026-01-15T12:30"),
        ("2026-01-15T12:30", 5, "2026-01-15T17:00"),
        ("2026-03-28T18:00", 1, "2026-03-29T06:00"),
    ],
)
def test_the_highest_window_wins_until_its_edge(now: str, to: int, wake: str) -> None:
    proposal = ask(now)
    assert (proposal.to, proposal.wake_at) == (to, at(wake))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"end": "0 8 * * *"}, "the same"),
        ({"timezone": "Mars/Olympus"}, "no time zone"),
        ({"start": "x"}, "five fields"),
        ({"duration": "1h"}, "not both"),
    ],
)
def test_windows_that_are_none_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cron.Options.model_validate({"windows": [{**DAY, **wrong}]})


def test_options_survive_their_own_json() -> None:
    options = cron.Options.model_validate({"windows": [DAY, NOON]})
    assert cron.Options.model_validate(options.model_dump(mode="json", by_alias=True, exclude_none=True)) == options
