"""`autoscaler init`, `check`, `plugins`, `schema` and `topics`: everything about a project before it runs."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer

from autoscaler.cli.context import (
    EXIT_DONE,
    EXIT_USAGE,
    configuration_path,
    ending,
    load_plugins,
    open_configuration,
    print_json,
    problem_document,
    problem_text,
    read_configuration,
    say,
    wrong_usage,
)
from autoscaler.cli.options import Config, Json, chosen, group
from autoscaler.cli.tables import print_rows
from autoscaler.errors import ConfigurationError, Problem


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("init")(_init)
    app.command("check")(_check)
    app.command("plugins")(_plugins)
    app.command("schema")(_schema)
    family = group("The six topics of the stream.")
    family.command("create")(_create_topics)
    app.add_typer(family, name="topics")


def _init(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where; made if missing.")] = Path(),
    config: Annotated[Path | None, typer.Option("--config", "-c", hidden=True)] = None,
    as_json: Json = False,
) -> None:
    """Write a commented autoscaler.yaml and a policy to edit, both valid as they are."""
    del config  # taken like everywhere else; there is nothing to read yet
    with ending(as_json=as_json):
        from autoscaler.configuration.starter import write_starter

        written = write_starter(directory)
        if as_json:
            print_json({"written": [str(path) for path in written]})
            return
        for path in written:
            typer.echo(path)
        into = "" if directory == Path() else f"cd {directory} && "
        say(f"next: {into}autoscaler check && autoscaler topics create && autoscaler run")


def _check(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="The configuration file.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the effective configuration and its origins.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Read configuration and plugins and print every problem at once; exit 2 where there is an error."""
    code = EXIT_DONE
    with ending(as_json=as_json):
        path = configuration_path(file or chosen(context, config))
        shown: dict[str, Any] | None = None
        try:
            opened = open_configuration(path)
        except ConfigurationError as error:
            code, problems = EXIT_USAGE, error.problems
        else:
            problems = opened.loaded.warnings
            opened.plugins.kill()
            if show:
                from autoscaler.configuration.explain import show as effective

                shown = effective(opened.loaded)
        if as_json:
            document = {"ok": code == EXIT_DONE, "file": str(path)}
            print_json(
                document
                | {"problems": [problem_document(one) for one in problems]}
                | ({"configuration": shown} if shown else {})
            )
        else:
            _print_check(path, problems, shown, ok=code == EXIT_DONE)
    if code != EXIT_DONE:
        raise SystemExit(code)


def _print_check(path: Path, problems: Sequence[Problem], shown: dict[str, Any] | None, *, ok: bool) -> None:
    if shown is not None:
        _print_effective(shown)
    for problem in problems:
        line = f"warning: {problem_text(problem)}" if problem.severity == "warning" else problem_text(problem)
        if shown is None:
            typer.echo(line)
        else:
            say(line)
    count = f"{len(problems)} {'problem' if len(problems) == 1 else 'problems'}"
    warned = f", {len(problems)} {'warning' if len(problems) == 1 else 'warnings'}" if problems else ""
    say(f"{path}: valid{warned}" if ok else f"{path}: {count}")


def _print_effective(shown: dict[str, Any]) -> None:
    def lines(rows: Sequence[dict[str, Any]], indent: str) -> None:
        for row in rows:
            typer.echo(f"{indent}{row['path']}: {json.dumps(row['value'], ensure_ascii=False)}  # {row['origin']}")

    typer.echo(f"# digest {shown['digest']}")
    lines(shown["settings"], "")
    for service in shown["services"]:
        names = service["names"]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""  # noqa: PLR2004 - as many as fit a line
        typer.echo(f"\nservices {', '.join(names[:5])}{more}")
        lines(service["settings"], "  ")


def _plugins(context: typer.Context, config: Config = None, as_json: Json = False) -> None:
    """Print the plugins: those in use with their hooks, those that failed to load, those that are only installed."""
    with ending(as_json=as_json):
        path = configuration_path(chosen(context, config))
        if path.exists() or chosen(context, config) is not None or os.environ.get("AUTOSCALER_CONFIG"):
            host = load_plugins(read_configuration(path))
            used = host.plugins
            host.kill()
        else:
            used = ()
            say(f"note: there is no {path}; these are the installed plugins")
        documents: list[dict[str, Any]] = [
            {
                "name": plugin.name,
                "distribution": plugin.distribution,
                "state": "failed" if plugin.error else "in use",
                "hooks": list(plugin.hooks),
                "runs_in": "process" if plugin.in_process else "worker",
                "error": plugin.error or None,
            }
            for plugin in used
        ]
        named = {plugin.name for plugin in used}
        documents += [_installed(point) for point in _entry_points() if point.name not in named]
        if as_json:
            print_json({"plugins": documents})
            return
        print_rows(
            ["plugin", "state", "runs in", "from", "hooks"],
            [
                [d["name"], d["state"], d["runs_in"] or "-", d["distribution"], ", ".join(d["hooks"]) or "-"]
                for d in documents
            ],
        )
        for document in documents:
            if document["error"]:
                say(f"{document['name']}: {document['error']}")


def _entry_points() -> list[Any]:
    return sorted(entry_points(group="autoscaler"), key=lambda point: point.name)


def _installed(point: Any) -> dict[str, Any]:
    distribution = f"{point.dist.name} {point.dist.version}" if point.dist is not None else "?"
    return {
        "name": point.name,
        "distribution": distribution,
        "state": "installed",
        "hooks": [],
        "runs_in": None,
        "error": None,
    }


def _schema(
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Write the files there.")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", hidden=True)] = None,
    as_json: Json = False,
) -> None:
    """Write the contract (JSON Schemas, examples, AsyncAPI) and the configuration's schema, or print all schemas."""
    del config  # taken like everywhere else; the schemas depend on no configuration
    with ending(as_json=as_json):
        from autoscaler.configuration.schema import configuration_schema
        from autoscaler.events.contract import schemas, write_contract

        if directory is None:
            print_json({"configuration": configuration_schema(), "events": schemas()}, indent=2)
            return
        try:
            written = write_contract(directory)
            path = directory / "configuration.schema.json"
            path.write_text(json.dumps(configuration_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            what = f"cannot be written ({error.strerror})"
            raise wrong_usage(what, "Name another directory.", str(directory)) from error
        written.append(path)
        if as_json:
            print_json({"written": [str(one) for one in written]})
        else:
            for one in written:
                typer.echo(one)


def _create_topics(
    context: typer.Context,
    observe: Annotated[bool, typer.Option("--observe", help="Those that `run --observe` writes.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Create the topics that are missing, with the right settings; existing ones that differ are refused."""
    with ending(as_json=as_json):
        from autoscaler.adapters.streams import admin_for
        from autoscaler.cli.wiring import group_of, observing

        configuration = read_configuration(chosen(context, config))
        stream = (observing(configuration) if observe else configuration).stream

        async def create() -> Sequence[str]:
            admin = admin_for(stream, group_of(configuration, observe=observe))
            try:
                return await admin.create_topics()
            finally:
                await admin.close()

        lines = asyncio.run(create())
        if as_json:
            print_json({"topics": list(lines)})
        else:
            for line in lines:
                typer.echo(line)
