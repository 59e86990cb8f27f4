"""Budgets as commands show them: the books that the state topic's states make, in rows, words and documents. No I/O.

As exact as the state topic is at the moment of reading; a member knows of another's decisions a record's way later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from autoscaler.configuration.settings import Configuration
from autoscaler.core.books import Book
from autoscaler.core.budget_units import UNITS, amount_text, plain_amount
from autoscaler.core.budgets import Account, account_of, shares
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import ServiceState

NAMED_MAX = 5
"""So many services are named in a line; how many more there are is said."""
BUDGET_COLUMNS = ("budget", "of", "used", "limit", "asked", "short")
EXACTNESS = "as the state topic has it now; members may be some milliseconds apart: eventually exact"


def budgeted_with(configuration: Configuration, service: str) -> frozenset[str]:
    """The services that are in a budget with this one, itself too; none where it is in no budget."""
    budgets = configuration.budgets.values()
    return frozenset().union(*(budget.services for budget in budgets if service in budget.services))


def books_of(
    configuration: Configuration, states: Mapping[str, ServiceState], service: str | None = None
) -> list[Book]:
    """The book of each budget, or of each that counts ``service``, in the order of the configuration."""
    books = []
    for budget in configuration.budgets.values():
        if service is None or service in budget.services:
            book = Book(budget)
            for name in sorted(budget.services):
                state = states.get(name) or ServiceState(name)
                book.enter(account_of(state, configuration.services[name], budget))
            book.work_out()
            books.append(book)
    return books


def demand_text(state: ServiceState) -> str:
    """``12``, or ``12 of 15`` where budgets grant less than what is asked for."""
    return _of(state.demand, state.asking)


def budget_notes(books: Iterable[Book], service: str) -> list[str]:
    """Why the service has less than it asks for, in the words of each budget that says so."""
    grants = [book.granted(book.accounts[service]) for book in books]
    return [f"budget: {grant.text}" for grant in grants if grant is not None]


def budget_rows(books: Iterable[Book]) -> list[list[str]]:
    """One row a limited kind: what is asked for where it is not what is used, and on a budget's first who is short."""
    rows = []
    for book in books:
        short = [f"{one.service} {_of(one.demand, one.asking)}" for one in _short(book)]
        for (kind, limit), used, asked in zip(book.budget.limits, book.used, book.asked, strict=True):
            unit = UNITS[kind]
            what = f"{unit.name}, {unit.unit}" if unit.unit else unit.name
            more = "-" if asked == used else amount_text(kind, asked)
            numbers = [amount_text(kind, used), amount_text(kind, limit), more]
            rows.append([book.budget.name, what, *numbers, _listed(short) or "-"])
            short = []
    return rows


def budget_document(book: Book) -> dict[str, Any]:
    """A budget as JSON: of each limited kind what is used, allowed and asked for, and who is short."""
    document: dict[str, Any] = {"budget": book.budget.name}
    for (kind, limit), used, asked in zip(book.budget.limits, book.used, book.asked, strict=True):
        numbers = {"used": used, "limit": limit, "asked": asked}
        document[UNITS[kind].key] = {name: plain_amount(kind, number) for name, number in numbers.items()}
    return document | {"short": [_account_document(one) for one in _short(book)]}


def standing_document(book: Book, service: str) -> dict[str, Any]:
    """How the service stands in the budget, as JSON; ``share``: what it comes to once all others have theirs."""
    account = book.accounts[service]
    grant = book.granted(account)
    return {
        **budget_document(book),
        **_account_document(account),
        "least": account.least,
        "share": book.share(service),
        "why": grant.text if grant is not None else None,
        "before": [_account_document(one) for one in _others(book, account) if one.priority > account.priority],
    }


def standing_rows(book: Book, service: str) -> list[tuple[str, str, str]]:
    """Name, value and words: what is used of each kind, what the service comes to, who comes before it or beside it."""
    account = book.accounts[service]
    rows = []
    for (kind, limit), used, asked in zip(book.budget.limits, book.used, book.asked, strict=True):
        more = f"used, {amount_text(kind, asked)} asked for" if asked != used else "used"
        value = f"{amount_text(kind, used)} of {amount_text(kind, limit)}"
        rows.append((UNITS[kind].name, value, f"{UNITS[kind].unit} {more}".strip()))
    rows.append((service, _of(account.demand, account.asking), _place(book, account)))
    others = _others(book, account)
    for name, these in (
        ("before it", [one for one in others if one.priority > account.priority]),
        ("beside it", [one for one in others if one.priority == account.priority]),
    ):
        words = [f"{one.service} (priority {one.priority}) has {_of(one.demand, one.asking)}" for one in these]
        if words:
            rows.append((name, str(sum(one.demand for one in these)), _listed(words)))
    return rows


def against_growth(books: Iterable[Book], state: ServiceState, settings: ServiceSettings) -> list[str]:
    """What each budget says that would not let the service have one more replica, and what can be done about it.

    Nothing of one in which others would give way, unless it is asked for already and they have not.
    """
    more = replace(state, asked=max(state.asking, state.demand + 1))
    found = []
    for book in books:
        account = account_of(more, settings, book.budget)
        grant = book.granted(account)
        if grant is None or grant.most > state.demand:
            continue
        others = _others(book, account)
        all_shares = shares(book.budget.most, (book.accounts | {account.service: account}).values())
        if all_shares[account.service] <= state.demand:
            keys = " and ".join(f"budgets.{book.budget.name}.{kind}" for kind in book.lacking(account, grant.most))
            rivals = any(one.priority >= account.priority for one in others)
            remedies = f"raise {keys}{', raise its priority, or lower that of another' if rivals else ''}"
            found.append(f"{grant.text}; {remedies}")
        elif state.asked is not None:
            late = [f"{one.service} (has {one.demand})" for one in others if one.demand > all_shares[one.service]]
            waits = f"budget {book.budget.name}: its share is {all_shares[account.service]}, and {_listed(late)} "
            found.append(f"{waits}have to give way first; a freeze of one of them would hold that up")
    return found


def _place(book: Book, account: Account) -> str:
    """What the service comes to, and by what."""
    share, grant = book.share(account.service), book.granted(account)
    waits = ", once others have given way" if grant is not None and grant.most < share else ""
    least = f", never below {account.least}" if account.least else ""
    return f"its share is {share}, by priority {account.priority}{waits}{least}"


def _short(book: Book) -> list[Account]:
    """Those that this budget holds below what they ask for."""
    lacking = [one for one in book.accounts.values() if one.demand < one.asking and book.granted(one) is not None]
    return sorted(lacking, key=_rank)


def _others(book: Book, account: Account) -> list[Account]:
    """Who else has or asks for replicas."""
    others = [one for one in book.accounts.values() if one.service != account.service and (one.demand or one.asking)]
    return sorted(others, key=_rank)


def _rank(account: Account) -> tuple[int, int, str]:
    return -account.priority, -account.demand, account.service


def _account_document(account: Account) -> dict[str, Any]:
    return {
        "service": account.service,
        "priority": account.priority,
        "has": account.demand,
        "asked": account.asking,
    }


def _of(has: int, asked: int) -> str:
    return f"{has} of {asked}" if has != asked else str(has)


def _listed(words: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = [f"{len(words) - NAMED_MAX} more"] if len(words) > NAMED_MAX else []
    return ", ".join([*words[:NAMED_MAX], *more])
