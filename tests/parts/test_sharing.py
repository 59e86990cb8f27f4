"""The machinery of the parts: skips that say why, one start for all, failures with the log's end, no leftovers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conftest import lacking, required_parts
from tests.parts import PartFailed, PartMissing, processes, shared


def test_unknown_name_of_a_required_part_is_an_error_of_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSCALER_REQUIRE", "kafka, dokcer")
    with pytest.raises(pytest.UsageError, match="dokcer; known are chromium, docker"):
        required_parts()


@pytest.mark.parametrize(
    ("required", "outcome"), [("", pytest.skip.Exception), ("kafka", pytest.fail.Exception)], ids=["skip", "fail"]
)
def test_missing_part_skips_unless_it_is_required(
    monkeypatch: pytest.MonkeyPatch, required: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("AUTOSCALER_REQUIRE", required)
    error = lacking("kafka", "no java on this machine: install it")
    assert isinstance(error, outcome)
    assert "install it" in str(error)


def test_missing_program_is_named_with_its_remedy() -> None:
    with pytest.raises(PartMissing, match="no no-such-program on this machine: install it"):
        processes.find_program("no-such-program", "install it")


def test_process_that_ends_early_fails_the_start_with_its_log(tmp_path: Path) -> None:
    process = processes.spawn([sys.executable, "-c", "raise SystemExit('no such luck')"], tmp_path / "part.log")
    with pytest.raises(PartFailed, match="no such luck"):
        processes.await_probe("the part", lambda: False, [process], seconds=20.0)


def test_part_is_started_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(shared.VARIABLE, str(tmp_path))
    starts: list[Path] = []

    def start(directory: Path) -> dict[str, str]:
        starts.append(directory)
        return {"url": "somewhere"}

    assert [shared.obtain("thing", start) for _ in range(3)] == [{"url": "somewhere"}] * 3
    assert starts == [tmp_path / "thing"]


def test_failed_start_is_not_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(shared.VARIABLE, str(tmp_path))
    starts: list[Path] = []

    def start(directory: Path) -> dict[str, str]:
        starts.append(directory)
        raise PartFailed("it broke")

    for _ in range(2):
        with pytest.raises(PartFailed, match="it broke"):
            shared.obtain("thing", start)
    assert len(starts) == 1


def test_closing_a_run_ends_every_process_below_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    process = processes.spawn([sys.executable, "-c", "import time; time.sleep(600)"], run / "part.log")
    alive = [process.alive]
    shared.close_run(run)
    assert [*alive, process.alive] == [True, False]
    assert not run.exists()


def test_later_process_with_the_same_pid_is_left_alone(tmp_path: Path) -> None:
    process = processes.spawn([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "part.log")
    earlier = processes.Process(process.pid, process.started - 60.0, tmp_path / "earlier.log")
    earlier.end()
    alive = [process.alive]
    process.end()
    assert [*alive, process.alive] == [True, False]
