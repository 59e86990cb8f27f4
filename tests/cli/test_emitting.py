"""`emit` puts what was given on the stream, and `--wait` tells how it ended."""

from __future__ import annotations

import json
import sys

import pytest

from tests.cli.instance import Project, eventually


def test_metric_scales_the_service(live: Project) -> None:
    sent = live.call("emit", "metric", "shop", "requests_per_second=140")
    assert sent.exit_code == 0, sent.stderr
    assert len(sent.stdout.split()) == 1, "the event's id and nothing else"
    shown = eventually(lambda: (s := live.json("status", "shop"))["actual"] == 3 and s)
    assert shown["last_decision"]["reason"]["text"] == "140 requests_per_second over 50 a replica = 3"
    assert shown["actual_from"] == "hosts"


def test_metric_whose_name_is_nearly_right_is_sent_with_a_note(project: Project) -> None:
    sent = project.call("emit", "metric", "shop", "request_per_second=140", "requests_per_second=1", "other=3")
    assert sent.exit_code == 0
    assert sent.stderr == 'note: no policy of shop names request_per_second. Did you mean "requests_per_second"?\n'


def test_deployment_is_followed_to_applied(live: Project) -> None:
    done = live.deploy("checkout", "two", "--version", "2.0", "--id", "d-1")
    assert done.exit_code == 0, done.stderr
    first, verdict = done.stdout.splitlines()
    assert first == "d-1"
    assert verdict.startswith("applied: revision 2 soaked")
    assert "revision 2:" in done.stderr, "what happens meanwhile is talk"
    shown = live.json("status", "checkout")
    assert (shown["revision"], shown["version"]) == (2, "2.0")
    again = live.deploy("checkout", "two")
    assert (again.exit_code, again.stdout.splitlines()[1][:10]) == (0, "unchanged:")


def test_bad_deployment_exits_1_with_the_reason_and_a_repeat_gets_the_same_answer(live: Project) -> None:
    done = live.deploy("basket", "bad", "--id", "bad-1", "--source", "/ci/basket")
    assert done.exit_code == 1, done.stderr
    assert done.stdout.splitlines()[1].startswith("rolled_back: 1 of 1 new replicas failed")
    assert "answered HTTP status 500" in done.stdout
    again = live.deploy("basket", "bad", "--id", "bad-1", "--source", "/ci/basket")
    assert again.exit_code == 1
    assert again.stdout.splitlines()[1] == "rolled_back: seen before: rolled_back"


def test_refused_deployment_exits_3_and_says_what_to_do(live: Project) -> None:
    done = live.call("emit", "deployment", "search", "--wait", "--json", "--command", "rm -rf data")
    assert done.exit_code == 3
    told = json.loads(done.stdout)
    assert (told["verdict"], told["code"]) == ("refused", "command")
    assert told["text"].endswith("Add a pattern to the service's commands")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["metric", "shop", "load"], "load: not NAME=VALUE with a number.", id="no value"),
        pytest.param(["metric", "shop", "load=high"], "load=high: not NAME=VALUE with a number.", id="text"),
        pytest.param(["metric", "shop", "load=nan"], "load=nan: not NAME=VALUE with a number.", id="nan"),
        pytest.param(["metric", "shop", "a=1", "a=2"], "a: is given twice.", id="twice"),
        pytest.param(["metric", "shop", "9=1"], "data", id="name"),
        pytest.param(["metric", "shop", "a=1", "--time", "noon"], "--time: not a moment.", id="time"),
        pytest.param(["deployment", "shop"], "nothing to deploy is given.", id="nothing"),
        pytest.param(
            ["deployment", "shop", "--image", "a", "--command", "b"], "--image and a command are given.", id="two"
        ),
        pytest.param(["deployment", "shop", "--image", "No Such"], "data.revision.image:", id="image"),
        pytest.param(["deployment", "shop", "--file", "none.yaml"], "none.yaml: cannot be read", id="file"),
    ],
)
def test_what_means_nothing_is_wrong_usage(project: Project, arguments: list[str], said: str) -> None:
    result = project.call("emit", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert not (project.directory / "stream.db").exists(), "nothing was sent"


def test_revision_file_is_read_strictly(project: Project) -> None:
    file = project.directory / "revision.yaml"
    file.write_text("command: [serve]\ncommand: [again]\n")
    twice = project.call("emit", "deployment", "shop", "--file", str(file))
    assert twice.exit_code == 2
    assert f"{file}:2 command" in twice.stderr
    file.write_text("command: [serve]\nhealth: {http: 7}\n")
    wrong = project.call("emit", "deployment", "shop", "--file", str(file), "--json")
    assert wrong.exit_code == 2
    assert json.loads(wrong.stderr)["path"] == "data.revision.health.http"


def test_revision_file_may_hold_the_version_too(project: Project) -> None:
    text = "version: 3.1\nrevision: {command: [serve], health: {http: /, every: 2s}}\n"
    done = project.call("emit", "deployment", "shop", "--file", "-", given=text)
    assert done.exit_code == 0, done.stderr
    (event,) = project.stored("deployments")
    assert event["id"] == done.stdout.strip()
    assert event["data"] == {
        "version": "3.1",
        "revision": {"command": ["serve"], "health": {"http": "/", "every": "2s"}},
    }


def test_metric_carries_time_source_id_and_revision(project: Project) -> None:
    told = project.json(
        "emit", "metric", "shop", "errors=0.5", "total=7", "--source", "/monitor/eu", "--id", "m-1",
        "--time", "2026-01-02T03:04:05Z", "--revision", "4",
    )  # fmt: skip
    assert (told["id"], told["source"], told["topic"]) == ("m-1", "/monitor/eu", "metrics")
    (event,) = project.stored("metrics")
    assert (event["id"], event["source"], event["time"]) == ("m-1", "/monitor/eu", "2026-01-02T03:04:05.000Z")
    assert event["data"]["samples"] == [
        {"name": "errors", "value": 0.5, "revision": 4},
        {"name": "total", "value": 7, "revision": 4},
    ]


def test_command_may_be_one_text_or_words(project: Project) -> None:
    project.call("emit", "deployment", "shop", "--command", f"{sys.executable} 'a b.py'")
    project.call("emit", "deployment", "shop", "--", "python3", "b.py", "--port", "1")
    events = project.stored("deployments")
    assert [e["data"]["revision"]["command"] for e in events] == [
        [sys.executable, "a b.py"],
        ["python3", "b.py", "--port", "1"],
    ]


def test_waiting_without_an_instance_says_so_and_ends(project: Project) -> None:
    result = project.call("emit", "deployment", "shop", "--wait", "--timeout", "4500ms", "--command", "serve")
    assert result.exit_code == 1
    assert "no instance has answered yet; is `autoscaler run` up?" in result.stderr
    assert "no verdict within 4s500ms, and no instance has answered" in result.stderr
