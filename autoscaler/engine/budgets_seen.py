"""The budgets' books as one member keeps them: of its own services what is being decided, of all others what the state
topic said last. Shared by the member's shards; no I/O.

Eventually exact: two members may spend the same room within the time that a record takes from one to the other, and
both go back to their shares once they know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from autoscaler.core.books import Book
from autoscaler.core.budgets import Budget, account_of
from autoscaler.core.grants import UNLIMITED, Grant, Grants
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import ServiceState

AT_ONCE = 500
"""Services that follow the books in one turn, so that no turn takes as long as a lease lasts."""


class BudgetsSeen:
    """``version`` grows with every change of a book; ``changed`` is told of those that a demand may have to follow.

    ``known``: what members other than this one decided has been read once; it is for a member that is alone as well.
    """

    def __init__(
        self, budgets: Iterable[Budget], services: Mapping[str, ServiceSettings], *, known: bool = True
    ) -> None:
        self.books = {budget.name: Book(budget, known=known) for budget in budgets}
        self.version = 0
        self.changed: Callable[[], None] = lambda: None
        self._services = services
        self._books_of: dict[str, list[Book]] = {}
        for book in self.books.values():
            for service in book.budget.services:
                self._books_of.setdefault(service, []).append(book)
        self._own: set[str] = set()
        self._heard: dict[str, ServiceState] = {}

    @property
    def may_unsettle(self) -> bool:
        """Whether a demand may be other than what budgets grant."""
        return any(book.may_unsettle for book in self.books.values())

    @property
    def services(self) -> frozenset[str]:
        """The services that a budget counts."""
        return frozenset(self._books_of)

    def note(self, state: ServiceState) -> None:
        """A service of this member is, or is about to be, in this state."""
        if state.service in self._books_of:
            self._own.add(state.service)
            self._enter(state)

    def written(self, state: ServiceState) -> None:
        """The stream has this state of a service of this member, which reads the state topic later."""
        if state.service in self._books_of:
            self._heard[state.service] = state

    def let_go(self, services: Iterable[str]) -> None:
        """These are no longer this member's: what the state topic says of them counts again."""
        for service in services:
            if service in self._own:
                self._own.discard(service)
                heard = self._heard.get(service)
                self._enter(heard if heard is not None else ServiceState(service))

    def hear(self, state: ServiceState) -> None:
        """The state topic has this state of a service, whosever it is; one that never decided has nothing."""
        if state.service in self._books_of:
            known = self._heard.get(state.service)
            if known is not None and 0 < state.seq < known.seq:
                return
            self._heard[state.service] = state
            if state.service not in self._own:
                self._enter(state)

    def all_heard(self) -> None:
        """The state topic has been read to its present end."""
        for book in self.books.values():
            book.known = True
        self._tell()

    def of(self, service: str) -> Grants:
        """What budgets say of the service."""
        books = self._books_of.get(service)
        return UNLIMITED if books is None else _Grants(books, self._services[service])

    def unsettled(self, services: Iterable[str]) -> list[str]:
        """Those of the services whose demand is not what budgets grant them of what they ask for."""
        found = []
        for book in self.books.values():
            book.work_out()
        for service in services if self.may_unsettle else ():
            if service not in self._own or all(book.is_settled(service) for book in self._books_of[service]):
                continue
            accounts = [(book, book.accounts[service]) for book in self._books_of[service]]
            grants = [grant.most for book, account in accounts if (grant := book.granted(account)) is not None]
            account = accounts[0][1]
            if min(grants, default=account.asking) != account.demand:
                found.append(service)
        return found

    def work_out(self, service: str) -> None:
        """Who may have what in the books of the service."""
        for book in self._books_of[service]:
            book.work_out()

    def _enter(self, state: ServiceState) -> None:
        settings = self._services.get(state.service)
        if settings is None:
            return
        entered = [book.enter(account_of(state, settings, book.budget)) for book in self._books_of[state.service]]
        if any(entered):
            self._tell()

    def _tell(self) -> None:
        self.version += 1
        if self.may_unsettle:
            self.changed()


@dataclass(frozen=True, slots=True)
class _Grants:
    """Of one service, through its books."""

    books: list[Book]
    settings: ServiceSettings

    def granted(self, state: ServiceState, asking: int) -> Grant | None:
        """The tightest word."""
        found: Grant | None = None
        # Nobody asks while a freeze lasts; one that is still in the state is over.
        asked = replace(state, asked=asking, freeze=None)
        for book in self.books:
            grant = book.granted(account_of(asked, self.settings, book.budget))
            if grant is not None and (found is None or grant.most < found.most):
                found = grant
        return found


class Budgeted:
    """One shard's services that budgets count, and what of the books they have not followed yet."""

    def __init__(self, budgets: BudgetsSeen, services: Iterable[str], states: Mapping[str, ServiceState]) -> None:
        self._budgets = budgets
        self._services = sorted(services)
        self._version = -1
        self._left: list[str] = []
        for service in self._services:
            state = states.get(service) or ServiceState(service)
            budgets.written(state)
            budgets.note(state)

    @property
    def has_news(self) -> bool:
        """Whether a book has changed so that a demand may have to follow."""
        changed = self._version != self._budgets.version and self._budgets.may_unsettle
        return bool(self._left or (self._services and changed))

    def unsettled(self) -> Iterator[str]:
        """The services whose demand has to follow, no more than one turn may take; they are the caller's from now
        on."""
        if not self.has_news:
            return
        if self._version != self._budgets.version:
            self._version = self._budgets.version
            self._left = self._budgets.unsettled(self._services)
        following, self._left = self._left[:AT_ONCE], self._left[AT_ONCE:]
        for service in following:
            self._budgets.work_out(service)
            yield service


NO_BUDGETS = BudgetsSeen((), {})
"""Where none is configured."""
