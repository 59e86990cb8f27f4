"""`autoscaler logs` and `endpoints`: what the hosts themselves tell of the replicas."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from autoscaler.cli.connecting import opened_client
from autoscaler.cli.context import (
    configured_service,
    ending,
    print_json,
    read_configuration,
    say,
)
from autoscaler.cli.options import Config, Json, Service, chosen
from autoscaler.cli.pool import PoolView, Sighting, look, opened_targets
from autoscaler.cli.reading import snapshot
from autoscaler.cli.tables import print_rows
from autoscaler.configuration.settings import Configuration
from autoscaler.errors import AutoscalerError, TargetError
from autoscaler.ports.target import Target

TAIL = 100
LOOK_AGAIN_S = 1.0
"""How often `logs --follow` looks for replicas that came since."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("logs", no_args_is_help=True)(_logs)
    app.command("endpoints", no_args_is_help=True)(_endpoints)


def _logs(
    context: typer.Context,
    service: Service,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now.")] = False,
    tail: Annotated[int, typer.Option("--tail", "-n", min=0, help="Begin with so many lines of each replica.")] = TAIL,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print the output of a service's replicas, each line with its replica's name."""
    with ending(as_json=as_json):
        configuration = read_configuration(chosen(context, config))
        configured_service(configuration, service)
        asyncio.run(_Output(configuration, service, follow=follow, tail=tail, as_json=as_json).run())


class _Output:
    def __init__(self, configuration: Configuration, service: str, *, follow: bool, tail: int, as_json: bool) -> None:
        self._configuration = configuration
        self._service = service
        self._follow = follow
        self._tail = tail
        self._as_json = as_json
        self._prefix = f"{configuration.cluster}.{service}."
        self._followed: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Print what is there, and go on where that is asked for."""
        name = self._configuration.services[self._service].target
        async with opened_targets(self._configuration, [name]) as targets:
            target = targets[name]
            pool = await look(targets)
            found = pool.sightings(self._service)
            for problem in pool.problems:
                say(f"note: {problem}")
            if not found and not self._follow:
                say(f"no replica of {self._service} is there" + (", as far as its hosts tell" if pool.problems else ""))
            if not self._follow:
                for sighting in found:
                    await self._copy(target, sighting, self._tail)
                return
            try:
                await self._follow_all(target, found)
            finally:
                for task in self._followed.values():
                    task.cancel()

    async def _follow_all(self, target: Target, found: Sequence[Sighting]) -> None:
        tail = self._tail
        while True:
            for sighting in found:
                if sighting.replica.id not in self._followed:
                    self._followed[sighting.replica.id] = asyncio.ensure_future(self._copy(target, sighting, tail))
            # A replica that comes later is shown from its first line.
            tail = max(TAIL, self._tail)
            done, _ = await asyncio.wait(self._followed.values(), timeout=LOOK_AGAIN_S) if self._followed else ((), ())
            for task in done:
                task.result()
            if not self._followed or done:
                await asyncio.sleep(LOOK_AGAIN_S)
            found = (await look({target.name: target})).sightings(self._service)

    async def _copy(self, target: Target, sighting: Sighting, tail: int) -> None:
        name = sighting.replica.name.removeprefix(self._prefix)
        try:
            async for line in target.logs(sighting.replica, follow=self._follow, tail=tail):
                self._print(name, line.decode(errors="replace"))
        except TargetError as error:
            say(f"note: {name}: {error}")

    def _print(self, name: str, line: str) -> None:
        if self._as_json:
            print_json({"replica": name, "line": line})
        else:
            sys.stdout.write(f"{name} | {line}\n")
        if self._follow:
            sys.stdout.flush()


def _endpoints(context: typer.Context, service: Service, config: Config = None, as_json: Json = False) -> None:
    """Print where the running replicas of a service are reached."""
    with ending(as_json=as_json):
        configuration = read_configuration(chosen(context, config))
        configured_service(configuration, service)
        pool, available = asyncio.run(_addresses(configuration, service))
        settings = configuration.services[service]
        route = None if settings.route is None else settings.route.listen or f"router {settings.route.router}"
        found = _endpoint_documents(configuration, service, pool, available)
        for problem in pool.problems:
            say(f"note: {problem}")
        if as_json:
            print_json({"service": service, "route": route, "endpoints": found})
            return
        if route is not None:
            say(f"routed at {route}")
        if not found:
            say(f"no replica of {service} with a port runs")
            return
        columns = ["replica", "port", "address", "revision", "host", "available"]
        print_rows(columns, [[_cell(one[column]) for column in columns] for one in found])


async def _addresses(configuration: Configuration, service: str) -> tuple[PoolView, frozenset[tuple[int, int]]]:
    """The replicas as their hosts show them, and slot and attempt of those that the state has as available."""
    available: frozenset[tuple[int, int]] = frozenset()
    async with opened_targets(configuration, [configuration.services[service].target]) as targets:
        looking = asyncio.ensure_future(look(targets))
        try:
            async with opened_client(configuration) as client:
                state = (await snapshot(client, service)).states.get(service)
        except AutoscalerError as error:
            say(f"note: which of them are available is not known: {error}")
            state = None
        if state is not None:
            available = frozenset((r.slot, r.attempt) for r in state.replicas if r.available_at is not None)
        return await looking, available


def _endpoint_documents(
    configuration: Configuration, service: str, pool: PoolView, available: frozenset[tuple[int, int]]
) -> list[dict[str, Any]]:
    prefix = f"{configuration.cluster}.{service}."
    return [
        {
            "replica": sighting.replica.name.removeprefix(prefix),
            "port": port,
            "address": address,
            "revision": sighting.replica.revision,
            "host": sighting.replica.host,
            "available": (sighting.replica.slot, sighting.replica.attempt) in available,
        }
        for sighting in pool.sightings(service)
        if sighting.replica.condition == "running"
        for port, address in sorted(sighting.replica.address.items())
    ]


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) or "-"
