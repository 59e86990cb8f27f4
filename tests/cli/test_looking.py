"""`status` tells what is wanted, what runs and why, whether an instance runs or not."""

from __future__ import annotations

import json

from tests.cli.instance import SERVICES, Project


def test_overview_is_one_aligned_line_a_service(live: Project) -> None:
    shown = live.call("status")
    head, *lines = shown.stdout.splitlines()
    assert head.split() == ["SERVICE", "DESIRED", "ACTUAL", "REVISION", "OPERATION", "LAST", "AGE", "WHY"]
    assert [line.split()[0] for line in lines] == sorted(SERVICES)
    column = head.index("WHY")
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines)


def test_overview_as_json_is_one_document(live: Project) -> None:
    services = live.json("status")["services"]
    assert [one["service"] for one in services] == sorted(SERVICES)
    assert {"desired", "actual", "revision", "operation", "last_decision"} <= set(services[0])
    assert services[0]["last_decision"]["reason"]["text"]


def test_one_service_is_shown_with_replicas_and_revisions(live: Project) -> None:
    shown = live.json("status", "shop")
    assert shown["revisions"][0]["runs"] == live.server("one")
    assert shown["replicas"][0]["condition"] in {"available", "starting"}
    assert shown["replicas"][0]["address"]["http"].startswith("127.0.0.1:")
    assert shown["replicas"][0]["since"].endswith("Z")
    text = live.call("status", "shop").stdout
    assert "(between 1 and 4)" in text
    assert "*1" in text


def test_status_needs_no_instance(at_rest: Project) -> None:
    shown = at_rest.json("status", "shop")
    assert shown["revision"] == 1
    assert (shown["actual"], shown["actual_from"]) == (0, "hosts"), "the hosts were asked, not the memory of them"


def test_hosts_that_cannot_be_asked_leave_the_state_as_the_source(at_rest: Project) -> None:
    replicas = at_rest.directory / "replicas"
    replicas.write_text("a file where the target's directory should be")
    shown = at_rest.call("status")
    assert shown.exit_code == 0
    assert "note: ~ counts replicas from the state, as their hosts could not be asked" in shown.stderr
    assert json.loads(at_rest.call("status", "shop", "--json").stdout)["actual_from"] == "state"


def test_service_without_a_state_is_told_apart(at_rest: Project) -> None:
    with (at_rest.directory / "autoscaler.yaml").open("a") as file:
        file.write("  newcomer: {}\n")
    assert at_rest.json("status", "newcomer")["seq"] == 0
    assert "not seen by an instance yet" in at_rest.call("status", "newcomer").stdout


def test_service_that_left_the_configuration_is_still_shown(at_rest: Project) -> None:
    file = at_rest.directory / "autoscaler.yaml"
    file.write_text(file.read_text().replace("  poster: {}\n", ""))
    shown = at_rest.json("status", "poster")
    assert shown["configured"] is False
    assert "poster  (not configured any more)" in at_rest.call("status", "poster").stdout
    assert at_rest.call("emit", "metric", "poster", "a=1").exit_code == 1


def test_whether_an_autoscaler_runs_is_said(live: Project, at_rest: Project) -> None:
    assert (live.json("status")["members"], live.json("status", "shop")["members"]) == (1, 1)
    assert "no autoscaler runs" not in live.call("status").stderr
    assert (at_rest.json("status")["members"], at_rest.json("status", "shop")["members"]) == (0, 0)
    assert (
        "note: no autoscaler runs, so that nothing changes. Start `autoscaler run`\n" in at_rest.call("status").stderr
    )


def test_revision_that_was_edited_in_the_file_is_noted(at_rest: Project) -> None:
    assert at_rest.json("status", "shop")["notes"] == []
    file = at_rest.directory / "autoscaler.yaml"
    file.write_text(file.read_text().replace("server.py, one]", "server.py, other]"))
    (note,) = at_rest.json("status", "shop")["notes"]
    assert note.startswith("edited: the configuration's revision was changed since the service took it.")
