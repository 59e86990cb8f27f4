"""The operator's commands: each publishes a control event, waits for its verdict and prints it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from autoscaler.cli.connecting import Sending, opened_client
from autoscaler.cli.context import (
    EXIT_DONE,
    configured_service,
    ending,
    print_json,
    read_configuration,
    say,
    whole_number,
    wrong_usage,
)
from autoscaler.cli.emitting import new_ref, published_document
from autoscaler.cli.options import Config, Json, Service, chosen
from autoscaler.cli.phrases import moment_to_come, seconds_of
from autoscaler.cli.reading import Entry
from autoscaler.cli.waiting import Settled, publish_and_wait
from autoscaler.events.moments import write_time
from autoscaler.events.writing import control_event
from autoscaler.ports.stream import Topic

SHORT, LONG = "60s", "10m"
"""How long a verdict may take: of what is in force at once, and of what has to be done first."""

Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the audit trail.", show_default=False)]
Timeout = Annotated[str, typer.Option("--timeout", help="How long to wait for the verdict.")]
For = Annotated[
    str | None, typer.Option("--for", metavar="DURATION", help="End by itself after so long.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("scale", no_args_is_help=True)(_scale)
    app.command("rollback", no_args_is_help=True)(_rollback)
    app.command("pause", no_args_is_help=True)(_pause)
    _add_plain(app, "resume", "Let the paused rollout of a service go on.", SHORT)
    _add_plain(app, "promote", "Take the revision under way for stable before its soak ends.", SHORT)
    _add_plain(app, "abort", "Stop the rollout in flight and go back to the revision before it.", LONG)
    _add_plain(app, "approve", "Let go on what was rejected, halted or held for a failure.", SHORT)
    app.command("freeze", no_args_is_help=True)(_freeze)
    _add_plain(app, "unfreeze", "End a freeze.", SHORT)
    app.command("retire", no_args_is_help=True)(_retire)


def _scale(
    context: typer.Context,
    service: Service,
    replicas: Annotated[str, typer.Argument(metavar="N|auto", help="How many, or auto: the policies decide again.")],
    for_: For = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="From then on, such as 15m (from now); default: at once.")
    ] = None,
    scheduled: Annotated[
        bool, typer.Option("--scheduled", help="With auto: take back those that are not in force yet.")
    ] = False,
    reason: Reason = "",
    timeout: Timeout = SHORT,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Hold a service at N replicas until --for ends or `scale SERVICE auto`."""
    with ending(as_json=as_json):
        count = whole_number(replicas)
        if replicas != "auto" and count is None:
            raise wrong_usage("neither a number of replicas nor auto", "Write 6 or auto.", replicas[:40])
        if at is not None and replicas == "auto":
            raise wrong_usage("has no meaning with auto", "Leave it out, or give a number of replicas.", "--at")
        if scheduled and replicas != "auto":
            raise wrong_usage("has a meaning with auto alone", "Leave it out.", "--scheduled")
        fields: dict[str, Any] = {"replicas": "auto" if count is None else count}
        if at is not None:
            fields["at"] = write_time(moment_to_come(at, "--at"))
        if scheduled:
            fields["scheduled"] = True
        code = _command(context, config, service, "scale", _with(fields, for_, reason), timeout, as_json=as_json)
    _end(code)


def _rollback(
    context: typer.Context,
    service: Service,
    to: Annotated[
        int | None, typer.Option(min=1, metavar="REV", help="The revision's number (default: the last good one).")
    ] = None,
    reason: Reason = "",
    timeout: Timeout = LONG,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Go back to an earlier revision; the verdict comes when it is done."""
    with ending(as_json=as_json):
        fields = _with({} if to is None else {"to": to}, None, reason)
        code = _command(context, config, service, "rollback", fields, timeout, as_json=as_json)
    _end(code)


def _pause(
    context: typer.Context,
    service: Service,
    for_: For = None,
    reason: Reason = "",
    timeout: Timeout = SHORT,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Hold the rollout in flight; scaling and healing go on."""
    with ending(as_json=as_json):
        code = _command(context, config, service, "pause", _with({}, for_, reason), timeout, as_json=as_json)
    _end(code)


def _freeze(
    context: typer.Context,
    service: Service,
    scope: Annotated[str, typer.Option(metavar="update|all", help="What stands still: updates, or all.")] = "update",
    for_: For = None,
    reason: Reason = "",
    timeout: Timeout = SHORT,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Stop updates (and with --scope all also scaling); healing and rollbacks go on."""
    with ending(as_json=as_json):
        if scope not in {"update", "all"}:
            raise wrong_usage("is neither update nor all", "Write --scope all, or leave it out.", "--scope")
        code = _command(
            context, config, service, "freeze", _with({"scope": scope}, for_, reason), timeout, as_json=as_json
        )
    _end(code)


def _retire(
    context: typer.Context,
    service: Service,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    reason: Reason = "",
    timeout: Timeout = LONG,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Stop all replicas of a service for good; it takes no event until it is configured again."""
    with ending(as_json=as_json):
        if not yes and sys.stdin.isatty() and sys.stderr.isatty():
            typer.confirm(f"Stop all replicas of {service}?", abort=True, err=True)
        code = _command(context, config, service, "retire", _with({}, None, reason), timeout, as_json=as_json)
    _end(code)


def _add_plain(app: typer.Typer, name: str, text: str, patience: str) -> None:
    def command(
        context: typer.Context,
        service: Service,
        reason: Reason = "",
        timeout: Timeout = patience,
        config: Config = None,
        as_json: Json = False,
    ) -> None:
        with ending(as_json=as_json):
            code = _command(context, config, service, name, _with({}, None, reason), timeout, as_json=as_json)
        _end(code)

    command.__doc__ = text
    app.command(name, no_args_is_help=True)(command)


def _with(fields: dict[str, Any], for_: str | None, reason: str) -> dict[str, Any]:
    if for_ is not None:
        seconds_of(for_, "--for")
        fields["for"] = for_
    if reason:
        fields["reason"] = reason
    return fields


def _command(
    context: typer.Context,
    config: Path | None,
    service: str,
    command: str,
    fields: dict[str, Any],
    timeout: str,
    *,
    as_json: bool,
) -> int:
    configuration = read_configuration(chosen(context, config))
    configured_service(configuration, service)
    timeout_s = seconds_of(timeout, "--timeout")
    ref = new_ref(None, None)
    event = control_event(service, command, ref.source, fields, id=ref.id)
    slow = command in {"rollback", "abort", "retire"}

    async def send() -> int:
        async with opened_client(configuration, looks=False) as client:
            sending = Sending(Topic.CONTROL, service, ref, event)
            place, settled = await publish_and_wait(client, sending, timeout_s, progress_line if slow else None)
        if as_json:
            document = {"service": service, "command": command} | published_document(ref, place)
            print_json(document | settled_document(settled))
        else:
            print_settled(settled)
        return settled.exit_code

    return asyncio.run(send())


def _end(code: int) -> None:
    if code != EXIT_DONE:
        raise SystemExit(code)


def progress_line(entry: Entry) -> None:
    """Say on stderr what one record tells, for whoever waits."""
    data = entry.data
    say(f"  {str(entry.event['time'])[11:19]}  {data['kind']:<10}  {data['reason']['text']}")


def print_settled(settled: Settled, beside: str = "") -> None:
    """The verdict on stdout, or on stderr that there is none, with ``beside`` after it."""
    if settled.verdict:
        typer.echo(f"{settled.verdict}: {settled.text}")
    else:
        say(f"autoscaler: {settled.text}{beside}")


def settled_document(settled: Settled) -> dict[str, Any]:
    """How an event ended, as JSON; the verdict is null where the time was over."""
    return {
        "verdict": settled.verdict or None,
        "code": settled.code,
        "text": settled.text,
        "record": settled.record or None,
        "generation": settled.generation,
        "after": dict(settled.after) or None,
    }
