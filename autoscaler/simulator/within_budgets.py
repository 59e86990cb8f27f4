"""The properties of budgets over services: judged by records, by what the stream holds and by what each decider knew.
What a service takes is worked out anew here, with nothing of the books. Called by `autoscaler.simulator.budgets`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from autoscaler.core.actions import Action
from autoscaler.core.budgets import Account, Amounts, Budget, shares
from autoscaler.core.evolve import evolve
from autoscaler.core.records import Record
from autoscaler.core.rollout import Retired
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.ports.stream import Append
from autoscaler.simulator.edits import violated
from autoscaler.simulator.hearing import HEARD_WITHIN_S, SimBooks
from autoscaler.simulator.owner import Owner
from autoscaler.simulator.properties import Properties

OVER_MAX_S = HEARD_WITHIN_S + 0.5
"""How long services may have more than a budget allows: until each has heard of the other, and has had its turn."""

TURNS_BACK_MAX = 2
"""So often a service may turn from more to less or back while nobody asks for anything else: two that took the same
room both give it back, and one of them has some of it again."""


class WithinBudgets:
    """Watches all services of a world. ``alone``: one member owns all of them. ``calm_from``: no demand moves from then
    on."""

    def __init__(self, budgets: Mapping[str, Budget], settings: Mapping[str, ServiceSettings], *, alone: bool) -> None:
        self.budgets = budgets
        self.settings = settings
        self.alone = alone
        self.calm_from: float | None = None
        self.cut = self.raised = 0
        self.over_longest_s = 0.0
        self._over_since: dict[str, float] = {}
        self._ways: dict[str, list[int]] = {}
        self._asked: dict[str, tuple[object, ...]] = {}

    def beside(self, properties: Properties) -> _Both:
        """Both are told what an owner does."""
        return _Both(self, properties)

    # What a service takes.

    def account(self, state: ServiceState, budget: Budget) -> Account:
        """By the larger of the revisions that run or are wanted; a service that is retired has nothing, and one that is
        frozen asks for nothing else than it has."""
        settings = self.settings[state.service]
        running = {state.revision, *(replica.revision for replica in state.replicas)}
        sizes = [r.spec.resources for r in state.revisions if r.number in running]
        cpu = max((size.cpu_millis for size in sizes), default=0)
        memory = max((size.memory_bytes for size in sizes), default=0)
        price = settings.cost_per_hour
        if price is None:
            price = max((budget.prices.of(size) for size in sizes), default=budget.prices.replica)
        kinds = {"replicas": 1, "cpu": cpu, "memory": memory, "cost_per_hour": price}
        unit = tuple(kinds[kind] for kind, _ in budget.limits)
        demand = 0 if isinstance(state.rollout, Retired) else state.demand
        frozen = state.freeze is not None and state.freeze.scope == "all"
        asking = demand if state.asked is None or frozen else state.asked
        return Account(state.service, settings.priority, min(settings.bounds.min, asking), demand, asking, unit)

    def _of(self, service: str) -> list[Budget]:
        return [budget for budget in self.budgets.values() if service in budget.services]

    # By what a decider knows.

    def noted(self, books: SimBooks, state: ServiceState) -> None:
        """Whoever grows takes what is free by its own books, and nothing before it knows what others have; whoever is
        cut could not be left what it had."""
        needless = []
        for budget in self._of(state.service):
            accounts = books.books[budget.name].accounts
            before, after = accounts.get(state.service), self.account(state, budget)
            others = [one for one in accounts.values() if one.service != state.service]
            had = 0 if before is None else before.demand
            if after.demand > max(after.least, had):
                text = f"{state.service} grew to {after.demand} of {after.asking} in budget {budget.name}"
                self._check_growth(books, budget, [*others, after], after, text)
            kept = min(had, after.asking)
            # A larger revision may go in the very decision, after the demand was cut for it.
            unit = after.unit if before is None else tuple(map(max, before.unit, after.unit))
            needless.append(after.demand < kept and _leaves(budget, others, replace(after, demand=kept, unit=unit)))
        if needless and all(needless):
            raise violated("needless", state.updated_at, f"{state} was cut for the sake of equals: {books.books}")

    @staticmethod
    def _check_growth(books: SimBooks, budget: Budget, accounts: Sequence[Account], after: Account, text: str) -> None:
        if not books.informed:
            raise violated("known", 0.0, f"{text} before it knew of others")
        for most, taken, each in zip(budget.most, _taken(accounts), after.unit, strict=True):
            if each and taken > most:
                raise violated("free", 0.0, f"{text}: {taken} of {most} taken; {accounts}")

    # By records.

    def decided(self, records: Sequence[Record], before: ServiceState, at: float) -> None:
        """Each change by itself."""
        state = before
        for record in records:
            if record.service != before.service:
                continue
            after = evolve(state, record)
            self._check_clamp(state, after, record, at)
            if record.reason.code == "budget" and not record.proposals and after.asking != state.asking:
                text = f"{state.service}: a budget made {after.asking} of {state.asking} that were asked for"
                raise violated("asked", at, text)
            state = after
        self._check_ways(before, state, at)

    def _check_clamp(self, before: ServiceState, after: ServiceState, record: Record, at: float) -> None:
        """What is granted is never below the least number, and whatever is less than asked for says by which budget."""
        service = before.service
        least = min(self.settings[service].bounds.min, after.asking)
        clamps = [clamp for clamp in record.clamps if clamp.guard == "budget"]
        if after.asked is not None and after.asked <= after.demand:
            raise violated("asked", at, f"{service} asks for {after.asked}, has {after.demand}")
        if any(clamp.after < least for clamp in clamps) or (after.asked is not None and after.demand < least):
            raise violated("least", at, f"{service} is granted {after.demand}, its least is {least}: {record}")
        if (after.demand, after.asking) == (before.demand, before.asking) or after.demand == after.asking:
            return
        names = [budget.name for budget in self._of(service)]
        said = [c for c in clamps if (c.before, c.after) == (after.asking, after.demand)]
        if not said or not any(f"budget {name}" in said[0].text for name in names):
            raise violated("clamp", at, f"{service} has {after.demand} of {after.asking}: {record.reason} {clamps}")

    # By what everybody asks for.

    def unrest(self) -> None:
        """Something other than a wish has changed: what went up may go down."""
        self._ways.clear()

    def _check_ways(self, before: ServiceState, after: ServiceState, at: float) -> None:
        """No service is cut and grown again where nobody asks for anything else."""
        service = before.service
        units = [self.account(after, budget).unit for budget in self._of(service)]
        resized = units != [self.account(before, budget).unit for budget in self._of(service)]
        asked = (after.asking, after.freeze, *units)
        if self._asked.get(service) != asked:
            self._asked[service] = asked
            self._ways.clear()
        if after.demand == before.demand:
            return
        self.raised += int(after.demand > before.demand)
        self.cut += int(after.demand < before.demand)
        if self.calm_from is not None:
            text = f"{service}: {before.demand} -> {after.demand}, long after the last wish"
            raise violated("rest", at, text)
        if resized:
            return  # cut for a larger revision that went in the same decision, it grows again
        ways = self._ways.setdefault(service, [])
        ways.append(1 if after.demand > before.demand else -1)
        back = sum(1 for one, other in pairwise(ways) if one != other)
        if back > (0 if self.alone else TURNS_BACK_MAX) or len(ways) > self.settings[service].bounds.max:
            raise violated("ping-pong", at, f"{service} went {ways} while nobody asked for anything else")

    # By what the stream holds.

    def check(self, states: Mapping[str, ServiceState], excused: frozenset[str], at: float) -> None:
        """What is taken beyond a budget is given back soon, but where somebody cannot: those are ``excused``."""
        for name, budget in self.budgets.items():
            accounts = [self.account(states[service], budget) for service in sorted(budget.services)]
            over = any(taken > most for taken, most in zip(_taken(accounts), _ceiling(budget, accounts), strict=True))
            if not over or not excused.isdisjoint(budget.services):
                self._over_since.pop(name, None)
                continue
            since = self._over_since.setdefault(name, at)
            self.over_longest_s = max(self.over_longest_s, at - since)
            if at - since > OVER_MAX_S:
                raise violated("over", at, f"budget {name} {budget.limits} for {at - since:.1f} s: {accounts}")

    # At the end.

    def finish(self, states: Mapping[str, ServiceState], members: Sequence[SimBooks], at: float) -> None:
        """Each has its share of what all of them ask for, and every member knows it."""
        granted: dict[str, int] = {}
        for name, budget in self.budgets.items():
            accounts = {s: self.account(states[s], budget) for s in sorted(budget.services)}
            for service, share in shares(budget.most, accounts.values()).items():
                granted[service] = min(share, granted.get(service, share))
            for taken, most in zip(
                _taken(list(accounts.values())), _ceiling(budget, list(accounts.values())), strict=True
            ):
                if taken > most:
                    raise violated("over", at, f"budget {name}: {taken} of {most}: {accounts}")
            for books in members:
                known = {s: one for s, one in books.books[name].accounts.items() if one.demand or one.asking}
                there = {s: one for s, one in accounts.items() if one.demand or one.asking}
                if known != there or books.books[name].used != _taken(list(accounts.values())):
                    raise violated("books", at, f"budget {name}: {known} known, {there} there")
            self._check_priority(budget, accounts, at)
        demands = {service: states[service].demand for service in granted}
        if demands != granted:
            raise violated("shares", at, f"{granted} granted, {demands} there: {states}")

    def _check_priority(self, budget: Budget, accounts: Mapping[str, Account], at: float) -> None:
        """Nobody is short of what those of lower priority have beyond their least number, or of what nobody has; but
        where one of them is in a second budget as well, it may be kept from what is left for it here."""
        if any(len(self._of(service)) > 1 for service in accounts):
            return
        for one in accounts.values():
            if one.demand >= one.asking:
                continue
            left = [
                other.takes(other.least if other.priority < one.priority else other.demand)
                for other in accounts.values()
            ]
            kept = tuple(sum(column) for column in zip(*left, strict=True))
            if all(taken + each <= most for taken, each, most in zip(kept, one.unit, budget.most, strict=True)):
                raise violated("priority", at, f"{one} is short in budget {budget.name}: {accounts}")


def _taken(accounts: Sequence[Account]) -> Amounts:
    return tuple(sum(column) for column in zip(*(one.takes(one.demand) for one in accounts), strict=True))


def _leaves(budget: Budget, others: Sequence[Account], one: Account) -> bool:
    """Whether a service may keep what it has: what those of higher priority ask for, what equals have and what lower
    ones have to have fit beside it."""
    beside = [
        other.takes(
            max(other.demand, other.asking)
            if other.priority > one.priority
            else other.demand
            if other.priority == one.priority
            else other.least
        )
        for other in others
    ]
    taken = tuple(sum(column) for column in zip(one.takes(one.demand), *beside, strict=True))
    return all(all_ <= most or not each for all_, most, each in zip(taken, budget.most, one.unit, strict=True))


def _ceiling(budget: Budget, accounts: Sequence[Account]) -> Amounts:
    """The limits, or what the least numbers take where that is more."""
    floor = tuple(sum(column) for column in zip(*(one.takes(one.least) for one in accounts), strict=True))
    return tuple(max(most, least) for most, least in zip(budget.most, floor, strict=True))


class _Both:
    """What an owner tells: to the properties of its service, and to those of budgets."""

    def __init__(self, within: WithinBudgets, properties: Properties) -> None:
        self._within = within
        self._properties = properties

    def decided(
        self, owner: Owner, append: Append, records: Sequence[Record], before: ServiceState, after: ServiceState
    ) -> None:
        """Records became durable."""
        self._properties.decided(owner, append, records, before, after)
        self._within.decided(records, before, owner.now)

    def acting(self, owner: Owner, actions: Sequence[Action]) -> None:
        """These actions are about to be carried out."""
        self._properties.acting(owner, actions)
