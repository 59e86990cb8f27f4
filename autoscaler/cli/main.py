"""The `autoscaler` command: its own options. What its subcommands are says `catalogue`; nothing is decided here."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

from autoscaler.cli.catalogue import Catalogue
from autoscaler.cli.options import Config

app = typer.Typer(
    name="autoscaler",
    cls=Catalogue,
    help="An event-driven autoscaler and deployer for plain container hosts.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


SILENT_LOGS = ("autoscaler", "aiokafka", "docker", "urllib3")
"""Whose log a command does not show: what they fail at comes as an error of ours. `run` logs as it is told to."""


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
    for name in SILENT_LOGS:
        logger = logging.getLogger(name)
        if not logger.handlers:
            # Without any handler Python itself writes warnings to stderr, between the lines of a command.
            logger.addHandler(logging.NullHandler())


def main() -> None:
    """Run the command line; a closed pipe ends it quietly."""
    try:
        app()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
