"""`autoscaler audit`: the trail as it is stored, for people and programs, followed, or verified."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from autoscaler.cli.connecting import opened_client
from autoscaler.cli.context import (
    EXIT_DONE,
    EXIT_FAILED,
    ending,
    print_json,
    read_configuration,
    say,
    unknown_service,
    wrong_usage,
)
from autoscaler.cli.options import Config, Json, SomeService, chosen
from autoscaler.cli.phrases import moment_of
from autoscaler.cli.reading import Entry, entries, snapshot
from autoscaler.cli.verifying import verify
from autoscaler.configuration.settings import Configuration
from autoscaler.ledger.chain import ChainReport
from autoscaler.ports.stream import StreamClient


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("audit")(_audit)


def _audit(
    context: typer.Context,
    service: SomeService = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is recorded from now.")] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="From then on, such as 1h (ago).", show_default=False)
    ] = None,
    check: Annotated[bool, typer.Option("--verify", help="Check the hash chains; exit 1 where one is broken.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print the trail, one record a line; with --json the events as they are stored."""
    code = EXIT_DONE
    with ending(as_json=as_json):
        if check and (follow or since):
            raise wrong_usage("checks whole chains", "Leave out --follow and --since.", "--verify")
        configuration = read_configuration(chosen(context, config))
        from_ = moment_of(since, "--since") if since else 0.0
        if check:
            code = asyncio.run(_verify(configuration, service, as_json=as_json))
        else:
            asyncio.run(_print(configuration, service, from_, follow=follow, as_json=as_json))
    if code != EXIT_DONE:
        raise SystemExit(code)


async def _refuse_unknown(client: StreamClient, configuration: Configuration, service: str | None) -> None:
    if service is None or service in configuration.services:
        return
    if service not in (await snapshot(client, service)).states:
        raise unknown_service(service, configuration.services)


async def _print(
    configuration: Configuration, service: str | None, since: float, *, follow: bool, as_json: bool
) -> None:
    async with opened_client(configuration) as client:
        await _refuse_unknown(client, configuration, service)
        trail = entries(client, service, follow=follow, since=since)
        if follow or service is not None:
            async for entry in trail:
                _print_entry(entry, as_json=as_json, flush=follow)
            return
        # Order holds within a partition; a person wants one story.
        found = [entry async for entry in trail]
        for entry in sorted(found, key=lambda entry: entry.at):
            _print_entry(entry, as_json=as_json, flush=False)


def _print_entry(entry: Entry, *, as_json: bool, flush: bool) -> None:
    if entry.problem:
        say(f"note: {entry.problem}")
        return
    sys.stdout.write((entry.value.decode() if as_json else _line_of(entry)) + "\n")
    if flush:
        sys.stdout.flush()


def _line_of(entry: Entry) -> str:
    """A record as one line: time, service, seq, kind, verdict, words."""
    data = entry.data
    kind, verdict = data["kind"], data["verdict"] or "-"
    return (
        f"{entry.event['time']}  {entry.chain}  {data['seq']:>4}  {kind:<10}  {verdict:<11}  {data['reason']['text']}"
    )


async def _verify(configuration: Configuration, service: str | None, *, as_json: bool) -> int:
    async with opened_client(configuration) as client:
        await _refuse_unknown(client, configuration, service)
        outcome = await verify(client, service)
    for report in outcome.reports:
        if as_json:
            print_json(_document(report))
        else:
            typer.echo(f"{report.chain}: {'ok' if report.ok else 'BROKEN'}, {report.text}")
    for problem in outcome.problems:
        say(f"autoscaler: {problem}")
    if not outcome.reports:
        say("no event to verify")
    return EXIT_DONE if outcome.ok else EXIT_FAILED


def _document(report: ChainReport) -> dict[str, object]:
    return {
        "chain": report.chain,
        "ok": report.ok,
        "complete": report.complete,
        "checked": report.checked,
        "oldest_seq": report.oldest_seq,
        "newest_seq": report.newest_seq,
        "broken_at": report.broken_at,
        "missing": list(report.missing),
        "missing_count": report.missing_count,
        "text": report.text,
    }
