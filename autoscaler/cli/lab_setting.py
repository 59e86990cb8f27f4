"""The options of the laboratory's setting, which `simulate`, `compare` and `tune` share: what a replica carries, how
late the metric comes, and so on."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from autoscaler.cli.phrases import seconds_of

if TYPE_CHECKING:
    from autoscaler.lab.setting import Setting

Capacity = Annotated[float, typer.Option(min=1e-6, help="Load that one replica carries, in requests/s.")]
Startup = Annotated[str, typer.Option(help="From wanted to ready.")]
Period = Annotated[str, typer.Option(help="Between looks.")]
Lag = Annotated[str, typer.Option(help="How late the metric comes.")]
Window = Annotated[str, typer.Option(help="Over how long the metric is a mean.")]
Target = Annotated[float, typer.Option(min=0.05, max=1.0, help="The share of a replica that a plain target aims at.")]
Maximum = Annotated[int, typer.Option("--max", min=1, help="Replicas at most.")]
Only = Annotated[str | None, typer.Option("--only", metavar="DURATION", help="The first so long of a trace alone.")]


@dataclass(frozen=True, slots=True)
class Asked:
    """The options as they were given, in the order of the help."""

    capacity: Capacity = 50.0
    startup: Startup = "30s"
    period: Period = "15s"
    lag: Lag = "15s"
    window: Window = "15s"
    target: Target = 0.7
    maximum: Maximum = 1000
    only: Only = None

    def setting(self) -> Setting:
        """What the laboratory runs in. Raises `CommandError` (usage)."""
        from autoscaler.lab.setting import Setting

        def seconds(text: str, name: str) -> float:
            return 0.0 if text in {"0", "0s"} else seconds_of(text, name)

        return Setting(
            self.capacity, seconds(self.startup, "--startup"), seconds_of(self.period, "--period"),
            seconds(self.lag, "--lag"), seconds(self.window, "--window"), self.target, 0, self.maximum,
        )  # fmt: skip


USUAL = Asked()


def with_setting(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of `Asked` in place of its parameter ``asked``, as typer reads a signature."""
    hints = get_type_hints(Asked, include_extras=True)
    shared = [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=hints[one.name])
        for one in fields(Asked)
    ]
    own = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name == "asked":
            parameters += shared
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=own[name]))

    @functools.wraps(command)
    def extended(**given: Any) -> None:
        command(asked=Asked(**{one.name: given.pop(one.name) for one in fields(Asked)}), **given)

    described: Any = extended
    described.__signature__ = inspect.Signature(parameters)
    described.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del described.__wrapped__
    return extended
