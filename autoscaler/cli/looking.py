"""`autoscaler status`: what is wanted, what runs, what is under way, and the last decision with its why."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from autoscaler.cli.budgets_shown import (
    BUDGET_COLUMNS,
    books_of,
    budget_document,
    budget_notes,
    budget_rows,
    budgeted_with,
    demand_text,
    standing_document,
)
from autoscaler.cli.connecting import opened_client
from autoscaler.cli.context import ending, print_json, read_configuration, say, unknown_service
from autoscaler.cli.options import Config, Json, SomeService, chosen
from autoscaler.cli.phrases import age_text, ago
from autoscaler.cli.pool import PoolView, look, opened_targets
from autoscaler.cli.reading import (
    Entry,
    entries_backwards,
    is_decision,
    newest_decision,
    snapshot,
)
from autoscaler.cli.service_view import (
    actual_of,
    notes_of,
    operation_text,
    replica_documents,
    replica_rows,
    revision_document,
    revision_text,
    summary_document,
    what_runs,
)
from autoscaler.cli.shadows_shown import shadow_documents, shadow_notes, shadows_of
from autoscaler.cli.tables import at_terminal, print_pairs, print_rows
from autoscaler.configuration.settings import Configuration
from autoscaler.core.books import Book
from autoscaler.core.state import ServiceState
from autoscaler.errors import StreamError
from autoscaler.ports.stream import StreamClient, partition_of

LOOK_BACK_MAX = 20_000
"""Audit messages of a partition that an overview looks back over for last decisions; `status SERVICE` looks further."""
WATCH_S = 2.0
MEMBERS_S = 3.0
"""How long the stream may take to say who is at work."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """All that one look found."""

    configuration: Configuration
    states: Mapping[str, ServiceState]
    checkpoints: Mapping[str, Mapping[str, Any]]
    books: Sequence[Book]
    """Of the budgets that count what is looked at."""
    decisions: Mapping[str, Entry]
    pool: PoolView | None
    members: int | None
    """Members at work; None where nobody could tell."""
    now: float

    def target_of(self, service: str) -> str:
        settings = self.configuration.services.get(service)
        return settings.target if settings is not None else ""

    def shadow_notes(self, service: str) -> list[str]:
        return shadow_notes(self.checkpoints.get(service, {}), shadows_of(self.configuration, service), self.now)

    def notes(self, state: ServiceState) -> list[str]:
        """What a person should know of one service beside the numbers."""
        settings = self.configuration.services.get(state.service)
        held = budget_notes(self.books, state.service)
        return [*notes_of(state, settings, self.now), *held, *self.shadow_notes(state.service)]

    def actual(self, state: ServiceState) -> tuple[int, str]:
        return actual_of(state, self.pool, self.target_of(state.service))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(_status)


def _status(
    context: typer.Context,
    service: SomeService = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again every 2 s until Ctrl-C.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show what is wanted, what runs, what is under way, and the last decision and why."""
    with ending(as_json=as_json):
        configuration = read_configuration(chosen(context, config))
        while True:
            seen = asyncio.run(_look(configuration, service))
            if watch and at_terminal():
                sys.stdout.write("\x1b[2J\x1b[H")
            _show(seen, service, as_json=as_json)
            if not watch:
                return
            time.sleep(WATCH_S)


async def _look(configuration: Configuration, service: str | None) -> _Seen:
    async with opened_client(configuration) as client:
        if service is None:
            names = {settings.target for settings in configuration.services.values()}
        else:
            found = configuration.services.get(service)
            names = {found.target} if found is not None else set()
        async with opened_targets(configuration, names) as targets:
            looking = asyncio.ensure_future(look(targets))
            beside = budgeted_with(configuration, service) if service is not None else frozenset()
            found_states = await snapshot(client, service, beside)
            books = books_of(configuration, found_states.states, service)
            shown = [service] if service is not None else found_states.states
            states = {name: found_states.states[name] for name in shown if name in found_states.states}
            for name in configuration.services if service is None else (service,):
                if name in configuration.services:
                    states.setdefault(name, ServiceState(name))
            if service is not None and service not in states:
                looking.cancel()
                raise unknown_service(service, configuration.services)
            decisions = await _decisions(client, states, service)
            pool = await looking
        members = await _members(client)
    checkpoints = found_states.checkpoints
    states = dict(sorted(states.items()))
    return _Seen(configuration, states, checkpoints, books, decisions, pool, members, time.time())


async def _members(client: StreamClient) -> int | None:
    try:
        async with asyncio.timeout(MEMBERS_S):
            return await client.members()
    except (StreamError, TimeoutError):
        return None


async def _decisions(client: StreamClient, states: Mapping[str, ServiceState], service: str | None) -> dict[str, Entry]:
    if service is not None:
        entry = await newest_decision(client, service)
        return {service: entry} if entry is not None else {}
    found: dict[str, Entry] = {}
    by_partition: dict[int, set[str]] = {}
    for name, state in states.items():
        if state.seq:
            by_partition.setdefault(partition_of(name.encode(), client.partitions), set()).add(name)
    for partition, missing in by_partition.items():
        looked = 0
        async for entry in entries_backwards(client, partition):
            looked += 1
            if entry.chain in missing and is_decision(entry.event):
                found[entry.chain] = entry
                missing.discard(entry.chain)
            if not missing or looked >= LOOK_BACK_MAX:
                break
    return found


def _show(seen: _Seen, service: str | None, *, as_json: bool) -> None:
    if as_json:
        documents = [_document(seen, state, whole=service is not None) for state in seen.states.values()]
        budgets = [budget_document(book) for book in seen.books]
        whole = {"members": seen.members, "services": documents, "budgets": budgets}
        print_json(documents[0] if service is not None else whole)
        return
    if service is None:
        _show_all(seen)
    else:
        _show_one(seen, seen.states[service])
    if seen.pool is not None:
        for problem in seen.pool.problems:
            say(f"note: {problem}")
    if seen.members == 0:
        say("note: no autoscaler runs, so that nothing changes. Start `autoscaler run`")
    if any(seen.actual(state)[1] == "state" for state in seen.states.values()):
        say("note: ~ counts replicas from the state, as their hosts could not be asked")


def _document(seen: _Seen, state: ServiceState, *, whole: bool) -> dict[str, Any]:
    settings = seen.configuration.services.get(state.service)
    last = seen.decisions.get(state.service)
    document = summary_document(state, last, seen.actual(state), settings, seen.now)
    if whole:
        document["replicas"] = replica_documents(state, seen.pool)
        document["revisions"] = [revision_document(revision) for revision in state.revisions]
        document["members"] = seen.members
        document["notes"] = seen.notes(state)
        document["budgets"] = [standing_document(book, state.service) for book in seen.books]
        checkpoint = seen.checkpoints.get(state.service, {})
        document["shadows"] = shadow_documents(checkpoint, shadows_of(seen.configuration, state.service))
    return document


def _actual_text(seen: _Seen, state: ServiceState) -> str:
    count, source = seen.actual(state)
    return str(count) if source == "hosts" else f"~{count}"


def _show_all(seen: _Seen) -> None:
    if not seen.states:
        say("no service is configured. Add one under `services:`")
        return
    rows = []
    for name, state in seen.states.items():
        last = seen.decisions.get(name)
        operation = operation_text(state, seen.now) if state.seq else "not seen by an instance yet"
        notes = [*notes_of(state, seen.configuration.services.get(name), seen.now), *seen.shadow_notes(name)]
        marks = dict.fromkeys(note.partition(":")[0] for note in notes)
        why = last.data["reason"]["text"] if last is not None else "-"
        age = age_text(max(0.0, seen.now - last.at)) if last is not None else "-"
        kind = last.data["verdict"] or last.data["kind"] if last is not None else "-"
        operation += f" [{', '.join(marks)}]" if marks else ""
        rows.append(
            [name, demand_text(state), _actual_text(seen, state), revision_text(state), operation, str(kind), age, why]
        )
    print_rows(["service", "desired", "actual", "revision", "operation", "last", "age", "why"], rows)
    _show_budgets(seen)


def _show_budgets(seen: _Seen) -> None:
    if seen.books:
        typer.echo()
        print_rows(BUDGET_COLUMNS, budget_rows(seen.books))


def _show_one(seen: _Seen, state: ServiceState) -> None:
    settings = seen.configuration.services.get(state.service)
    current = state.current
    last = seen.decisions.get(state.service)
    bounds = f" (between {settings.bounds.min} and {settings.bounds.max})" if settings is not None else ""
    pairs = [
        ("service", state.service + ("" if settings is not None else "  (not configured any more)")),
        ("desired", f"{demand_text(state)}{bounds}"),
        ("actual", _actual_text(seen, state)),
        ("revision", revision_text(state) + (f"  {what_runs(current.spec)}" if current is not None else "")),
        ("operation", operation_text(state, seen.now) if state.seq else "not seen by an instance yet"),
        *(_pair(note) for note in seen.notes(state)),
    ]
    if last is not None:
        data = last.data
        told = data["verdict"] or data["kind"]
        pairs.append(("last", f"{told}, {ago(last.at, seen.now)}: {data['reason']['text']}  ({last.event['id']})"))
    print_pairs(pairs)
    _show_budgets(seen)
    if state.replicas or (seen.pool is not None and seen.pool.sightings(state.service)):
        typer.echo()
        print_rows(["replica", "host", "condition", "for"], replica_rows(state, seen.pool, seen.now))
    if state.revisions:
        typer.echo()
        rows = [
            [
                f"{'*' if revision.number == state.revision else ' '}{revision.number}",
                revision.version or "-",
                revision.standing,
                age_text(max(0.0, seen.now - revision.accepted_at)),
                what_runs(revision.spec),
            ]
            for revision in reversed(state.revisions)
        ]
        print_rows(["revision", "version", "standing", "age", "runs"], rows)


def _pair(note: str) -> tuple[str, str]:
    name, _, text = note.partition(": ")
    return name, text
