"""`autoscaler explain`: the last decision taken apart, from its audit record: inputs, proposals, guards, winner."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.text import Text

from autoscaler.cli.budgets_shown import (
    EXACTNESS,
    against_growth,
    books_of,
    budgeted_with,
    demand_text,
    standing_document,
    standing_rows,
)
from autoscaler.cli.connecting import opened_client
from autoscaler.cli.context import CommandError, ending, print_json, read_configuration, unknown_service, wrong_usage
from autoscaler.cli.latest_samples import Latest, latest_samples
from autoscaler.cli.options import Config, Json, Service, chosen
from autoscaler.cli.phrases import age_text, ago, moment_of, stamp
from autoscaler.cli.pool import PROCESS_HOST
from autoscaler.cli.reading import Entry, entries_backwards, is_decision, snapshot
from autoscaler.cli.service_view import decision_document, notes_of, operation_text, revision_text
from autoscaler.cli.shadows_shown import shadow_documents, shadow_rows, shadows_of
from autoscaler.cli.tables import STYLES, print_text
from autoscaler.cli.why_not import ACTIONS, Obstacle, obstacles
from autoscaler.cli.why_not_host import explain_host
from autoscaler.configuration.settings import Configuration
from autoscaler.core.books import Book
from autoscaler.core.state import ServiceState
from autoscaler.ports.stream import partition_of


@dataclass(frozen=True, slots=True)
class Story:
    """What the trail tells of one service: its state, the decision asked for, and the evaluation of its policies."""

    state: ServiceState
    checkpoint: Mapping[str, Any]
    decision: Entry | None
    evaluation: Entry | None
    latest: tuple[Latest, ...] = ()
    """The newest samples now; of the past none."""
    books: Sequence[Book] = ()
    """The service's budgets now; of the past none."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain", no_args_is_help=True)(_explain)


def _explain(
    context: typer.Context,
    service: Service,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="The last decision at or before then, such as 15m (ago).")
    ] = None,
    why_not: Annotated[
        str | None,
        typer.Option("--why-not", metavar="ACTION|HOST", help=f"What stands against it: {', '.join(ACTIONS)}, a host."),
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Say why: the inputs with their ages, each policy's proposal, each guard's clamp, the winner."""
    with ending(as_json=as_json):
        moment = moment_of(at, "--at") if at else None
        if why_not is not None and moment is not None:
            raise wrong_usage("cannot be asked of the past", "Leave out --at.", "--why-not")
        configuration = read_configuration(chosen(context, config))
        if why_not is not None and why_not not in ACTIONS:
            if why_not not in _hosts_of(configuration, service):
                remedy = f"Write one of {', '.join(ACTIONS)}, or a host of the service's target."
                raise wrong_usage("is no action and no host", remedy, f"--why-not {why_not[:40]}")
            asyncio.run(explain_host(configuration, service, why_not, as_json=as_json))
            return
        story = asyncio.run(_read(configuration, service, moment))
        if why_not is not None:
            _show_obstacles(configuration, story, why_not, as_json=as_json)
        elif as_json:
            print_json(_document(configuration, story, time.time()))
        else:
            _tell(configuration, story, past=moment is not None)


def _hosts_of(configuration: Configuration, service: str) -> set[str]:
    """The hosts that the service may be placed on, as the configuration has them."""
    settings = configuration.services.get(service)
    if settings is None:
        return set()
    target = configuration.targets[settings.target]
    return {PROCESS_HOST} if target.kind == "process" else {host.name for host in target.hosts}


async def _read(configuration: Configuration, service: str, moment: float | None) -> Story:
    async with opened_client(configuration) as client:
        found = await snapshot(client, service, budgeted_with(configuration, service))
        books = books_of(configuration, found.states, service) if moment is None else []
        state = found.states.get(service)
        if state is None and service not in configuration.services:
            raise unknown_service(service, configuration.services)
        if state is None:
            raise CommandError("no instance has decided anything for it yet", "Start `autoscaler run`.", service)
        decision: Entry | None = None
        evaluation: Entry | None = None
        partition = partition_of(service.encode(), client.partitions)
        async for entry in entries_backwards(client, partition, service):
            if not is_decision(entry.event) or (moment is not None and entry.at > moment):
                continue
            decision = decision or entry
            if entry.data["proposals"]:
                evaluation = entry
                break
        looked_at = [str(reading["signal"]) for reading in evaluation.data["inputs"]] if evaluation else []
        latest = await latest_samples(client, service, looked_at) if moment is None else []
    if decision is None and moment is not None:
        raise CommandError(f"no decision is kept from {stamp(moment)} or before", "Ask for a later time.", service)
    checkpoint = found.checkpoints.get(service, {})
    return Story(state, checkpoint, decision, evaluation, tuple(latest), books)


def _winner_of(evaluation: Entry) -> str:
    """The label of the policy that won; empty where the record does not say."""
    conclusion = evaluation.data.get("changes", {}).get("conclusion")
    return str(conclusion["winner"]) if isinstance(conclusion, Mapping) else ""


def _document(configuration: Configuration, story: Story, now: float) -> dict[str, Any]:
    evaluation = decision_document(story.evaluation)
    if evaluation is not None and story.evaluation is not None:
        evaluation["winner"] = _winner_of(story.evaluation)
    return {
        "service": story.state.service,
        "desired": story.state.demand,
        "asked": story.state.asking,
        "revision": story.state.revision or None,
        "decision": decision_document(story.decision),
        "evaluation": evaluation,
        "signals": [
            {"signal": one.name, "value": one.value, "age_s": None if one.at is None else round(now - one.at, 3)}
            for one in story.latest
        ],
        "budgets": [standing_document(book, story.state.service) for book in story.books],
        "shadows": shadow_documents(story.checkpoint, shadows_of(configuration, story.state.service)),
    }


def _tell(configuration: Configuration, story: Story, *, past: bool) -> None:
    state, now = story.state, time.time()
    wanted, operation = demand_text(state), operation_text(state, now)
    head = f"{state.service}: {wanted} wanted, revision {revision_text(state)}, {operation}"
    print_text(Text(f"{head}{' (now)' if past else ''}", "bold"))
    if not past:
        for note in notes_of(state, configuration.services.get(state.service), now):
            print_text(Text(f"  {note}", "yellow"))
    if story.decision is None:
        print_text(Text("\n  No decision is kept in the audit trail."))
        return
    _tell_decision("Last decision", story.decision, now)
    if story.evaluation is not None:
        if story.evaluation.event["id"] != story.decision.event["id"]:
            _tell_decision("Last change in what the policies come to", story.evaluation, now)
        _tell_evaluation(story.evaluation)
    if not past:
        _tell_latest(configuration, story, now)
        _tell_budgets(story)
        rows = shadow_rows(story.checkpoint, shadows_of(configuration, story.state.service), now)
        _section("shadows, which decide nothing", [(" ", *row) for row in rows])
    if story.evaluation is None:
        print_text(Text("\n  No policy has been evaluated yet: scaling signals are needed for that.", "dim"))


def _tell_latest(configuration: Configuration, story: Story, now: float) -> None:
    """The signals as they are now: the evaluation above may be old, and what does not change it is not recorded."""
    settings = configuration.services.get(story.state.service)
    rows = []
    for one in story.latest:
        if one.value is None or one.at is None:
            rows.append((" ", one.name, "unknown", "no sample among the newest events"))
        else:
            age_s = max(0.0, now - one.at)
            max_age_s = settings.max_age_of(one.name) if settings is not None else math.inf
            stale = f", past max_age {age_text(max_age_s)}: unknown" if age_s > max_age_s else ""
            rows.append((" ", one.name, f"{one.value:g}", f"{age_text(age_s)} old{stale}"))
    _section("signals now", rows)


def _tell_budgets(story: Story) -> None:
    for book in story.books:
        rows = standing_rows(book, story.state.service)
        _section(f"budget {book.budget.name}", [(" ", *row) for row in rows])
    if story.books:
        print_text(Text(f"  ({EXACTNESS})", "dim"))


def _tell_decision(title: str, entry: Entry, now: float) -> None:
    data = entry.data
    told = str(data["verdict"] or data["kind"])
    line = Text.assemble("\n", (title, "bold"), f"  {ago(entry.at, now)}, {entry.event['time']}  {entry.event['id']}")
    print_text(line)
    before, after = data["before"], data["after"]
    changed = [
        f"{name} {before[key]} -> {after[key]}"
        for name, key in (("replicas", "demand"), ("revision", "revision"))
        if before[key] != after[key]
    ]
    stays = f"replicas stay {after['demand']}" if data["kind"] == "hold" else ""
    what = ", ".join(changed) or stays
    parts = Text.assemble("  ", (told, STYLES.get(told, "cyan")), f"  {what}" if what else "")
    print_text(parts)
    print_text(Text(f"  {data['reason']['text']}"))
    for cause in data["causes"]:
        print_text(Text(f"  caused by {cause['source']} {cause['id']}", "dim"))


def _tell_evaluation(entry: Entry) -> None:
    data = entry.data
    winner = _winner_of(entry)
    inputs = [
        (
            " ",
            str(reading["signal"]),
            "unknown" if reading["value"] is None else f"{reading['value']:g}",
            "" if reading["age_s"] is None else f"{age_text(reading['age_s'])} old",
        )
        for reading in data["inputs"]
    ]
    _section("inputs", inputs)
    proposals = [
        (">" if note["policy"] == winner else " ", str(note["policy"]), _proposal_text(note), str(note["text"]))
        for note in data["proposals"]
    ]
    _section("proposals", proposals)
    clamps = [
        (" ", str(clamp["guard"]), f"{clamp['before']} -> {clamp['after']}", str(clamp["text"]))
        for clamp in data["clamps"]
    ]
    _section("guards", clamps or [(" ", "none", "", "the wish passed unchanged")])
    credit = _credit(winner, clamps, data["proposals"])
    print_text(Text.assemble("\n  ", ("result", "bold"), f"  {data['after']['demand']} replicas{credit}"))


def _credit(winner: str, clamps: Sequence[object], proposals: Sequence[Mapping[str, Any]]) -> str:
    if winner == "operator":
        return ", held by the operator's override"
    if not winner:
        return ""
    if proposals and all(note["kind"] == "unknown" for note in proposals):
        return ", as nothing that its policies look at is known"
    return f": what the guards left of the wish of {winner}" if clamps else f": the wish of {winner}"


def _proposal_text(note: Mapping[str, Any]) -> str:
    if note["kind"] == "none":
        return "no opinion"
    return f"{note['kind']} to {note['to']}" if note["to"] is not None else str(note["kind"])


def _section(title: str, rows: Sequence[tuple[str, str, str, str]]) -> None:
    if not rows:
        return
    print_text(Text(f"\n  {title}", "bold"))
    names, values = max(len(row[1]) for row in rows), max(len(row[2]) for row in rows)
    for mark, name, value, text in rows:
        style = "bold green" if mark == ">" else "dim" if value in {"unknown", "no opinion"} else ""
        print_text(Text(f"  {mark} {name.ljust(names)}  {value.ljust(values)}  {text}".rstrip(), style))


def _show_obstacles(configuration: Configuration, story: Story, action: str, *, as_json: bool) -> None:
    now = time.time()
    settings = configuration.services.get(story.state.service)
    evaluated = story.evaluation
    spent = against_growth(story.books, story.state, settings) if settings is not None else []
    found = obstacles(action, story.state, settings, evaluated.data if evaluated is not None else None, now, spent)
    if as_json:
        print_json(
            {
                "service": story.state.service,
                "action": action,
                "obstacles": [{"code": one.code, "text": one.text} for one in found],
                "evaluation": evaluated.event["id"] if evaluated is not None else None,
            }
        )
        return
    name = story.state.service
    print_text(Text(f"{name}: {'what stands against' if found else 'nothing known stands against'} {action}", "bold"))
    _list_obstacles(found)
    if evaluated is not None and action.startswith("scale"):
        print_text(
            Text(
                f"\n  by the evaluation of {ago(evaluated.at, now)} ({evaluated.event['id']}) and the state now", "dim"
            )
        )


def _list_obstacles(found: Sequence[Obstacle]) -> None:
    width = max((len(one.code) for one in found), default=0)
    for one in found:
        print_text(Text.assemble("  ", (one.code.ljust(width), "yellow"), f"  {one.text}"))
