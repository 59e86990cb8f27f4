"""The past once more: a recorded run of an instance, through its own configuration and through another."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from pathlib import Path

import pytest

from autoscaler.lab.recording import read_recording
from autoscaler.lab.replaying import Decided, differences
from tests.cli.instance import Project, document, eventually, new_project

BUDGET = 10
LOADS = (30, 120, 190, 190, 60, 200, 90, 90, 140, 40)


def folded(project: Project) -> int:
    """Samples that the instance has taken in."""
    (listen,) = re.findall(r'listen: "([^"]+)"', Path(project.file).read_text())
    with urllib.request.urlopen(f"http://{listen}/metrics", timeout=5) as answer:
        (count,) = re.findall(r'autoscaler_samples_total\{fate="folded"\} (\S+)', answer.read().decode())
    return int(float(count))


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose instance has lived through some load and has ended."""
    project = new_project(tmp_path_factory.mktemp("lived"))
    file = Path(project.file)
    text = file.read_text().replace("down_window: 1m", "down_window: 2s")
    file.write_text(f"{text}\nbudgets: {{both: {{replicas: {BUDGET}}}}}\n")
    project.start()
    try:
        eventually((project.directory / "stream.db").exists)
        for service in ("shop", "search"):
            eventually(lambda service=service: project.settled(service))
        for number, load in enumerate(LOADS):
            for place, (service, share) in enumerate((("shop", 1.0), ("search", 0.7)), start=1):
                project.call("emit", "metric", service, f"requests_per_second={share * load}", "--id", f"m{number}")
                # Two samples in one batch would be one decision, and no later reader could tell.
                eventually(lambda seen=2 * number + place: folded(project) >= seen)
            time.sleep(0.7)
        project.call("scale", "search", "3", "--for", "2s")
        time.sleep(2.5)
    finally:
        project.stop()
    return project


def test_the_same_configuration_decides_the_same_event_for_event(lived: Project) -> None:
    found = lived.json("replay", "--from", "1h")
    assert found["differences"] == []
    assert found["same"] is True
    assert found["decisions"]["then"] == found["decisions"]["now"] >= 8
    assert found["replica_hours"]["now"] == pytest.approx(found["replica_hours"]["then"], rel=0.02)
    trail = [json.loads(line) for line in lived.call("audit", "--json").stdout.splitlines()]
    clamps = [clamp["guard"] for event in trail for clamp in event["data"]["clamps"]]
    assert clamps.count("budget") >= 2, "both are short at the top"


def test_another_configuration_differs_where_it_says_at_what_cost_and_lack(lived: Project) -> None:
    other = lived.directory / "other.yaml"
    other.write_text(Path(lived.file).read_text().replace("per_replica: 50", "per_replica: 100"))
    found = lived.json("replay", "--from", "1h", "--policy", str(other))
    assert found["same"] is False
    assert found["replica_hours"]["now"] < found["replica_hours"]["then"]
    assert found["lack_hours"]["now"] > found["lack_hours"]["then"]
    first = found["differences"][0]
    assert first["then"]["event"] == first["now"]["event"]
    shown = lived.call("replay", "--from", "1h", "--policy", str(other))
    assert "differ" in shown.stdout


def test_a_recording_is_the_topics_in_a_file(lived: Project, tmp_path: Path) -> None:
    file = tmp_path / "past.jsonl"
    direct = document(lived.call("replay", "--from", "1h", "--record", str(file), "--json"))
    assert document(lived.call("replay", str(file), "--json")) == direct
    assert len(read_recording(file).arrivals) == direct["events"]


def test_a_recording_that_cannot_be_written_is_said_before_anything_is_read(lived: Project, tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "recording.jsonl"
    result = lived.call("replay", "--from", "1h", "--record", str(file))
    assert result.exit_code == 2
    assert result.stderr == (f"autoscaler: {file}: cannot be written (No such file or directory). Name another file.\n")


def test_events_as_the_audit_prints_them_are_a_recording(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    event = {
        "specversion": "1.0", "id": "m-1", "source": "/mon", "type": "io.eventscaler.metric.v1", "subject": "shop",
        "time": "2026-11-23T10:00:00Z", "datacontenttype": "application/json", "data": {"requests_per_second": 12},
    }  # fmt: skip
    file.write_text(json.dumps(event) + "\n\n")
    (arrival,) = read_recording(file).arrivals
    assert arrival.message.key == b"shop"
    assert arrival.at == 1_795_428_000.0


def test_a_line_that_is_none_says_which(lived: Project, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text('{"type": "io.eventscaler.metric.v1", "subject": "shop"}\n')
    result = lived.call("replay", str(file))
    assert result.exit_code == 2
    assert "events.jsonl:1 recording: neither a message nor an event of ours" in result.stderr
    assert lived.call("replay").exit_code == 2
    missing = lived.call("replay", str(tmp_path / "none"))
    assert missing.exit_code == 2
    assert "No such file or directory. Name what `replay --record` or `audit --json` wrote." in missing.stderr


def test_a_recording_of_nothing_is_nothing_found(lived: Project, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("\n")
    result = lived.call("replay", str(file))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "nothing is recorded. Begin earlier, or name another file." in result.stderr


def test_a_recording_that_cannot_be_written_is_said(lived: Project, tmp_path: Path) -> None:
    result = lived.call("replay", "--from", "1h", "--record", str(tmp_path / "none" / "events.jsonl"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cannot be written (No such file or directory). Name another file." in result.stderr


def test_differences_are_told_by_event() -> None:
    def decided(after: int, event: str) -> Decided:
        return Decided(1.0, "web", "scale", 1, after, "wish", "", ("/m", event))

    one, other = decided(3, "a"), decided(4, "b")
    assert differences([one], [one]) == ()
    (changed,) = differences([one], [decided(5, "a")])
    assert (changed.then, changed.now) == (one, decided(5, "a"))
    assert [(d.then, d.now) for d in differences([one], [other])] == [(one, None), (None, other)]
