"""The benchmark runs, and what it writes has the form that others read. What it measured here means nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import swarm
from bench.asking import addresses, question
from bench.figure import Figure, difference, percentile
from tests.conftest import lacking
from tests.parts import PartMissing, dockerd, hosts

ROOT = Path(__file__).parents[2]
MEMBERS = ["name", "unit", "ours", "control", "ratio", "target", "met"]


def test_target_compares_what_it_names() -> None:
    assert Figure("added", "ms", 1.5, 6.0, "ours <= 2").met is True
    assert Figure("added", "ms", 2.5, 6.0, "ours <= 2").met is False
    assert Figure("idle", "%", 2.0, None, "ours < 2").met is False
    assert Figure("rate", "1/s", 50.0, 100.0, "ratio >= 0.5").met is True
    assert Figure("rate", "1/s", 49.0, 100.0, "ratio >= 0.5").met is False
    assert Figure("rate", "1/s", 49.0, None, "ratio >= 0.5").met is False
    assert Figure("time", "s", 1.0).met is None


def test_entry_has_the_members_of_the_published_form_and_no_number_that_is_none() -> None:
    entry = Figure("rate", "1/s", 123456.0, float("nan"), "ratio >= 0.5", "how").entry()
    assert list(entry) == MEMBERS
    assert (entry["ours"], entry["control"], entry["ratio"], entry["met"]) == (123500.0, None, None, False)


def test_percentile_and_difference() -> None:
    hundred = [float(number) for number in range(1, 101)]
    assert (percentile(hundred, 0.5), percentile(hundred, 0.99), percentile([7.0], 0.99)) == (50.0, 99.0, 7.0)
    assert difference([5.0, 9.0, 30.0], [4.0, 7.0, 10.0]) == 2.0


@pytest.mark.timeout(300)
def test_quick_run_measures_and_writes_the_published_form(kafka_broker: object, tmp_path: Path) -> None:
    output = tmp_path / "build" / "bench.json"
    command = [sys.executable, "-m", "bench", "--quick", "--only", "latency", "throughput", "--output", str(output)]
    environment = os.environ | {"AUTOSCALER_TEST_KAFKA": str(kafka_broker)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr[-4000:]
    entries = {entry["name"]: entry for entry in json.loads(output.read_text())}
    assert all(list(entry) == MEMBERS for entry in entries.values())
    assert {"event_to_decision_added_p50", "event_to_decision_added_p99"} <= entries.keys()
    rate = entries["samples_per_second_10000_services"]
    assert rate["ours"] > 0
    assert rate["control"] > 0
    assert rate["target"] == "ratio >= 0.5"
    assert "samples_per_second_10000_services" in done.stdout
    assert "machine:" in done.stdout


def test_quick_run_of_the_policies_needs_nothing_else(tmp_path: Path) -> None:
    lines = [f"{60 * i},{3 + i % 5}" for i in range(30)]
    (tmp_path / "shop.csv").write_text("\n".join(["t_seconds,value", *lines]) + "\n")
    output = tmp_path / "bench.json"
    command = [sys.executable, "-m", "bench", "--quick", "--only", "policies", "--output", str(output)]
    command += ["--traces", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 0, done.stderr[-4000:]
    entries = {entry["name"]: entry for entry in json.loads(output.read_text())}
    assert entries["policy_hpa_v2_per_s"]["ours"] > 0
    assert entries["quantile_headroom_kb"]["met"] is True
    assert entries["excess_geometric_percent"]["control"] > 0
    assert "shop" in done.stderr


@pytest.fixture
def engines_can_be_started() -> None:
    try:
        hosts.check_machine()
    except PartMissing as error:
        raise lacking("docker", error) from None


@pytest.mark.usefixtures("engines_can_be_started")
@pytest.mark.timeout(300)
def test_quick_run_beside_swarm_ends_and_leaves_nothing(kafka_broker: object, tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    command = [sys.executable, "-m", "bench", "--quick", "--only", "swarm", "--output", str(output)]
    environment = os.environ | {"AUTOSCALER_TEST_KAFKA": str(kafka_broker)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr[-4000:]
    entries = {entry["name"]: entry for entry in json.loads(output.read_text())}
    assert entries["swarm_scale_up_s"]["control"] > 0
    assert entries["swarm_failed_requests_in_scale_up"]["met"] is True
    assert not swarm.SITE.claim.exists()
    assert not dockerd.answers(f"tcp://{swarm.SITE.network}.11:2375")


def test_name_servers_answer_is_read_whether_its_names_are_pointers_or_written_out() -> None:
    asked = question("tasks.shop")
    head = asked[:6] + b"\x00\x03" + asked[8:]
    rest = b"\x00\x01\x00\x01\x00\x00\x02\x58\x00\x04"
    other = b"\x00\x05\x00\x01\x00\x00\x02\x58\x00\x02\xc0\x0c"
    answer = head + b"\xc0\x0c" + rest + b"\x0a\x00\x00\x05" + b"\xc0\x0c" + other
    answer += b"\x05tasks\x04shop\x00" + rest + b"\x0a\x00\x00\x06"
    assert addresses(answer) == ["10.0.0.5", "10.0.0.6"]
    assert addresses(asked) == []
