"""The `autoscaler` command: puts the subcommands together. Each lives in its own module; nothing is decided here."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Annotated

import typer

from autoscaler.cli import (
    commands,
    emitting,
    explaining,
    hosts,
    laboratory,
    letters,
    looking,
    project,
    replaying,
    replicas,
    trail,
)
from autoscaler.cli import run as run_command
from autoscaler.cli.options import Config

app = typer.Typer(
    name="autoscaler",
    help="An event-driven autoscaler and deployer for plain container hosts.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:  # noqa: FBT001 - the callback of an option
    if value:
        import autoscaler

        typer.echo(f"autoscaler {autoscaler.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    config: Config = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    context.obj = config


_FAMILIES = (
    project, run_command, emitting, commands, looking, explaining, trail, replicas, hosts, letters,
    laboratory, replaying,
)  # fmt: skip
for _family in _FAMILIES:
    _family.register(app)
_demo = importlib.util.find_spec("autoscaler.cli.demo")
if _demo is not None and _demo.origin is not None:
    importlib.import_module("autoscaler.cli.demo").register(app)


def main() -> None:
    """Run the command line; a closed pipe ends it quietly."""
    try:
        app()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
