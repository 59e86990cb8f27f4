"""`autoscaler explain SERVICE --why-not HOST`: what stands against a host as the place of one more replica.

The hosts are looked at now, and ranked by the code that places.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rich.text import Text

from autoscaler.cli.connecting import opened_client
from autoscaler.cli.context import CommandError, print_json
from autoscaler.cli.pool import PoolView, look, opened_targets
from autoscaler.cli.reading import snapshot
from autoscaler.cli.tables import print_rows, print_text
from autoscaler.configuration.settings import Configuration
from autoscaler.core.edit import asked_of, edit_of
from autoscaler.core.host_marks import Mark, marked_host
from autoscaler.core.placement import Choice, ranked
from autoscaler.core.placement.explaining import Verdict, verdict_on
from autoscaler.core.placement.filters import told
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.sightings import label_of
from autoscaler.core.state import ServiceState
from autoscaler.core.world import Hosts, HostView, World


async def explain_host(configuration: Configuration, service: str, host: str, *, as_json: bool) -> None:
    """Print why one more replica of the service would not go there, and how the others stand."""
    settings = configuration.services[service]
    async with opened_client(configuration) as client:
        found = await snapshot(client)
    state = found.states.get(service)
    if state is None or state.current is None:
        raise CommandError("nothing was deployed yet, so there is nothing to place", "Deploy a revision.", service)
    marks: dict[str, Mark] = {}
    for record in found.partitions.values():
        marks |= record.marks
    async with opened_targets(configuration, [settings.target]) as targets:
        pool = await look(targets)
    world = _world(pool, settings, service, marks)
    choices, verdict = _ranking(state, settings, world, host)
    there = [label_of(r) for r in state.replicas if r.host == host]
    if as_json:
        print_json(_document(service, host, verdict, choices, there))
    else:
        _tell(service, host, verdict, choices, there)


def _world(pool: PoolView, settings: ServiceSettings, service: str, marks: Mapping[str, Mark]) -> World:
    hosts: list[HostView] = []
    for listing in pool.listings.get(settings.target, ()):
        services = frozenset(replica.service for replica in listing.replicas if replica.condition != "exited")
        view = replace(listing.host, services=services, known=not listing.error)
        hosts.append(marked_host(view, marks))
    replicas = tuple(sighting.replica for sighting in pool.sightings(service))
    return World(time.time(), replicas, Hosts(hosts))


def _ranking(state: ServiceState, settings: ServiceSettings, world: World, host: str) -> tuple[list[Choice], Verdict]:
    current = state.current
    assert current is not None  # noqa: S101 - the caller has looked
    room = edit_of(state, settings, world, ()).room
    choices = ranked(world.hosts, asked_of(state, settings, world, current), room)
    verdict = verdict_on(host, choices, settings.placement)
    if verdict is None:
        raise CommandError("its target has not told of this host", "Look at `autoscaler hosts`.", host)
    return choices, verdict


def _document(service: str, host: str, verdict: Verdict, choices: list[Choice], there: list[str]) -> dict[str, Any]:
    return {
        "service": service,
        "host": host,
        "obstacles": [{"code": verdict.code, "text": verdict.text}] if verdict.code else [],
        "place": verdict.place or None,
        "of": verdict.of,
        "replicas": there,
        "ranking": [
            {
                "host": choice.host,
                "refused": None if choice.refusal is None else choice.refusal.code,
                "why": None if choice.refusal is None else told(choice.refusal),
                "score": None if choice.refusal is not None else choice.score / 1_000_000,
                "scores": {name: value / 1_000_000 for name, value in (choice.scores or {}).items()},
            }
            for choice in choices
        ],
    }


def _tell(service: str, host: str, verdict: Verdict, choices: list[Choice], there: list[str]) -> None:
    print_text(Text(f"{service}: one more replica on {host}", "bold"))
    if there:
        print_text(Text(f"  {', '.join(there)} {'is' if len(there) == 1 else 'are'} there already"))
    if verdict.place > 1:
        print_text(Text(f"  place {verdict.place} of {verdict.of} hosts that would do"))
    if verdict.code:
        print_text(Text.assemble("  ", (verdict.code, "yellow"), f"  {verdict.text}"))
    else:
        print_text(Text(f"  nothing stands against it: {verdict.text}", "green"))
    print_text(Text(""))
    print_rows(["host", "score", "why"], [[choice.host, _score(choice), _detail(choice)] for choice in choices])


def _score(choice: Choice) -> str:
    return "-" if choice.refusal is not None else f"{choice.score / 1_000_000:.3f}"


def _detail(choice: Choice) -> str:
    if choice.refusal is not None:
        return told(choice.refusal)
    return ", ".join(f"{name} {value / 1_000_000:.3f}" for name, value in (choice.scores or {}).items()) or "-"
