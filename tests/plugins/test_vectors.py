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


def test_a_line_that_is_no_vector_has_failed_and_the_others_are_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = json.dumps(["A", "hpa.avg", {"existing": 3, "average": 2900, "total": 8600}, 3])
    file = tmp_path / "some.jsonl"
    file.write_text(f'{good}\nnot json\n\n["B","hpa.avg"]\n{{"a":1}}\n["C","hpa.avg",5,3]\n', encoding="utf-8-sig")
    assert main([str(file)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "line 2: no JSON: Expecting value at column 1",
        "line 4: no [id, function, input, want]",
        "line 5: no [id, function, input, want]",
        "line 6: id and function are texts, and input is an object",
        "1 passed, 4 failed",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file or directory"), (b"[\xff]", "byte 1 is no UTF-8")],
    ids=["no file", "no text"],
)
def test_a_file_that_cannot_be_read_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, words: str
) -> None:
    file = tmp_path / "some.jsonl"
    if content is not None:
        file.write_bytes(content)
    assert main([str(file)]) == 2
    assert capsys.readouterr().err == f"{file}: {words}\n"


def test_a_zone_that_is_none_is_an_error_like_any_other_of_a_window() -> None:
    given = {"start": "1 8 * * *", "end": "0 9 * * *", "zone": "Mars/Olympus", "now": "2026-11-27T08:30Z"}
    assert problem_of(Vector("X", "cron.next", given, "error")) == ""
