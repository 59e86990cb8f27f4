"""What `status` and `explain` say of shadow policies, from the checkpoint beside a service's state."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.cli.shadows_shown import shadow_documents, shadow_notes, shadow_rows
from tests.core.builders import NOW


def saved(outcome: str = "more", **changes: Any) -> dict[str, Any]:
    """What a checkpoint keeps of one shadow."""
    given = {
        "demand": 8, "live": 4, "outcome": outcome, "text": "40 over 5", "at": NOW - 30, "since": NOW - 90,
        "more_s": 7200.0, "fewer_s": 0.0,
    }  # fmt: skip
    return {"shadows": {"kpa": {**given, **changes}}}


@pytest.mark.parametrize(("outcome", "wants"), [("more", "8 for 4"), ("unknown", "unknown"), ("rollback", "rollback")])
def test_a_shadow_that_disagrees_is_a_note(outcome: str, wants: str) -> None:
    (note,) = shadow_notes(saved(outcome), ["kpa"], NOW)
    assert note.startswith(f"shadow: kpa: {wants} for 60s")
    assert "as of 30s ago: 40 over 5; so far 2 replica hours more, 0 fewer" in note


def test_a_shadow_that_agrees_is_no_note_and_still_a_row() -> None:
    assert shadow_notes(saved("agrees", demand=4), ["kpa"], NOW) == []
    ((label, wants, text),) = shadow_rows(saved("agrees", demand=4), ["kpa"], NOW)
    assert (label, wants) == ("kpa", "4 for 4")
    assert "40 over 5" in text


def test_a_shadow_that_nobody_asked_yet_is_listed_and_one_that_is_not_configured_any_more_is_not() -> None:
    assert shadow_rows(saved(), ["new"], NOW) == [("new", "not asked", "no instance has said anything of it yet")]
    assert shadow_documents(saved(), ["new"]) == [{"policy": "new", "outcome": None}]
    assert shadow_notes(saved(), ["new"], NOW) == []


def test_documents_are_in_hours_and_moments() -> None:
    (document,) = shadow_documents(saved(), ["kpa"])
    assert (document["wants"], document["live"], document["more_replica_hours"]) == (8, 4, 2.0)
    assert document["at"].endswith("Z")
