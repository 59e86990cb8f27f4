"""Every vector is a test under its id; the command that runs any file of them says which failed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.vectors.__main__ import main
from tests.vectors.runner import BUILT_IN, FUNCTIONS, Vector, load, problem_of

VECTORS = load(BUILT_IN)


@pytest.mark.parametrize("vector", VECTORS, ids=[vector.id for vector in VECTORS])
def test_vector(vector: Vector) -> None:
    assert problem_of(vector) == ""


def test_ids_are_unique() -> None:
    assert len({vector.id for vector in VECTORS}) == len(VECTORS)


def test_every_function_has_a_vector() -> None:
    assert set(FUNCTIONS) == {vector.function for vector in VECTORS}


def test_the_command_names_what_fails_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        ["A", "hpa.avg", {"existing": 3, "average": 2900, "total": 8600}, 3],
        ["B", "hpa.avg", {"existing": 3, "average": 2150, "total": 8600}, 5],
        ["C", "kpa", {}, []],
        ["D", "other", {}, 1],
    ]
    file = tmp_path / "some.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    assert main([str(file)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "B: want 5, got 4",
        "C: KeyError: 'target'",
        "D: no function other",
        "1 passed, 3 failed",
    ]


def test_the_command_runs_what_lies_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out == f"{len(VECTORS)} passed, 0 failed\n"
