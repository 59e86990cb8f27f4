"""`doctor` looks at everything, and says of each thing what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cli.instance import SERVICES, Project


def findings(project: Project, exit_code: int = 0) -> dict[str, dict[str, Any]]:
    """By what they are about."""
    result = project.call("doctor", "--json")
    assert result.exit_code == exit_code, result.stderr
    told = json.loads(result.stdout)
    assert told["ok"] is (exit_code == 0)
    return {finding["about"]: finding for finding in told["findings"]}


def test_whatever_is_well_is_said_so(live: Project) -> None:
    found = findings(live)
    assert found["configuration"]["text"] == f"valid, {len(SERVICES)} services"
    assert {found[about]["grade"] for about in ("configuration", "plugins", "stream", "members", "local/local")} == {
        "ok"
    }
    assert found["stream"]["text"] == "embedded, 3 partitions"
    shown = live.call("doctor")
    assert shown.stdout.splitlines()[0].split() == ["ABOUT", "FINDING"]
    assert shown.stderr == "nothing is in the way\n"


def test_an_installation_at_rest_is_told_to_start(at_rest: Project) -> None:
    members = findings(at_rest)["members"]
    assert (members["grade"], members["remedy"]) == ("look", "Start `autoscaler run`.")


def test_a_project_that_never_ran_is_no_failure(project: Project) -> None:
    stream = findings(project)["stream.path"]
    assert (stream["grade"], stream["text"].startswith("there is no stream yet at ")) == ("look", True)


def test_what_cannot_be_reached_is_wrong_and_exits_1(project: Project) -> None:
    file = Path(project.file)
    text = file.read_text().replace("kind: embedded, path: ./stream.db", 'kind: kafka, brokers: ["127.0.0.1:9"]')
    text += 'metrics: {prometheus: [{url: "http://127.0.0.1:9", every: 5s, queries: {shop: {a: up}}}]}\n'
    file.write_text(text)
    (project.directory / "replicas").write_text("a file where the target's directory should be")
    found = findings(project, exit_code=1)
    assert {about for about, finding in found.items() if finding["grade"] == "wrong"} == {
        "stream",
        "hosts",
        "http://127.0.0.1:9",
    }
    assert all(finding["remedy"] for finding in found.values() if finding["grade"] == "wrong")


def test_a_query_without_a_sample_is_named_and_the_others_count(project: Project, prometheus_url: str) -> None:
    queries = "{shop: {a: vector(1), b: 'nobody{}', c: '1 +'}}"
    with Path(project.file).open("a") as file:
        file.write(f'metrics: {{prometheus: [{{url: "{prometheus_url}", every: 5s, queries: {queries}}}]}}\n')
    found = findings(project)
    assert (found[prometheus_url]["grade"], found[prometheus_url]["text"]) == (
        "ok",
        "answers; 1 of 3 queries give a sample",
    )
    assert (found["shop.b"]["grade"], found["shop.b"]["text"]) == ("look", "gives no sample: no series")
    assert found["shop.c"]["text"].startswith("gives no sample: refused: ")
    assert found["shop.b"]["remedy"] == found["shop.c"]["remedy"] == "Correct its query under metrics.prometheus."


def test_what_waits_for_somebody_is_named(at_rest: Project) -> None:
    file = Path(at_rest.file)
    file.write_text(file.read_text().replace("server.py, one]", "server.py, other]"))
    assert findings(at_rest)["shop"]["text"].startswith("edited: the configuration's revision was changed")
    assert findings(at_rest)["shop"]["remedy"] == "See `autoscaler status shop`."


def test_wrong_configuration_is_told_as_by_every_command(project: Project) -> None:
    Path(project.file).write_text("cluster: UPPER\n")
    result = project.call("doctor")
    assert (result.exit_code, result.stdout) == (2, "")
