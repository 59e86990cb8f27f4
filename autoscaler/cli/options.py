"""The options and arguments that commands share, and the completion of service names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoscaler.errors import AutoscalerError


def complete_service(context: typer.Context, incomplete: str) -> list[str]:
    """The configured services that begin with what was typed; none where the configuration cannot be read."""
    from autoscaler.cli.context import read_configuration

    given = context.params.get("config") or (context.parent.params.get("config") if context.parent else None)
    try:
        services = read_configuration(Path(given) if given else None).services
    except AutoscalerError:
        return []
    return [name for name in sorted(services) if name.startswith(incomplete)]


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The configuration file (default: ./autoscaler.yaml or AUTOSCALER_CONFIG).",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Service = Annotated[str, typer.Argument(metavar="SERVICE", autocompletion=complete_service, help="The service.")]
SomeService = Annotated[
    str | None,
    typer.Argument(metavar="[SERVICE]", autocompletion=complete_service, help="One service (default: all)."),
]


def chosen(context: typer.Context, config: Path | None) -> Path | None:
    """The configuration file given after the command, else before it."""
    return config or context.obj


def group(help_: str) -> typer.Typer:
    """A family of subcommands that takes ``-c`` as well."""
    family = typer.Typer(help=help_, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})

    @family.callback()
    def _family(context: typer.Context, config: Config = None) -> None:
        context.obj = chosen(context, config)

    return family
