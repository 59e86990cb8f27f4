"""`autoscaler replay`: the past once more, through this configuration or another one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoscaler.cli.context import (
    CommandError,
    ending,
    open_configuration,
    print_json,
    read_configuration,
    say,
    write_output,
    wrong_usage,
)
from autoscaler.cli.options import Config, Json, chosen
from autoscaler.cli.outputs import try_outputs
from autoscaler.cli.phrases import moment_of, stamp
from autoscaler.cli.tables import print_pairs, print_rows

if TYPE_CHECKING:
    from autoscaler.configuration.settings import Configuration
    from autoscaler.core.state import ServiceState
    from autoscaler.lab.recording import Recording
    from autoscaler.lab.replaying import Decided, Replayed

SHOWN_MAX = 40
"""Differences that a person is shown; with --json all of them."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay", no_args_is_help=True)(_replay)


def _replay(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A recording, one event a line.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Read the topics from then on, such as 2h (ago).")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", metavar="NEW.yaml", help="Another configuration to decide with.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="FILE", help="Write what was read from the topics.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Decide about recorded events again: what would differ, when, and at what cost and lack."""
    with ending(as_json=as_json):
        from autoscaler.lab.recording import read_recording, recording_lines

        if (file is None) == (since is None):
            raise wrong_usage("a recording or a time is needed, not both", "Name a FILE, or --from 2h.")
        try_outputs(record)
        recorded_with = read_configuration(chosen(context, config))
        states: dict[str, ServiceState] = {}
        if file is not None:
            recording = read_recording(file)
        else:
            recording, states = asyncio.run(_read(recorded_with, moment_of(since or "", "--from")))
        if record is not None:
            write_output(record, "\n".join(recording_lines(recording)) + "\n")
        if recording.begins_at is None:
            raise CommandError("nothing is recorded", "Begin earlier, or name another file.", str(file or since))
        replayed = _replayed(recording, states, policy or chosen(context, config), recorded_with)
        if as_json:
            print_json(_document(replayed))
        else:
            _print(replayed)


def _replayed(
    recording: Recording, states: dict[str, ServiceState], path: Path | None, recorded_with: Configuration
) -> Replayed:
    """Everything through the configuration at ``path``; its policies all run in this process."""
    from autoscaler.lab.replaying import need_of, replay

    opened = open_configuration(path, in_process=True)
    services = opened.configuration.services
    begun_before = {name for name in states if not _tells_the_birth(recording, name)}
    needs = {name: need for name, s in recorded_with.services.items() if (need := need_of(s)) is not None}
    known = {name: states[name] for name in begun_before}
    return replay(
        recording,
        services,
        opened.plugins,
        known=known,
        need={name: need for name, need in needs.items() if name in services},
        budgets=opened.configuration.budgets.values(),
    )


def _tells_the_birth(recording: Recording, service: str) -> bool:
    return any(event["subject"] == service and event["data"]["seq"] == 1 for event in recording.trail)


async def _read(configuration: Configuration, since: float) -> tuple[Recording, dict[str, ServiceState]]:
    """The topics from a moment on, and the states as they are now."""
    from autoscaler.cli.connecting import opened_client
    from autoscaler.cli.reading import entries, snapshot
    from autoscaler.lab.recording import Arrival, recorded, stored
    from autoscaler.ports.stream import INPUTS

    arrivals = []
    async with opened_client(configuration) as client:
        for topic in INPUTS:
            async for _, message in client.read(topic):
                if message.timestamp / 1000 >= since:
                    arrivals.append(Arrival(topic, stored(message)))
        trail = [
            e.event async for e in entries(client, since=since) if not e.problem and e.chain in configuration.services
        ]
        states = dict((await snapshot(client)).states)
    return recorded(arrivals, trail), states


def _print(replayed: Replayed) -> None:
    rows = [
        [stamp(d.at), (d.then or d.now).service, _side(d.then), _side(d.now), (d.now or d.then).text]  # type: ignore[union-attr]
        for d in replayed.differences[:SHOWN_MAX]
    ]
    if rows:
        print_rows(["at", "service", "then", "now", "reason"], rows)
    left = len(replayed.differences) - len(rows)
    if left > 0:
        say(f"and {left} more; --json prints all")
    pairs = [
        ("events", f"{replayed.events} in {replayed.seconds:.0f} s"),
        ("decisions", f"{len(replayed.then)} then, {len(replayed.now)} now, {len(replayed.differences)} differ"),
        ("replica hours", f"{replayed.hours_then:.3f} then, {replayed.hours_now:.3f} now"),
    ]
    if replayed.lack_then is not None and replayed.lack_now is not None:
        pairs.append(("lacking", f"{replayed.lack_then:.3f} replica hours then, {replayed.lack_now:.3f} now"))
    print_pairs(pairs)


def _side(decided: Decided | None) -> str:
    if decided is None:
        return "-"
    return f"{decided.kind} {decided.before} -> {decided.after} ({decided.code})"


def _document(replayed: Replayed) -> dict[str, Any]:
    def side(decided: Decided | None) -> dict[str, Any] | None:
        if decided is None:
            return None
        event = decided.event
        return {
            "at": decided.at, "service": decided.service, "kind": decided.kind, "before": decided.before,
            "after": decided.after, "code": decided.code, "text": decided.text,
            "event": {"source": event[0], "id": event[1]} if event else None,
        }  # fmt: skip

    return {
        "events": replayed.events,
        "seconds": replayed.seconds,
        "same": not replayed.differences,
        "decisions": {"then": len(replayed.then), "now": len(replayed.now)},
        "replica_hours": {"then": replayed.hours_then, "now": replayed.hours_now},
        "lack_hours": {"then": replayed.lack_then, "now": replayed.lack_now},
        "differences": [{"then": side(d.then), "now": side(d.now)} for d in replayed.differences],
    }
