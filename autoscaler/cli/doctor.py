"""`autoscaler doctor`: looks at everything that an instance needs, and says of each thing what to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import typer

from autoscaler.cli.connecting import opened_client
from autoscaler.cli.context import (
    EXIT_FAILED,
    STREAM_REMEDY,
    CommandError,
    Opened,
    ending,
    open_configuration,
    print_json,
    say,
)
from autoscaler.cli.options import Config, Json, chosen
from autoscaler.cli.pool import look, opened_targets
from autoscaler.cli.reading import snapshot
from autoscaler.cli.service_view import notes_of, operation_text
from autoscaler.cli.tables import print_rows
from autoscaler.configuration.settings import Configuration
from autoscaler.core.rollout import Halted, Held
from autoscaler.errors import ConfigurationError, StreamError, TargetError
from autoscaler.ports.stream import StreamClient, Topic

LETTERS_S = 86_400.0
"""Dead letters younger than this are worth a word."""
SOURCE_S = 10.0

Grade = Literal["ok", "look", "wrong"]
"""Well; worth a look, nothing is broken; in the way of an instance (exit 1)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one thing, and what to do about it."""

    grade: Grade
    about: str
    text: str
    remedy: str = ""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(_doctor)


def _doctor(context: typer.Context, config: Config = None, as_json: Json = False) -> None:
    """Look at configuration, plugins, stream, members, services, hosts and metric sources, and say what to do."""
    with ending(as_json=as_json):
        opened = open_configuration(chosen(context, config))
        opened.plugins.kill()
        findings = asyncio.run(_examine(opened))
        wrong = sum(finding.grade == "wrong" for finding in findings)
        if as_json:
            print_json({"ok": not wrong, "findings": [_document(finding) for finding in findings]})
        else:
            print_rows(["", "about", "finding"], [[one.grade, one.about, _line(one)] for one in findings])
            say(f"{wrong} wrong" if wrong else "nothing is in the way")
    if wrong:
        raise SystemExit(EXIT_FAILED)


def _line(finding: Finding) -> str:
    return f"{finding.text}. {finding.remedy}" if finding.remedy else finding.text


def _document(finding: Finding) -> dict[str, Any]:
    return {"grade": finding.grade, "about": finding.about, "text": finding.text, "remedy": finding.remedy}


async def _examine(opened: Opened) -> list[Finding]:
    configuration = opened.configuration
    parts = (_stream(configuration), _hosts(configuration), _sources(configuration))
    found = [Finding("ok", "configuration", f"valid, {len(configuration.services)} services")]
    found += [Finding("look", warning.path, warning.what, warning.remedy) for warning in opened.loaded.warnings]
    names = ", ".join(plugin.name for plugin in opened.plugins.plugins)
    found.append(Finding("ok", "plugins", names or "none is used"))
    for listed in await asyncio.gather(*(_all(part) for part in parts)):
        found += listed
    return found


async def _all(findings: AsyncIterator[Finding]) -> list[Finding]:
    return [finding async for finding in findings]


async def _stream(configuration: Configuration) -> AsyncIterator[Finding]:
    try:
        async with opened_client(configuration) as client:
            yield Finding("ok", "stream", f"{configuration.stream.kind}, {client.partitions} partitions")
            members = await client.members()
            if members:
                yield Finding("ok", "members", f"{members} at work")
            else:
                yield Finding("look", "members", "no autoscaler runs", "Start `autoscaler run`.")
            letters = await _letters(client)
            if letters:
                yield Finding("look", "dlq", f"{letters} dead letters within a day", "See `autoscaler dlq list`.")
            async for finding in _services(configuration, client):
                yield finding
    except CommandError as error:
        # An embedded stream that is not there yet: whoever runs first makes it.
        yield Finding("look", error.path, error.what, error.remedy)
    except ConfigurationError as error:
        for problem in error.problems:
            yield Finding("wrong", problem.path, problem.what, problem.remedy)
    except StreamError as error:
        yield Finding("wrong", "stream", str(error).rstrip("."), STREAM_REMEDY)


async def _letters(client: StreamClient) -> int:
    since_ms = (time.time() - LETTERS_S) * 1000
    return len([message async for _, message in client.read(Topic.DLQ) if message.timestamp >= since_ms])


async def _services(configuration: Configuration, client: StreamClient) -> AsyncIterator[Finding]:
    now = time.time()
    for name, state in sorted((await snapshot(client)).states.items()):
        if isinstance(state.rollout, Halted | Held):
            yield Finding("look", name, operation_text(state, now), f"See `autoscaler explain {name}`.")
        for note in notes_of(state, configuration.services.get(name), now):
            yield Finding("look", name, note.rstrip("."))


async def _hosts(configuration: Configuration) -> AsyncIterator[Finding]:
    async with opened_targets(configuration) as targets:
        pool = await look(targets)
    for target, host, error in pool.hosts():
        if not error:
            yield Finding("ok", f"{target}/{host.name}", f"answers, {host.condition}")
    for problem in pool.problems:
        yield Finding("wrong", "hosts", problem.rstrip("."), "Check that its engine is up and reachable.")


async def _sources(configuration: Configuration) -> AsyncIterator[Finding]:
    if not configuration.prometheus:
        return
    from autoscaler.adapters.prometheus.source import PrometheusSource

    for settings in configuration.prometheus:
        source = PrometheusSource(settings)
        try:
            async with asyncio.timeout(SOURCE_S):
                samples = await source.poll(source.services())
            yield Finding("ok" if samples else "look", settings.url, f"answers with {len(samples)} samples")
        except (TargetError, TimeoutError) as error:
            what = str(error).rstrip(".") or f"has not answered within {SOURCE_S:g} s"
            yield Finding("wrong", settings.url, what, "Check the url under metrics.prometheus.")
        finally:
            await source.close()
