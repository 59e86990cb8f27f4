"""The commands in the order of the help: what each does, and the module that has it, which is imported when it runs.

So `--help`, `--version` and a short command cost no more than they need. Called by `main`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True, slots=True)
class Listed:
    """One command: its module and the first sentences of its own help."""

    module: str
    says: str


COMMANDS: Mapping[str, Listed] = {
    "init": Listed(
        "autoscaler.cli.project", "Write a commented autoscaler.yaml and a policy to edit, both valid as they are."
    ),
    "check": Listed(
        "autoscaler.cli.project",
        "Read configuration and plugins and print every problem at once; exit 2 where there is an error.",
    ),
    "run": Listed("autoscaler.cli.run", "Run the service until SIGTERM or Ctrl-C; the replicas go on."),
    "demo": Listed(
        "autoscaler.cli.demo",
        "Tell the whole story in a minute: scale, update, roll back, heal, on real replicas under real traffic.",
    ),
    "emit": Listed("autoscaler.cli.emitting", "Put events on the stream, as CI or a monitor would."),
    "scale": Listed(
        "autoscaler.cli.commands", "Hold a service at N replicas until --for ends or `scale SERVICE auto`."
    ),
    "rollback": Listed("autoscaler.cli.commands", "Go back to an earlier revision; the verdict comes when it is done."),
    "pause": Listed("autoscaler.cli.commands", "Hold the rollout in flight; scaling and healing go on."),
    "resume": Listed("autoscaler.cli.commands", "Let the paused rollout of a service go on."),
    "promote": Listed("autoscaler.cli.commands", "Take the revision under way for stable before its soak ends."),
    "abort": Listed("autoscaler.cli.commands", "Stop the rollout in flight and go back to the revision before it."),
    "approve": Listed("autoscaler.cli.commands", "Let go on what was rejected, halted or held for a failure."),
    "freeze": Listed(
        "autoscaler.cli.commands", "Stop updates (and with --scope all also scaling); healing and rollbacks go on."
    ),
    "unfreeze": Listed("autoscaler.cli.commands", "End a freeze."),
    "retire": Listed(
        "autoscaler.cli.commands",
        "Stop all replicas of a service for good; it takes no event until it is configured again.",
    ),
    "status": Listed(
        "autoscaler.cli.looking", "Show what is wanted, what runs, what is under way, and the last decision and why."
    ),
    "explain": Listed(
        "autoscaler.cli.explaining",
        "Say why: the inputs with their ages, each policy's proposal, each guard's clamp, the winner.",
    ),
    "audit": Listed(
        "autoscaler.cli.trail", "Print the trail, one record a line; with --json the events as they are stored."
    ),
    "logs": Listed(
        "autoscaler.cli.replicas", "Print the output of a service's replicas, each line with its replica's name."
    ),
    "endpoints": Listed("autoscaler.cli.replicas", "Print where the running replicas of a service are reached."),
    "hosts": Listed(
        "autoscaler.cli.hosts",
        "Print the pool, or drain a host (its replicas move, start-first), cordon it (no new ones), uncordon it.",
    ),
    "simulate": Listed("autoscaler.cli.laboratory", "Run a policy on a trace and say how well supply followed demand."),
    "compare": Listed("autoscaler.cli.laboratory", "Run several policies on several traces: one table, and a report."),
    "tune": Listed(
        "autoscaler.cli.laboratory",
        "Search the options of a policy for those that cost least, judged on parts of the time that they did not see.",
    ),
    "replay": Listed(
        "autoscaler.cli.replaying",
        "Decide about recorded events again: what would differ, when, and at what cost and lack.",
    ),
    "plugins": Listed(
        "autoscaler.cli.project",
        "Print the plugins: those in use with their hooks, those that failed to load, those that are only installed.",
    ),
    "schema": Listed(
        "autoscaler.cli.project",
        "Write the contract (JSON Schemas, examples, AsyncAPI) and the configuration's schema, or print all schemas.",
    ),
    "topics": Listed("autoscaler.cli.project", "The six topics of the stream."),
    "dlq": Listed("autoscaler.cli.letters", "Messages that could not be read: which, why, and putting one back."),
    "doctor": Listed(
        "autoscaler.cli.doctor",
        "Look at configuration, plugins, stream, members, services, hosts and metric sources, and say what to do.",
    ),
}


class Catalogue(TyperGroup):
    """The group of all commands: each is a line of the help until it is asked for by name."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, listed in COMMANDS.items():
            self.add_command(TyperCommand(name, help=listed.says))

    def load(self, name: str) -> Any:
        """The command itself, with its options; its module is imported."""
        part = typer.Typer()
        import_module(COMMANDS[name].module).register(part)
        command = typer.main.get_group(part).commands[name]
        self.add_command(command)
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As any group's, of the command itself. Shell completion comes this way, too."""
        if args[0] in COMMANDS:
            self.load(args[0])
        return super().resolve_command(ctx, args)
