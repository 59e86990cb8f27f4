"""What a world of budgets is made of: its services' settings, its budgets, and one service as it is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from autoscaler.core.budgets import GIB, Budget, Kind, Prices
from autoscaler.core.revision import Resources, RevisionSpec
from autoscaler.core.settings import Bounds, ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.simulator.chance import Chance
from autoscaler.simulator.hearing import SimMember
from autoscaler.simulator.hosts import SimHosts
from autoscaler.simulator.log import SimLog
from autoscaler.simulator.owner import Owner
from autoscaler.simulator.properties import Properties
from autoscaler.simulator.script import Script, some_settings

NAMES = ("web", "api", "job", "log", "cdn")
CONFIGURED = "v0"
"""The version of the configuration's own revision."""

SIZES = (250, 500, 1000)
"""Millicores that a replica may reserve."""

PARTITIONS = 32
"""So many that each of `NAMES` has one of its own."""


@dataclass(slots=True)
class Run:
    """One service as it is run. ``member``: whose it is, None for a twin that no budget counts; ``former``: owners that
    do not know that they are not any more; ``turns``: take-overs that were begun."""

    service: str
    settings: ServiceSettings
    script: Script
    chance: Chance
    log: SimLog
    hosts: SimHosts
    properties: Properties
    member: SimMember | None = None
    owner: Owner | None = None
    former: list[tuple[Owner, SimMember]] = field(default_factory=list)
    turns: int = 0
    load: float = 0.0
    twin: Run | None = None
    apart_since: float | None = None

    @property
    def state(self) -> ServiceState:
        """As its owner knows it."""
        return self.owner.state if self.owner is not None else ServiceState(self.service)

    def owners(self) -> list[Owner]:
        """Everyone who believes to own it."""
        everyone = [*(owner for owner, _ in self.former), *([self.owner] if self.owner is not None else [])]
        return [owner for owner in everyone if owner.alive]


def budget_settings(chance: Chance, *, plain: bool) -> ServiceSettings:
    """Of one service. ``plain``: nothing about it depends on how many replicas there are."""
    given = some_settings(chance)
    spec = RevisionSpec(command=("serve", CONFIGURED), resources=Resources(chance.pick(SIZES), 0))
    least = chance.pick([0, 1, 1, 2])
    return replace(
        given,
        target_kind="process",
        revision=chance.pick([spec, spec, spec, None]),
        bounds=Bounds(least, 6, chance.pick([least, max(least, 2), 5])),
        scaling=replace(given.scaling, down_while_unproven=plain or given.scaling.down_while_unproven),
        update=replace(given.update, on_failure="rollback", rollbacks_per_hour=100),
        priority=chance.pick([20, 50, 50, 80]),
        cost_per_hour=chance.pick([None, None, 0, 3]),
    )


def some_budgets(chance: Chance, settings: Mapping[str, ServiceSettings]) -> dict[str, Budget]:
    """Mostly one over all services; at times a second one over some of them."""
    names = tuple(settings)
    found = {"all": Budget("all", frozenset(names), _limits(chance, len(names)), Prices(1, 4, 8))}
    if chance.happens(0.4):
        some = frozenset(names[chance.below(2) :][: 1 + chance.below(len(names))])
        found["some"] = Budget("some", some, _limits(chance, len(some)), Prices(2))
    return found


def _limits(chance: Chance, services: int) -> tuple[tuple[Kind, int], ...]:
    limits: tuple[tuple[Kind, int], ...] = (
        ("replicas", chance.below(4 * services + 1)),
        ("cpu", 250 * chance.below(10 * services)),
        ("memory", GIB),
        ("cost_per_hour", chance.below(12 * services)),
    )
    return chance.pick([limits[:1], limits[:1], limits[1:2], limits[:2], limits[3:], limits[1:]])
