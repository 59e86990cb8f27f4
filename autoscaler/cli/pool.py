"""What the hosts themselves show, asked through the target adapters within a bounded time; for commands that look."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from autoscaler.cli.wiring import targets_of
from autoscaler.configuration.settings import Configuration
from autoscaler.core.world import HostView, ObservedReplica
from autoscaler.errors import TargetError
from autoscaler.ports.target import HostListing, Target

LOOK_S = 3.0
"""How long the hosts may take; what has not answered by then counts as unknown."""
CLOSE_S = 2.0

PROCESS_HOST = "local"
"""The one host of a process target."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One replica as its host shows it, and the name of its target."""

    target: str
    replica: ObservedReplica


@dataclass(frozen=True, slots=True)
class PoolView:
    """The listings by target, and in words what could not be asked; of the targets in ``silent`` not all is known."""

    listings: dict[str, Sequence[HostListing]]
    problems: tuple[str, ...]
    silent: frozenset[str]
    by_service: Mapping[str, Sequence[Sighting]]

    def sightings(self, service: str) -> Sequence[Sighting]:
        """The replicas of a service, by slot."""
        return self.by_service.get(service, ())

    def hosts(self) -> list[tuple[str, HostView, str]]:
        """Target, host, and why the host could not be asked (empty where it could)."""
        return [(name, one.host, one.error) for name, listings in self.listings.items() for one in listings]


@asynccontextmanager
async def opened_targets(
    configuration: Configuration, names: Iterable[str] | None = None
) -> AsyncIterator[dict[str, Target]]:
    """The targets of those names, or all, opened; let go of afterwards."""
    wanted = set(configuration.targets) if names is None else set(names)
    targets = {name: target for name, target in targets_of(configuration).items() if name in wanted}
    try:
        yield targets
    finally:
        closing = [asyncio.ensure_future(target.close()) for target in targets.values()]
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_S)


async def look(targets: dict[str, Target], timeout_s: float = LOOK_S) -> PoolView:
    """What the hosts show, all targets asked side by side."""
    asking = {name: asyncio.ensure_future(_ask(target)) for name, target in targets.items()}
    if asking:
        await asyncio.wait(asking.values(), timeout=timeout_s)
    listings: dict[str, Sequence[HostListing]] = {}
    problems: list[str] = []
    silent: set[str] = set()
    for name, task in asking.items():
        if not task.done():
            task.cancel()
            problems.append(f"target {name} has not answered within {timeout_s:g} s")
            silent.add(name)
            continue
        error = task.exception()
        if isinstance(error, TargetError):
            problems.append(f"target {name}: {error}")
            silent.add(name)
            continue
        listings[name] = task.result()
        unasked = [one for one in listings[name] if one.error]
        problems += [f"host {one.host.name}: {one.error.removeprefix(f'host {one.host.name}: ')}" for one in unasked]
        silent |= {name} if unasked else set()
    return PoolView(listings, tuple(problems), frozenset(silent), _by_service(listings))


def _by_service(listings: Mapping[str, Sequence[HostListing]]) -> Mapping[str, Sequence[Sighting]]:
    found: dict[str, list[Sighting]] = {}
    for target, listed in listings.items():
        for listing in listed:
            for replica in listing.replicas:
                found.setdefault(replica.service, []).append(Sighting(target, replica))
    for sightings in found.values():
        sightings.sort(key=lambda sighting: (sighting.replica.slot, sighting.replica.attempt))
    return found


async def _ask(target: Target) -> Sequence[HostListing]:
    await target.open()
    return await target.list_replicas()
