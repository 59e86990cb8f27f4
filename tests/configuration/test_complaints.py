"""A problem that is told in one text has its two parts: what is wrong, and what to do."""

from __future__ import annotations

import pytest

from autoscaler.configuration.complaints import what_and_remedy


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        pytest.param("not a size; write it as 256Mi", "not a size", "Write it as 256Mi.", id="a_validators"),
        pytest.param("no such file: a.py. Write its path", "no such file: a.py", "Write its path.", id="sentences"),
        pytest.param(
            "it is async; hooks are plain functions. Drop async",
            "it is async",
            "Hooks are plain functions. Drop async.",
            id="both",
        ),
        pytest.param(
            "2.5 is above 1. Lower it; 1 will do", "2.5 is above 1", "Lower it; 1 will do.", id="points_inside"
        ),
        pytest.param("no plugin caron. Did you mean canary?", "no plugin caron", "Did you mean canary?", id="question"),
        pytest.param("has a key twice", "has a key twice", "", id="no_remedy"),
        pytest.param("steps must meet.", "steps must meet.", "", id="one_whole_sentence"),
    ],
)
def test_what_is_wrong_and_what_to_do_are_told_apart(text: str, what: str, remedy: str) -> None:
    assert what_and_remedy(text) == (what, remedy)
