"""Tables on a terminal: what does not fit beside stands below, and nothing is lost."""

from __future__ import annotations

import pytest

from autoscaler.cli import tables
from autoscaler.cli.tables import print_rows

COLUMNS = ["service", "desired", "operation", "why"]
WHY = "45 load over 10 a replica = 5; budget: 5 -> 2, of budget shop the replicas are spent at priority 20"
ROWS = [["job", "2 of 5", "update to 12, on the way to step 2 of 4: 3 available", WHY], ["web", "4", "idle", "-"]]


def printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, rows: list[list[str]] = ROWS
) -> list[str]:
    """The lines that a terminal of that width gets."""
    monkeypatch.setattr(tables, "at_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    print_rows(COLUMNS, rows)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_last_column_stands_beside_where_there_is_room(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(monkeypatch, capsys, 100)
    assert lines[0].split() == COLUMNS
    assert lines[2].endswith("45 load over 10 a replica =")


def test_last_column_stands_below_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(monkeypatch, capsys, 80) == [
        "service  desired  operation",
        "    why",
        "─" * 80,
        "job      2 of 5   update to 12, on the way to step 2 of 4: 3 available",
        "    45 load over 10 a replica = 5; budget: 5 -> 2, of budget shop the replicas",
        "    are spent at priority 20",
        "web      4        idle",
        "    -",
    ]


def test_widest_column_is_folded_where_even_the_others_do_not_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(monkeypatch, capsys, 60)
    assert all(len(line) <= 60 for line in lines)
    assert lines[3:5] == [
        "job      2 of 5   update to 12, on the way to step 2 of 4:",
        "                  3 available",
    ]


def test_short_last_column_needs_no_more_room_than_it_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(monkeypatch, capsys, 34, [["web", "4", "idle", "-"]])
    assert lines[0].split() == COLUMNS
    assert lines[-1].split() == ["web", "4", "idle", "-"]
