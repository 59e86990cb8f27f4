"""Budgets over services: who may have how many replicas where several ask for more than a budget allows. Pure.

Rules: every service has its least number, whatever it costs; then priority decides, the highest first, its growth too;
among equals what is there comes before what is asked for, and what is left is shared max-min fairly. A service grows
only into what is free by the demands known, so that those who lose give way first; one that has more than its share
gives way at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from autoscaler.core.revision import Resources
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import ServiceState

Kind = Literal["replicas", "cpu", "memory", "cost_per_hour"]
KINDS: tuple[Kind, ...] = ("replicas", "cpu", "memory", "cost_per_hour")
Amounts = tuple[int, ...]
"""So much of each kind that a budget limits, in the order of its limits: replicas, millicores, bytes, millionths."""

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Prices:
    """What is paid an hour, in millionths of the operator's currency: a replica, a core of it, a GiB of it."""

    replica: int = 0
    cpu: int = 0
    memory: int = 0

    def of(self, resources: Resources) -> int:
        """One replica that reserves so much."""
        cpu, memory = self.cpu * resources.cpu_millis, self.memory * resources.memory_bytes
        return self.replica + -(-cpu // 1000) + -(-memory // GIB)


@dataclass(frozen=True, slots=True)
class Budget:
    """What services may have together: ``limits`` of at least one kind. ``prices`` of a service that names none."""

    name: str
    services: frozenset[str]
    limits: tuple[tuple[Kind, int], ...]
    prices: Prices = Prices()

    @property
    def most(self) -> Amounts:
        """The limits alone."""
        return tuple(limit for _, limit in self.limits)

    def unit(self, resources: Resources, cost: int | None) -> Amounts:
        """What one replica takes of each limited kind; ``cost`` in millionths an hour, None: by ``prices``."""
        takes: dict[Kind, int] = {
            "replicas": 1,
            "cpu": resources.cpu_millis,
            "memory": resources.memory_bytes,
            "cost_per_hour": self.prices.of(resources) if cost is None else cost,
        }
        return tuple(takes[kind] for kind, _ in self.limits)


@dataclass(frozen=True, slots=True)
class Account:
    """One service as a budget sees it: ``asking`` is what it would have without budgets, ``least`` what it keeps."""

    service: str
    priority: int
    least: int
    demand: int
    asking: int
    unit: Amounts

    def takes(self, replicas: int) -> Amounts:
        """Of each kind, with so many replicas."""
        return tuple(each * replicas for each in self.unit)


def account_of(state: ServiceState, settings: ServiceSettings, budget: Budget) -> Account:
    """The account of a service. While a rollout is under way its larger revision counts. In a freeze of all it asks for
    what it has: it cannot have more, so nobody is to give way for it."""
    specs = [kept.spec.resources for kept in state.revisions if kept.number in _running(state)]
    each = [budget.unit(resources, settings.cost_per_hour) for resources in specs or [Resources()]]
    unit = tuple(max(column) for column in zip(*each, strict=True))
    frozen = state.freeze is not None and state.freeze.scope == "all"
    asking = state.demand if frozen else state.asking
    return Account(state.service, settings.priority, min(settings.bounds.min, asking), state.demand, asking, unit)


def _running(state: ServiceState) -> set[int]:
    return {state.revision, *(replica.revision for replica in state.replicas)}


def shares(most: Amounts, accounts: Iterable[Account]) -> dict[str, int]:
    """How many replicas each service may have, by what all of them have and ask for."""
    ordered = sorted(accounts, key=lambda one: (-one.priority, one.service))
    granted = {one.service: one.least for one in ordered}
    room = list(most)
    for one in ordered:
        _take(room, one, one.least)
    for _, group in groupby(ordered, key=lambda one: one.priority):
        peers = list(group)
        _fill(peers, {one.service: min(one.demand, one.asking) for one in peers}, room, granted)
        _fill(peers, {one.service: one.asking for one in peers}, room, granted)
    return granted


def _fill(peers: Sequence[Account], wanted: Mapping[str, int], room: list[int], granted: dict[str, int]) -> None:
    """Max-min fairly by progressive filling (Bertsekas and Gallager, Data Networks, 6.5.2): who has least rises first,
    all rise together, and who no longer fits stops. ``wanted`` and ``granted``: all that each is to have, and has."""
    rising = [one for one in peers if granted[one.service] < wanted[one.service]]
    while rising:
        level = _level(rising, wanted, room, granted)
        for one in rising:
            _grant(one, min(wanted[one.service], level) - granted[one.service], room, granted)
        # One more each, in the order of names, is what is left of a level that is no whole number.
        stay = []
        for one in rising:
            has = granted[one.service]
            if has == wanted[one.service] or not _fits(room, one.unit):
                continue
            if has == level:
                _grant(one, 1, room, granted)
            if granted[one.service] < wanted[one.service]:
                stay.append(one)
        rising = stay


def _grant(account: Account, more: int, room: list[int], granted: dict[str, int]) -> None:
    if more > 0:
        _take(room, account, more)
        granted[account.service] += more


def _level(
    rising: Sequence[Account], wanted: Mapping[str, int], room: Sequence[int], granted: Mapping[str, int]
) -> int:
    """The highest number that each of them may have, or all it wants where that is less; who has more keeps it."""
    low, high = min(granted[one.service] for one in rising), max(wanted[one.service] for one in rising)
    middle = high  # all of it, before anything is searched for
    while low < high:
        need = [0] * len(room)
        for one in rising:
            more = min(wanted[one.service], middle) - granted[one.service]
            if more > 0:
                for kind, each in enumerate(one.unit):
                    need[kind] += each * more
        if all(taken <= max(0, left) for taken, left in zip(need, room, strict=True)):
            low = middle
        else:
            high = middle - 1
        middle = (low + high + 1) // 2
    return low


def _take(room: list[int], account: Account, replicas: int) -> None:
    for kind, each in enumerate(account.unit):
        room[kind] -= each * replicas


def _fits(room: Sequence[int], unit: Amounts) -> bool:
    return all(each <= max(0, left) for each, left in zip(unit, room, strict=True))


def fit(free: Amounts, unit: Amounts) -> int | None:
    """How many more replicas fit into what is free; None where nothing of it is limited for this service."""
    counts = [max(0, left) // each for left, each in zip(free, unit, strict=True) if each > 0]
    return min(counts, default=None)


def spent(kinds: Sequence[Kind], free: Amounts, unit: Amounts) -> tuple[Kind, ...]:
    """The kinds of which one more replica does not find enough."""
    return tuple(kind for kind, left, each in zip(kinds, free, unit, strict=True) if each > 0 and left < each)
