"""The `autoscaler` command: puts the subcommands together. Each lives in its own module; nothing is decided here."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from autoscaler.cli import run as run_command

app = typer.Typer(
    name="autoscaler",
    help="An event-driven autoscaler and deployer for plain container hosts.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The configuration file (default: ./autoscaler.yaml or AUTOSCALER_CONFIG)."),
]


@app.callback()
def _root(context: typer.Context, config: ConfigOption = None) -> None:
    context.obj = config


run_command.register(app)


def main() -> None:
    """Run the command line; a closed pipe ends it quietly."""
    try:
        app()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
