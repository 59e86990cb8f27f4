"""A simulated member as budgets see it: books of its own, which hear of other members' services by the state topic
alone, late.

Dead, it hears nothing; stopped, it hears when it goes on. Whose appends are whose is the world's affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from autoscaler.core.budgets import Budget
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.engine.budgets_seen import BudgetsSeen
from autoscaler.ledger.state_codec import decode_state
from autoscaler.ports.stream import Topic
from autoscaler.simulator.chance import Chance
from autoscaler.simulator.log import SimLog
from autoscaler.simulator.owner import Owner

HEARD_WITHIN_S = 0.8
"""So long a state takes at most from its append to a member that listens."""

FIRST_READ_S = 1.5
"""So long a new member takes at most to read what there is of one log."""


class NotedWatch(Protocol):
    """What the properties are told before a member's own decision is entered into its books."""

    def noted(self, books: SimBooks, state: ServiceState) -> None:
        """A decision has come to this state."""


class SimBooks(BudgetsSeen):
    """The product's books, that tell of what is decided. ``restoring``: what is entered now stood in the stream;
    ``informed``: their member has read everything once."""

    def __init__(self, budgets: Iterable[Budget], services: Mapping[str, ServiceSettings], watch: NotedWatch) -> None:
        super().__init__(budgets, services, known=False)
        self.restoring = False
        self.informed = False
        self._watch = watch

    def note(self, state: ServiceState) -> None:
        """Enter it, after the properties have seen what it is decided by."""
        if not self.restoring and state.service in self.services:
            self._watch.noted(self, state)
        super().note(state)


@dataclass(slots=True)
class States:
    """The states in one service's log, each decoded once."""

    service: str
    log: SimLog
    decoded: list[ServiceState | None] = field(default_factory=list)

    def upto(self, end: int) -> list[ServiceState | None]:
        """The first so many messages; None for what is no state of the service."""
        for message in self.log.topics[Topic.STATE][len(self.decoded) : end]:
            ours = message.key == self.service.encode() and message.value is not None
            self.decoded.append(decode_state(message.value or b"").state if ours else None)
        return self.decoded

    def last(self) -> ServiceState:
        """As the stream has it now."""
        for state in reversed(self.upto(len(self.log.topics[Topic.STATE]))):
            if state is not None:
                return state
        return ServiceState(self.service)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a member works with: time, chance, and what the stream holds of each service."""

    now: Callable[[], float]
    later: Callable[[float, Callable[[], None]], None]
    chance: Chance
    states: Mapping[str, States]


class SimMember:
    """One incarnation of a member. ``owners``: its shards by service; ``deaf_until``: it hears nothing before that."""

    def __init__(self, name: str, around: Surroundings, books: SimBooks) -> None:
        self.name = name
        self.books = books
        self.alive = True
        self.deaf_until = 0.0
        self.owners: dict[str, Owner] = {}
        self._around = around
        self._heard = dict.fromkeys(around.states, 0)
        self._unread = set(around.states)
        books.changed = self._changed
        for service in around.states:
            self._read_at(around.now() + around.chance.within(0.05, FIRST_READ_S), service)

    @property
    def listens(self) -> bool:
        """Whether it has read everything once, and is not late to hear."""
        return self.alive and not self._unread and self.deaf_until <= self._around.now()

    def die(self) -> None:
        """The process ends, here and now."""
        self.alive = False
        for owner in self.owners.values():
            owner.die()

    def hear_from(self, at: float) -> None:
        """It hears nothing before that moment."""
        self.deaf_until = at

    def stop_until(self, at: float) -> None:
        """The machine stands still: nothing is decided and nothing heard."""
        self.hear_from(at)
        for owner in self.owners.values():
            owner.frozen_until = at

    def let_go(self, service: str) -> None:
        """The service is no longer its own."""
        self.owners.pop(service, None)
        if self.alive:
            self.books.let_go([service])

    def since_heard(self, service: str) -> list[ServiceState]:
        """What it heard of the service last, and all that the stream has since: some of it the member may have written
        itself."""
        states = self._around.states[service]
        everything = states.upto(len(states.log.topics[Topic.STATE]))
        heard = [state for state in everything[: self._heard[service]] if state is not None]
        later = [state for state in everything[self._heard[service] :] if state is not None]
        return [heard[-1] if heard else ServiceState(service), *later]

    def appended(self, service: str) -> None:
        """The stream has more of the service; the member will hear of it."""
        end = len(self._around.states[service].log.topics[Topic.STATE])
        at = self._around.now() + self._around.chance.within(0.01, HEARD_WITHIN_S)
        self._around.later(at, lambda: self._hear(service, end))

    def _hear(self, service: str, end: int) -> None:
        """What stands before ``end``, in order, unless it was heard already or is still to be read a first time."""
        if not self.alive or self._unread:
            return
        if self._around.now() < self.deaf_until:
            self._around.later(self.deaf_until, lambda: self._hear(service, end))
            return
        self._take(service, end)

    def _take(self, service: str, end: int) -> None:
        start = self._heard[service]
        self._heard[service] = max(start, end)
        for state in self._around.states[service].upto(end)[start:end]:
            if state is not None:
                self.books.hear(state)

    def _read_at(self, at: float, service: str) -> None:
        self._around.later(at, lambda: self._read(service))

    def _read(self, service: str) -> None:
        """The first reading of one log, to its present end; after the last of them all is known."""
        if not self.alive:
            return
        if self._around.now() < self.deaf_until:
            self._read_at(self.deaf_until, service)
            return
        self._take(service, len(self._around.states[service].log.topics[Topic.STATE]))
        self._unread.discard(service)
        if not self._unread:
            self.books.informed = True
            self.books.all_heard()
            for name in self._around.states:
                self.appended(name)

    def _changed(self) -> None:
        """Whoever owns something looks again."""
        now = self._around.now()
        for owner in self.owners.values():
            owner.wake(now + self._around.chance.within(0.0, 0.05))
