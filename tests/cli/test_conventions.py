"""What holds for every command: where ``-c`` may stand, exit codes, JSON, pipes, colours, names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from autoscaler.cli.catalogue import COMMANDS
from autoscaler.cli.main import app
from tests.cli.instance import PROGRAM, Project, call, clean_environment

SURFACE = frozenset(
    "init check run demo emit scale rollback pause resume promote abort approve freeze unfreeze retire status explain"
    " audit logs endpoints hosts plugins topics schema dlq simulate compare tune replay doctor".split()
)
ARGUMENTS = {
    "emit metric": ["shop", "a=1"],
    "emit deployment": ["shop", "--command", "serve"],
    "scale": ["shop", "2"],
    "dlq show": ["0/0"],
    "dlq retry": ["0/0"],
    "replay": ["--from", "1h"],
}
WITHOUT_CONFIGURATION = frozenset({"init", "schema", "demo", "simulate", "compare", "tune"})
ONE_SERVICE = frozenset(
    "rollback pause resume promote abort approve freeze unfreeze retire explain logs endpoints".split()
)


def commands() -> Iterator[tuple[str, Any]]:
    """Each command with its words."""
    root: Any = typer.main.get_command(app)
    for name in COMMANDS:
        command = root.load(name)
        if hasattr(command, "commands"):
            for below, sub in command.commands.items():
                yield f"{name} {below}", sub
        else:
            yield name, command


CONFIGURED = sorted(name for name, _ in commands() if name not in WITHOUT_CONFIGURATION)


def words(command: str) -> list[str]:
    """The command with arguments that mean something."""
    return [*command.split(), *ARGUMENTS.get(command, ["shop"] if command in ONE_SERVICE else [])]


def test_commands_are_those_of_the_surface() -> None:
    assert {name.split()[0] for name, _ in commands()} == SURFACE


def test_list_of_commands_says_what_each_says_of_itself() -> None:
    root: Any = typer.main.get_command(app)
    for name, listed in COMMANDS.items():
        assert root.load(name).help.splitlines()[0] == listed.says, name


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["nonsense"], ["emit", "--help"]])
def test_commands_that_are_not_asked_for_are_not_imported(argv: list[str]) -> None:
    program = (
        "import sys\nfrom autoscaler.cli.main import app\n"
        f"try:\n    app({argv!r})\nfinally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env=clean_environment(), capture_output=True, check=False)
    loaded = done.stderr.decode().splitlines()[-1].split()
    assert not {"structlog", "aiokafka", "numpy", "docker", "uvicorn", "httpx", "autoscaler.cli.run"} & set(loaded)


def test_every_command_says_what_it_does() -> None:
    for name, command in commands():
        assert command.help, name
        shown = call(*name.split(), "-h")
        assert shown.exit_code == 0, name
        assert shown.output.strip(), name


def test_every_command_that_prints_data_takes_json() -> None:
    without = {name for name, command in commands() if "--json" not in [o for p in command.params for o in p.opts]}
    assert without == {"run"}


@pytest.mark.parametrize("command", CONFIGURED)
def test_configuration_may_be_named_before_or_after(command: str, tmp_path: Path) -> None:
    file = str(tmp_path / "none.yaml")
    argv = words(command)
    for given in (["-c", file, *argv], [*argv, "--config", file]):
        result = call(*given)
        assert result.exit_code == 2, result.output
        assert f"{file}: does not exist. `autoscaler init` writes one" in result.output


def test_file_named_after_the_command_wins(project: Project, tmp_path: Path) -> None:
    assert call("-c", str(tmp_path / "none.yaml"), "check", "-c", project.file).exit_code == 0


def test_configuration_is_found_beside_or_by_the_environment(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.directory)
    assert call("topics", "create").exit_code == 0
    monkeypatch.chdir(tmp_path.parent)
    assert call("topics", "create").exit_code == 2
    assert call("topics", "create", environment={"AUTOSCALER_CONFIG": project.file}).exit_code == 0


@pytest.mark.parametrize("command", [c for c in CONFIGURED if "shop" in words(c)])
def test_unknown_service_exits_1_with_the_nearest_name(command: str, project: Project) -> None:
    project.call("topics", "create")
    argv = ["chekout" if word == "shop" else word for word in words(command)]
    result = project.call(*argv, "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert json.loads(result.stderr) == {
        "error": "no such service",
        "path": "chekout",
        "remedy": 'Did you mean "checkout"?',
    }


def test_configuration_error_as_json_has_every_problem(project: Project) -> None:
    Path(project.file).write_text("cluster: UPPER\nservice: {}\n")
    result = project.call("status", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    told = json.loads(result.stderr)
    assert {"error", "path", "remedy"} <= set(told)
    assert {problem["path"] for problem in told["problems"]} >= {"cluster", "service"}


def test_stream_that_is_away_is_no_traceback(project: Project) -> None:
    file = Path(project.file)
    text = file.read_text().replace("kind: embedded, path: ./stream.db", 'kind: kafka, brokers: ["127.0.0.1:9"]')
    file.write_text(text)
    result = project.call("status")
    assert result.exit_code == 1, result.stderr
    assert "Check `stream:` in the configuration, and that the stream is up." in result.stderr
    assert "Traceback" not in result.stderr
    # As a process of its own: no test's handler of log records is there.
    command = [*PROGRAM, "-c", project.file, "status", "--json"]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, check=False, timeout=60)
    told = json.loads(done.stderr)
    assert "no broker could be reached" in told["error"]
    assert told["remedy"] == "Check brokers and security.protocol."


def test_option_without_the_one_that_it_belongs_to_is_wrong_usage() -> None:
    result = call("demo", "--image", "python:3", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    told = {
        "error": "has a meaning with --docker alone",
        "path": "--image",
        "remedy": "Give --docker, or leave it out.",
    }
    assert json.loads(result.stderr) == told


def test_version_is_printed() -> None:
    result = call("--version")
    assert (result.exit_code, result.stdout.split()[0]) == (0, "autoscaler")


def test_no_command_is_help_and_wrong_usage() -> None:
    for argv in ([], ["emit"], ["scale"]):
        result = call(*argv)
        assert result.exit_code == 2
        assert "Usage" in result.stdout
    assert call("stats").exit_code == 2


def test_reader_that_goes_away_ends_it_quietly(live: Project) -> None:
    with subprocess.Popen(
        [*PROGRAM, "-c", live.file, "audit", "--follow"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment(),
    ) as following:  # fmt: skip
        assert following.stdout is not None
        assert following.stderr is not None
        following.stdout.readline()
        following.stdout.close()
        deadline = time.monotonic() + 20
        while following.poll() is None and time.monotonic() < deadline:
            live.call("resume", "poster")
        assert following.poll() == 0
        assert following.stderr.read() == b""


def test_interrupt_exits_130(live: Project) -> None:
    with subprocess.Popen(
        [*PROGRAM, "-c", live.file, "audit", "--follow"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment(),
    ) as following:  # fmt: skip
        assert following.stdout is not None
        assert following.stderr is not None
        following.stdout.readline()
        following.send_signal(signal.SIGINT)
        following.stdout.read()
        errors = following.stderr.read()
    assert following.returncode == 130
    assert errors == b""


def test_colour_is_for_terminals_that_want_it(live: Project) -> None:
    for argv in (["status"], ["explain", "shop"]):
        done = live.call(*argv)
        assert done.exit_code == 0, done.stderr
        assert "\x1b" not in done.stdout


@pytest.mark.parametrize(("environment", "coloured"), [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False)])
def test_terminal_gets_a_table(live: Project, environment: dict[str, str], coloured: bool) -> None:  # noqa: FBT001
    leader, follower = os.openpty()
    try:
        done = subprocess.run(
            [*PROGRAM, "-c", live.file, "status"],
            env=clean_environment() | environment, stdout=follower, stderr=subprocess.PIPE, check=False, timeout=30,
        )  # fmt: skip
        shown = os.read(leader, 65536).decode()
    finally:
        os.close(leader)
        os.close(follower)
    assert done.returncode == 0, done.stderr
    assert ("\x1b[1m" in shown, "─" in shown) == (coloured, coloured)


def test_json_is_not_wrapped(live: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    (line,) = live.call("status", "--json").stdout.splitlines()
    assert json.loads(line)["services"]


def test_services_complete_from_the_configuration(project: Project) -> None:
    environment = {
        "_AUTOSCALER_COMPLETE": "complete_bash",
        "COMP_WORDS": f"autoscaler -c {project.file} status s",
        "COMP_CWORD": "4",
    }
    program = [sys.executable, "-c", "from autoscaler.cli.main import app; app(prog_name='autoscaler')"]
    done = subprocess.run(program, env=clean_environment() | environment, capture_output=True, check=False, timeout=30)
    assert done.stdout.decode().split() == ["search", "shop"]


def test_run_refuses_a_wrong_configuration_with_exit_2(project: Project) -> None:
    Path(project.file).write_text("cluster: UPPER\n")
    result = project.call("run")
    assert (result.exit_code, result.stdout) == (2, "")


def test_second_owner_of_an_embedded_stream_ends_at_once_and_names_the_first(live: Project) -> None:
    assert live.process is not None
    result = live.call("run")
    assert (result.exit_code, result.stdout) == (1, "")
    said = f"stream.path: the embedded stream is owned by process {live.process.pid} (lock "
    assert said in result.stderr
    assert "Stop it, or use stream.kind kafka for several members.\n" in result.stderr


@pytest.mark.parametrize(("option", "value"), [("--log-level", "loud"), ("--log-format", "xml")])
def test_log_that_there_is_not_is_wrong_usage(project: Project, option: str, value: str) -> None:
    result = project.call("run", option, value)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"autoscaler: {option}: is no " in result.stderr
