"""Who may have how many replicas: properties of shares, and of the book that works them out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.books import Book
from autoscaler.core.budgets import GIB, Account, Budget, Prices, fit, shares
from autoscaler.core.revision import Resources

UNITS = st.tuples(st.just(1), st.sampled_from([0, 250, 500, 1000]))
COUNTS = st.integers(0, 12)


def account(service: str, demand: int = 0, asking: int | None = None, **given: int) -> Account:
    """An account in a budget of replicas."""
    asked = demand if asking is None else asking
    return Account(service, given.get("priority", 50), given.get("least", 0), demand, asked, (1,))


@st.composite
def accounts(draw: st.DrawFn) -> list[Account]:
    """Up to six services, of three priorities, within a budget of replicas and CPU."""
    made = []
    for number in range(draw(st.integers(1, 6))):
        asking = draw(COUNTS)
        least = min(draw(st.integers(0, 2)), asking)
        demand = draw(st.integers(0, 12))
        made.append(Account(f"s{number}", draw(st.sampled_from([20, 50, 80])), least, demand, asking, draw(UNITS)))
    return made


LIMITS = st.tuples(st.integers(0, 30), st.integers(0, 12_000))


def left_to_do(book: Book, one: Account) -> bool:
    """Whether its demand is another than what is granted."""
    book.work_out()
    grant = book.granted(one)
    return book.may_unsettle and (one.asking if grant is None else grant.most) != one.demand


def granted_to(book: Book, one: Account, asked: int) -> int:
    """What it is granted of so many."""
    grant = book.granted(replace(one, asking=asked, least=min(one.least, asked)))
    return asked if grant is None else grant.most


def taken(found: dict[str, int], of: list[Account]) -> list[int]:
    """What shares take together."""
    return [sum(found[one.service] * one.unit[kind] for one in of) for kind in range(2)]


def test_a_budget_with_room_grants_all_that_is_asked_for() -> None:
    """Nobody is short where all of it fits."""
    assert shares((10,), [account("a", 2, 6), account("b", 4)]) == {"a": 6, "b": 4}


def test_priority_decides_even_over_what_is_there() -> None:
    """What a service of higher priority asks for comes before what a lower one has."""
    found = shares((10,), [account("low", 8, priority=20), account("high", 2, 6, priority=80)])
    assert found == {"high": 6, "low": 4}


def test_among_equals_what_is_there_comes_before_growth() -> None:
    """Nothing that runs is stopped for the sake of an equal."""
    assert shares((10,), [account("a", 7), account("b", 2, 9)]) == {"a": 7, "b": 3}


def test_the_least_numbers_are_had_whatever_they_cost() -> None:
    """Also by the lowest, and beyond the limit."""
    found = shares((3,), [account("high", 0, 9, priority=90), account("a", 2, least=2), account("b", 2, least=2)])
    assert found == {"high": 0, "a": 2, "b": 2}


def test_growth_is_shared_fairly_among_equals() -> None:
    """Small wishes first, the rest alike; what does not divide goes by name."""
    found = shares((10,), [account("a", 0, 1), account("b", 0, 20), account("c", 0, 20)])
    assert found == {"a": 1, "b": 5, "c": 4}


def test_a_kind_that_is_spent_stops_only_those_that_use_it() -> None:
    """CPU is spent; who reserves none of it goes on."""
    heavy = Account("heavy", 50, 0, 0, 9, (1, 1000))
    light = Account("light", 50, 0, 0, 9, (1, 0))
    assert shares((20, 3000), [heavy, light]) == {"heavy": 3, "light": 9}


@given(accounts(), LIMITS)
def test_shares_stay_within_the_budget_beyond_the_least_numbers(of: list[Account], most: tuple[int, int]) -> None:
    """No more than is asked for, no less than the least, and within each limit but for the least numbers."""
    found = shares(most, of)
    least = taken({one.service: one.least for one in of}, of)
    for limit, floor, total in zip(most, least, taken(found, of), strict=True):
        assert total <= max(limit, floor)
    assert all(one.least <= found[one.service] <= one.asking for one in of)


def test_only_what_is_spent_is_said_to_be() -> None:
    """Not what there is room of; what is left once the service has what it is granted counts."""
    book = Book(Budget("all", frozenset(), (("replicas", 6), ("cpu", 4000))))
    book.enter(Account("high", 80, 0, 4, 4, (1, 500)))
    grant = book.granted(Account("low", 20, 0, 0, 5, (1, 250)))
    assert grant is not None
    assert grant.most == 2
    assert grant.text == "of budget all the replicas are spent at priority 20; high (priority 80) has 4"


@given(accounts(), LIMITS)
def test_who_is_granted_less_lacks_something_of_which_more_is_asked_for_than_there_is(
    of: list[Account], most: tuple[int, int]
) -> None:
    """It takes some of that itself."""
    limits = dict(zip(("replicas", "cpu"), most, strict=True))
    book = Book(Budget("all", frozenset(), tuple(limits.items())))  # type: ignore[arg-type]
    for one in of:
        book.enter(one)
    book.work_out()
    for one in of:
        grant = book.granted(one)
        lacking = book.lacking(one, grant.most) if grant is not None else ()
        assert bool(lacking) == (grant is not None)
        units = dict(zip(limits, one.unit, strict=True))
        assert all(units[kind] for kind in lacking)


@given(accounts(), LIMITS)
def test_nobody_is_short_for_nothing(of: list[Account], most: tuple[int, int]) -> None:
    """Who is short of one replica could only have it from a higher or equal priority."""
    found = shares(most, of)
    for one in of:
        if found[one.service] < one.asking:
            others = [other for other in of if other.priority >= one.priority]
            least = {other.service: other.least for other in of if other.priority < one.priority}
            kept = {other.service: found[other.service] for other in others} | least
            kept[one.service] += 1
            over = [kind for kind, limit in enumerate(most) if taken(kept, of)[kind] > limit and one.unit[kind]]
            assert over, one


@given(accounts(), LIMITS, COUNTS)
def test_asking_for_less_or_more_changes_a_share_as_the_book_says(
    of: list[Account], most: tuple[int, int], asking: int
) -> None:
    """The book answers without sharing anew where it may; the answer is that of sharing anew."""
    book = Book(Budget("all", frozenset(), (("replicas", most[0]), ("cpu", most[1]))))
    for one in of:
        book.enter(one)
    book.work_out()
    one = of[0]
    changed = replace(one, asking=max(asking, one.least))
    assert book.share(one.service) == shares(most, of)[one.service]
    by_book = book._share(changed, one)
    assert by_book == shares(most, [changed, *of[1:]])[one.service]


@given(accounts(), LIMITS, st.randoms(use_true_random=False))
def test_demands_come_to_rest_at_their_shares(of: list[Account], most: tuple[int, int], chance: object) -> None:
    """One after the other in any order, services do what is granted: the budget is never left by growth, rest comes,
    and at rest each has its share."""
    book = Book(Budget("all", frozenset(), (("replicas", most[0]), ("cpu", most[1]))))
    present = {one.service: one for one in of}
    for one in of:
        book.enter(one)
    for _ in range(200):
        unsettled = [name for name in present if left_to_do(book, present[name])]
        if not unsettled:
            break
        service = chance.choice(unsettled)  # type: ignore[attr-defined]
        one = present[service]
        grant = book.granted(one)
        to = one.asking if grant is None else grant.most
        free = book.free()
        if to > max(one.demand, one.least):
            assert all((to - one.demand) * each <= max(0, left) for each, left in zip(one.unit, free, strict=True))
        present[service] = replace(one, demand=to)
        book.enter(present[service])
    else:
        pytest.fail(f"no rest: {present}")
    found = shares(most, present.values())
    assert {name: one.demand for name, one in present.items()} == found


@given(accounts(), LIMITS)
def test_who_goes_to_its_share_changes_nobodys(of: list[Account], most: tuple[int, int]) -> None:
    """So that the order in which they go is no matter, and many may by what was worked out once."""
    found = shares(most, of)
    for one in of:
        there = replace(one, demand=found[one.service])
        assert shares(most, [there if other is one else other for other in of]) == found


def test_who_grows_first_has_no_more_than_its_equals() -> None:
    """All that each has is made even, and not what each gets next."""
    assert shares((12,), [account("a", 4, 6), account("b", 2, 6), account("c", 2, 6)]) == {"a": 4, "b": 4, "c": 4}


@given(accounts(), LIMITS, COUNTS, st.sampled_from(["any", "room"]))
def test_what_is_granted_is_the_share_or_what_is_free_of_it(
    of: list[Account], most: tuple[int, int], asking: int, limits: str
) -> None:
    """However the book comes to know it; mostly there is room for what is there."""
    if limits == "room":
        used = taken({one.service: one.demand for one in of}, of)
        most = max(most[0], used[0]), max(most[1], used[1])
    book = Book(Budget("all", frozenset(), (("replicas", most[0]), ("cpu", most[1]))))
    for one in of:
        book.enter(one)
    early = {(one, asked): granted_to(book, one, asked) for one in of for asked in (one.asking, asking)}
    book.work_out()
    for one in of:
        for asked in (one.asking, asking):
            asks = replace(one, asking=asked, least=min(one.least, asked))
            share = shares(most, [asks if other is one else other for other in of])[one.service]
            free = fit(book.free(), one.unit)
            grown = share if free is None else max(asks.least, min(share, one.demand + free))
            exact = grown if share > one.demand else share
            assert granted_to(book, one, asked) == exact
            held = min(asked, max(one.demand, asks.least))
            assert early[one, asked] in {exact, held}, "what it has, until it is worked out who may have what"


@given(st.lists(st.tuples(st.integers(0, 5), COUNTS, COUNTS), max_size=30))
def test_sums_are_those_of_the_entries(changes: list[tuple[int, int, int]]) -> None:
    """However entries change."""
    book = Book(Budget("all", frozenset(), (("replicas", 10),)))
    for number, demand, more in changes:
        book.enter(account(f"s{number}", demand, demand + more))
    assert book.used == (sum(one.demand for one in book.accounts.values()),)
    assert book.asked == (sum(one.asking for one in book.accounts.values()),)
    assert 0 <= book.short <= book.asked[0] - book.used[0]


def test_nobody_grows_before_the_book_is_known() -> None:
    """And nobody shrinks."""
    book = Book(Budget("all", frozenset(), (("replicas", 10),)), known=False)
    book.enter(account("a", 4, 6))
    grant = book.granted(account("a", 4, 6))
    assert grant is not None
    assert (grant.most, book.may_unsettle) == (4, False)
    book.known = True
    assert (book.granted(account("a", 4, 6)), book.may_unsettle) == (None, True)


def test_a_price_is_of_replicas_cores_and_memory() -> None:
    """In millionths of a currency, rounded up."""
    assert Prices(10, 300, 8).of(Resources(cpu_millis=1500, memory_bytes=GIB // 2)) == 10 + 450 + 4
