"""Who owns what in a world of budgets: members with books of their own, owners that come, die and overlap.

A base of `autoscaler.simulator.budgets`, which says what happens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from autoscaler.core.state import ServiceState
from autoscaler.engine.budgets_seen import NO_BUDGETS
from autoscaler.engine.intake import home_partition
from autoscaler.engine.shard import ShardSetup
from autoscaler.simulator.agenda import EPOCH, Agenda
from autoscaler.simulator.budget_parts import CONFIGURED, NAMES, PARTITIONS, Run, budget_settings, some_budgets
from autoscaler.simulator.chance import Chance
from autoscaler.simulator.edits import violated
from autoscaler.simulator.hearing import SimBooks, SimMember, States, Surroundings
from autoscaler.simulator.hosts import SimHosts
from autoscaler.simulator.log import Fate, SimLog
from autoscaler.simulator.owner import CrashPoint, Owner, OwnerParts, SimVoter
from autoscaler.simulator.properties import Properties
from autoscaler.simulator.script import Script
from autoscaler.simulator.within_budgets import WithinBudgets


class OwnedRuns:
    """The services of a world, their twins in a ``plain`` one, and the members that own them."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = chance = Chance(seed)
        self.now = EPOCH
        self.agenda = Agenda()
        self.calm_from: float | None = None
        self.crash_at: CrashPoint | None = None
        self.plain = chance.happens(0.25)
        names = NAMES[: 2 + chance.below(4)]
        self.settings = {name: budget_settings(chance, plain=self.plain) for name in names}
        self.budgets = some_budgets(chance, self.settings)
        count = 1 + chance.below(3)
        self.within = WithinBudgets(self.budgets, self.settings, alone=count == 1)
        self.runs = {name: self._run(name) for name in names}
        if self.plain:
            for one in self.runs.values():
                one.twin = self._run(one.service)
        self.everything = [*self.runs.values(), *(one.twin for one in self.runs.values() if one.twin is not None)]
        self.states = {name: States(name, one.log) for name, one in self.runs.items()}
        self.members = [self._member(f"m{number}") for number in range(1, count + 1)]

    def _run(self, service: str) -> Run:
        chance = Chance(self.chance.bits())
        settings, log = self.settings[service], SimLog()

        def changed(host: str) -> None:
            for owner in made.owners():
                delay_s = chance.within(0.0, 0.3)
                self.later(self.now + delay_s, lambda owner=owner: owner.told(host, self.now))  # type: ignore[misc]

        hosts = SimHosts([("h1", "z0"), ("h2", "z1")], chance, self.later, changed)
        hosts.now, hosts.faults = self.now, not self.plain
        properties = Properties(settings, hosts, log, service)
        properties.accepted_versions.add(CONFIGURED)
        made = Run(service, settings, Script(chance, settings, service), chance, log, hosts, properties)
        hosts.fates = made.script.fates
        made.load = 10.0 * self.chance.below(7)
        return made

    def _member(self, name: str) -> SimMember:
        books = SimBooks(self.budgets.values(), self.settings, self.within)
        return SimMember(name, Surroundings(lambda: self.now, self.later, self.chance, self.states), books)

    def later(self, at: float, do: Callable[[], None]) -> None:
        """Do something at a moment to come."""
        self.agenda.add(max(at, self.now), do)

    # Owners.

    def bury(self, one: Run) -> None:
        """Owners that have ended: what was theirs is let go, or taken over again by the same member."""
        for owner, member in [pair for pair in one.former if not pair[0].alive]:
            one.former.remove((owner, member))
            if one.member is not member:
                self.let_go(one, member)
        if one.owner is not None and not one.owner.alive:
            one.owner = None
            self.own_in(one, one.member, 0.1, 3.0)

    def own_in(self, one: Run, member: SimMember | None, low: float, high: float) -> None:
        """The member, or another where it has ended by then, takes the service over."""
        one.turns += 1
        turn = one.turns

        def begin() -> None:
            if one.turns != turn:
                return
            alive = [other for other in self.members if other.alive]
            if not alive:
                self.own_in(one, member, low, high)
            else:
                self.own(one, member if member in alive else self.chance.pick(alive))

        self.later(self.now + self.chance.within(low, high), begin)

    def own(self, one: Run, member: SimMember) -> None:
        """The member takes the service over, here and now; a former owner elsewhere finds out some time later."""
        one.turns += 1
        before, owner = one.member, one.owner
        if before is member and owner is not None:
            owner.die()
        elif before is not None and before is not member:
            if owner is None:
                self.let_go(one, before)
            else:
                one.former.append((owner, before))
                self.later(self.now + self.chance.within(0.5, 4.0), owner.die)
        member.books.restoring = True
        one.owner = self.owner(one, member)
        member.books.restoring = False
        one.member = member
        member.owners[one.service] = one.owner
        self._check_restored(one, member.books)

    def owner(self, one: Run, member: SimMember | None) -> Owner:
        """A new owner, a member's or a twin's."""

        def setup(owner: Owner) -> ShardSetup:
            return ShardSetup(
                cluster="sim",
                member=owner.name,
                partitions=PARTITIONS,
                services={one.service: one.settings},
                voter=SimVoter(),
                look=owner.world,
                budgets=NO_BUDGETS if member is None else member.books,
            )

        parts = OwnerParts(
            one.log,
            one.hosts,
            one.chance,
            self.later,
            one.properties if member is None else self.within.beside(one.properties),
            self._append_fate,
            lambda point: member is not None and self._crashes(point, member),
            lambda: 0.0,
            one.service,
            home_partition(one.service, PARTITIONS),
        )
        owner = Owner("twin" if member is None else member.name, parts, setup, self.now)
        one.properties.taken_over(self.now, owner.token)
        return owner

    def let_go(self, one: Run, member: SimMember) -> None:
        """The service is not the member's any more: its books have what it heard, or wrote itself since."""
        member.let_go(one.service)
        if member.alive:
            self._check_known(one.service, member.since_heard(one.service), member.books, "let go")

    def _check_restored(self, one: Run, books: SimBooks) -> None:
        """A new owner goes on with what the stream has, and its books say so."""
        durable = self.states[one.service].last()
        if (one.state.demand, one.state.asking) != (durable.demand, durable.asking):
            raise violated("restart", self.now, f"{one.state} is not {durable}")
        self._check_known(one.service, [durable], books, "restart")

    def _check_known(self, service: str, states: Sequence[ServiceState], books: SimBooks, name: str) -> None:
        """The books have the service as it is in one of these states."""
        for budget in self.budgets.values():
            known = books.books[budget.name].accounts.get(service)
            if service in budget.services and known not in [self.within.account(state, budget) for state in states]:
                raise violated(name, self.now, f"{known} in budget {budget.name} for {states}")

    def _append_fate(self) -> Fate:
        if self.calm_from is not None or self.plain:
            return "done"
        return self.chance.weighted([(100.0, "done"), (1.0, "unavailable"), (1.0, "lost"), (1.0, "unknown")])

    def _crashes(self, point: CrashPoint, member: SimMember) -> bool:
        if self.calm_from is not None or self.crash_at != point:
            return False
        self.crash_at = None
        self._end(member)
        return True

    def _end(self, member: SimMember) -> None:
        """The process dies; one of its name comes back."""
        member.die()
        place = self.members.index(member)

        def again() -> None:
            self.members[place] = self._member(member.name)

        self.later(self.now + self.chance.within(0.2, 4.0), again)
