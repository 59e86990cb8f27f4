"""`init`, `check`, `plugins`, `schema` and `topics create`: everything before the first run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from autoscaler.events.contract import contract_files
from tests.cli.instance import Project, call, document


def test_what_init_writes_is_valid(tmp_path: Path) -> None:
    made = call("init", str(tmp_path / "new"))
    assert made.exit_code == 0
    assert made.stdout.splitlines() == [str(tmp_path / "new" / name) for name in ("autoscaler.yaml", "my_policy.py")]
    checked = call("check", str(tmp_path / "new" / "autoscaler.yaml"))
    assert checked.exit_code == 0, checked.stdout
    assert checked.stderr.endswith("valid, 1 warning\n") or checked.stderr.endswith("valid\n")
    again = call("init", str(tmp_path / "new"))
    assert again.exit_code == 2
    assert "autoscaler.yaml: is there already. Move it away, or name another directory." in again.stderr


def test_check_prints_every_problem_with_its_line(project: Project) -> None:
    file = Path(project.file)
    text = file.read_text().replace("min: 1, max: 4", "min: 5, max: 4").replace("per_replica: 50", "per_replicas: 50")
    file.write_text(text + "  Shop: {}\nplugins: [./gone.py]\n")
    result = project.call("check")
    assert result.exit_code == 2
    lines = result.stdout.splitlines()
    assert any(":6 defaults.replicas" in line or ".replicas" in line for line in lines)
    assert any("Shop" in line for line in lines)
    assert all(line.startswith(f"{file}:") for line in lines), "each with its place"
    assert result.stderr == f"{file}: {len(lines)} problems\n"


def test_check_asks_the_plugins_about_their_options(project: Project) -> None:
    file = Path(project.file)
    file.write_text(file.read_text().replace("per_replica: 50", "per_replicas: 50"))
    told = json.loads(project.call("check", "--json").stdout)
    assert told["ok"] is False
    assert any("per_replica" in problem["path"] + problem["error"] for problem in told["problems"])
    assert all(problem["line"] == 10 for problem in told["problems"])
    assert "per_replicas: no such option. Did you mean per_replica?\n" in project.call("check").stdout


def test_check_tells_a_plugin_that_does_not_load(project: Project) -> None:
    file = Path(project.file)
    (project.directory / "mine.py").write_text("import no_such_module\n")
    file.write_text(file.read_text() + "plugins: [./mine.py]\n")
    result = project.call("check")
    assert result.exit_code == 2
    (line,) = result.stdout.splitlines()
    assert line.startswith(f"{file}:{len(file.read_text().splitlines())} plugins.mine:")
    assert "no_such_module" in line
    listed = project.call("plugins", "--json")
    failed = next(plugin for plugin in json.loads(listed.stdout)["plugins"] if plugin["name"] == "mine")
    assert (listed.exit_code, failed["state"]) == (0, "failed")
    assert "mine: " in project.call("plugins").stderr


def test_check_shows_values_with_their_origin(project: Project) -> None:
    text = project.call("check", "--show").stdout
    assert f'cluster: "cli"  # {project.file}:1' in text
    assert "services basket, checkout, poster, search, shop" in text
    assert "scaling.idle: " in text
    assert "# default" in text
    shown = json.loads(project.call("check", "--show", "--json").stdout)
    assert shown["ok"] is True
    assert shown["configuration"]["services"]


def test_check_takes_the_file_as_an_argument_or_an_option(project: Project, tmp_path: Path) -> None:
    for arguments in (["check", project.file], ["check", "-c", project.file], ["-c", project.file, "check"]):
        assert call(*arguments).exit_code == 0
    missing = call("check", str(tmp_path / "none.yaml"))
    assert missing.exit_code == 2
    assert (
        missing.stdout
        == f"{tmp_path}/none.yaml: does not exist. `autoscaler init` writes one; -c FILE names another.\n"
    )


def test_plugins_are_listed_with_their_hooks(project: Project) -> None:
    plugins = {plugin["name"]: plugin for plugin in project.json("plugins")["plugins"]}
    assert plugins["target_value"]["state"] == "in use"
    assert plugins["target_value"]["hooks"] == ["propose"]
    assert plugins["step"]["state"] == "installed"
    assert re.search(r"^target_value +in use ", project.call("plugins").stdout, re.MULTILINE)


def test_schema_writes_the_contract_and_the_configurations(tmp_path: Path) -> None:
    made = call("schema", str(tmp_path / "contract"))
    assert made.exit_code == 0
    files = {str(p.relative_to(tmp_path / "contract")) for p in (tmp_path / "contract").rglob("*.*")}
    assert files == {*contract_files(), "configuration.schema.json"}
    printed = document(call("schema"))
    assert "metric.v1" in printed["events"]
    assert printed["configuration"]["title"] == "The autoscaler's configuration file"


def test_schema_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = call("schema", str(tmp_path / "file" / "below"))
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


def test_topics_are_created_once_and_left_alone(project: Project) -> None:
    made = project.call("topics", "create")
    assert made.stdout.splitlines()[0] == "autoscaler.metrics: created, 3 partitions in stream.db"
    assert project.json("topics", "create")["topics"][0] == "autoscaler.metrics: exists, 3 partitions in stream.db"
    file = Path(project.file)
    file.write_text(file.read_text().replace("partitions: 3", "partitions: 4"))
    refused = project.call("topics", "create")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "3" in refused.stderr


def test_topics_of_an_observer_are_its_own(project: Project) -> None:
    lines = project.call("topics", "create", "--observe").stdout
    assert "autoscaler.observe.state: created" in lines
    assert "autoscaler.metrics: " in lines, "it reads the live inputs"


@pytest.mark.parametrize("command", ["status", "audit", "dlq list"])
def test_looking_where_no_stream_is_makes_none(project: Project, command: str) -> None:
    result = project.call(*command.split(), "--json")
    assert result.exit_code == 1
    told = json.loads(result.stderr)
    assert told["path"] == "stream.path"
    assert told["remedy"] == "Start `autoscaler run`, or correct stream.path."
    assert not (project.directory / "stream.db").exists()


def test_check_finds_in_one_pass_what_the_file_and_what_the_plugins_say(project: Project) -> None:
    file = Path(project.file)
    policies = "policies: [{use: target_valu}, {use: target_value, with: {metrc: a, per_replica: 50}}]"
    bodies = [
        f"  one: {{replicas: {{min: 5, max: 2}}, {policies}}}",
        "  two: {target: nowhere, policies: [{use: nobody}]}",
        "  three: {replicas: {mn: 1}, policies: [{use: steps}]}",
    ]
    file.write_text(file.read_text() + "\n".join(bodies) + "\n")
    told = json.loads(project.call("check", "--json").stdout)
    assert [problem["path"] for problem in told["problems"]] == [
        "services.one.policies[0].use",
        "services.one.policies[1].with.metrc",
        "services.one.policies[1].with.metric",
        "services.one.replicas.max",
        "services.three.policies[0].use",
        "services.three.replicas.mn",
        "services.two.policies[0].use",
        "services.two.target",
    ]
    assert all(problem["line"] for problem in told["problems"])


def test_schemas_are_printed_for_people_to_read() -> None:
    assert len(call("schema", "--json").stdout.splitlines()) > 100
