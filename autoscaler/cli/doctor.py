"""`autoscaler doctor`: looks at everything that an instance needs, and says of each thing what to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import typer

from autoscaler.cli.budgets_shown import demand_text
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
from autoscaler.cli.wiring import lag_sources, prometheus_sources
from autoscaler.configuration.complaints import what_and_remedy
from autoscaler.configuration.settings import Configuration, KafkaLagSettings
from autoscaler.core.rollout import Halted, Held
from autoscaler.errors import ConfigurationError, StreamError, TargetError
from autoscaler.ports.stream import StreamClient, Topic

if TYPE_CHECKING:
    from autoscaler.adapters.kafka.lag import TopicLag

LETTERS_S = 86_400.0
"""Dead letters younger than this are worth a word."""
SOURCE_S, GROUP_S = 10.0, 20.0
"""How long a Prometheus may take, and a group's brokers, to which a connection has to be made first."""
PROMETHEUS_REMEDY = "Correct its query under metrics.prometheus."

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
    parts = (_stream(configuration), _hosts(configuration), _prometheus(configuration), _lags(configuration))
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
            yield Finding("look", name, note.rstrip("."), f"See `autoscaler status {name}`.")
        if state.asked is not None:
            what = f"budget: {demand_text(state)} replicas that it asks for"
            yield Finding("look", name, what, f"See `autoscaler explain {name}`.")


async def _hosts(configuration: Configuration) -> AsyncIterator[Finding]:
    async with opened_targets(configuration) as targets:
        pool = await look(targets)
    for target, host, error in pool.hosts():
        if not error:
            yield Finding("ok", f"{target}/{host.name}", f"answers, {host.condition}")
    for problem in pool.problems:
        yield Finding("wrong", "hosts", problem.rstrip("."), "Check that its engine is up and reachable.")


async def _prometheus(configuration: Configuration) -> AsyncIterator[Finding]:
    for settings, source in zip(configuration.prometheus, prometheus_sources(configuration), strict=True):
        try:
            async with asyncio.timeout(SOURCE_S):
                samples = await source.poll(source.services())
        except (TargetError, TimeoutError) as error:
            yield _unanswered(settings.url, error, SOURCE_S, "Check the url under metrics.prometheus.")
        else:
            asked = sum(len(queries) for queries in settings.queries.values())
            text = f"answers; {len(samples)} of {asked} queries give a sample"
            yield Finding("ok" if samples else "look", settings.url, text, "" if samples else PROMETHEUS_REMEDY)
            for (service, metric), why in sorted(source.problems.items()):
                what, remedy = what_and_remedy(why)
                yield Finding("look", f"{service}.{metric}", f"gives no sample: {what}", remedy or PROMETHEUS_REMEDY)
        finally:
            await source.close()


async def _lags(configuration: Configuration) -> AsyncIterator[Finding]:
    # One after the other: they share connections, which one that fails lets go of.
    for settings, source in zip(configuration.kafka_lags, lag_sources(configuration, time.time), strict=True):
        try:
            async with asyncio.timeout(GROUP_S):
                found = await source.by_topic()
        except (TargetError, TimeoutError) as error:
            remedy = (
                f"Check the group's entry under metrics.kafka; its brokers are {', '.join(settings.brokers.brokers)}."
            )
            yield _unanswered(settings.group, error, GROUP_S, remedy)
        else:
            for lag in found:
                yield _lag(settings, lag)
        finally:
            await source.close()


def _lag(settings: KafkaLagSettings, found: TopicLag) -> Finding:
    about, topic = f"{settings.group}/{found.topic}", f"topic {found.topic}, {found.partitions} partitions"
    if not found.committed:
        counts = f"group {settings.group} has committed nothing on {topic}, which counts as a lag of {found.lag}"
        return Finding("look", about, counts, "Correct group under metrics.kafka, or start a consumer of it.")
    behind = f"is behind by {found.lag}, on {found.behind} of them" if found.lag else "is up to date"
    return Finding("ok", about, f"group {settings.group} on {topic}: {behind}")


def _unanswered(about: str, error: Exception, within_s: float, remedy: str) -> Finding:
    """What a source that cannot be asked says of it, with its own remedy where it has one."""
    what, own = what_and_remedy(str(error) or f"has not answered within {within_s:g} s")
    return Finding("wrong", about, what.rstrip("."), own or remedy)
