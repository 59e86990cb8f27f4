"""In a full pool services of lower priority give way, lowest first, never below their least number; of two that took
the last room the younger moves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.actions import Create, Start
from autoscaler.core.claims import CLAIM_S, canonical, is_overbooked, without
from autoscaler.core.displacing import SETTLES_IN_S, last_comers
from autoscaler.core.settings import PlacementRules
from autoscaler.core.stimuli import Observed
from tests.core.builders import NOW, a_host, a_replica, a_service
from tests.core.full_pool import FullPool, a_claim, a_tenant, one_wanted


def full(**given: object) -> tuple[object, ...]:
    """Two replicas of ``job`` fill h1."""
    return (a_tenant("job", 0, **given), a_tenant("job", 1, **given))  # type: ignore[arg-type]


# Whom a claim names.


def test_service_of_higher_priority_takes_a_place_in_a_full_pool_once_it_is_free() -> None:
    pool = FullPool(one_wanted(), *full(), job=(50, 0))  # type: ignore[arg-type]
    pool.tell(Observed(pool.now))
    assert pool.displaces == [("job.s1.r1.2",)]
    (create,) = (action for action in pool.actions if isinstance(action, Create))
    assert create.displaces == ("job.s1.r1.2",)
    assert not [action for action in pool.actions if isinstance(action, Start)]
    text = next(r.reason.text for r in pool.records if "in place of" in r.reason.text)
    assert text == "start s0.r1.1 on h1 in place of job.s1.r1.2 (priority 50), by priority 60"

    pool.leave("job.s1.r1.2")
    assert pool.displaces == []
    assert pool.running() == {1: 1}
    assert any(r.reason.text == "room for s0.r1.1 on h1 (job.s1.r1.2 gave way)" for r in pool.records)


@pytest.mark.parametrize(
    ("priority", "claims"), [pytest.param(59, False, id="nine-apart"), pytest.param(60, True, id="ten-apart")]
)
def test_gap_of_priorities_is_ten(priority: int, claims: bool) -> None:  # noqa: FBT001 - a table
    pool = FullPool(one_wanted(), *full(), priority=priority, job=(50, 0))  # type: ignore[arg-type]
    pool.tell(Observed(pool.now))
    assert bool(pool.displaces) is claims
    assert bool(pool.pending) is not claims


def test_nobody_is_named_below_its_least_number() -> None:
    pool = FullPool(one_wanted(3), *full(), job=(50, 1))  # type: ignore[arg-type]
    pool.tell(Observed(pool.now))
    # One of the two has to stay: its place gives room for two of 500m, and the third is pending.
    assert pool.displaces == [("job.s1.r1.2",)]
    assert pool.pending == "no host: 1 lack cpu (need 500m, most free 0m)"


def test_lowest_priority_gives_way_first() -> None:
    others = (a_tenant("job", 0), a_tenant("log", 0), a_tenant("job", 1, "h2"), a_tenant("job", 2, "h2"))
    pool = FullPool(one_wanted(), *others, hosts=2, job=(40, 0), log=(20, 0))
    pool.tell(Observed(pool.now))
    assert pool.displaces == [("log.s0.r1.1",)]


def test_no_more_are_named_than_are_needed() -> None:
    others = (
        a_tenant("log", 0, cpu_millis=200), a_tenant("log", 1, cpu_millis=200), a_tenant("job", 0, cpu_millis=1600)
    )  # fmt: skip
    pool = FullPool(one_wanted(), *others, job=(40, 0), log=(20, 0))
    pool.tell(Observed(pool.now))
    assert pool.displaces == [("job.s0.r1.1",)]


def test_those_who_are_named_already_are_not_named_again() -> None:
    waiting = a_claim("api", "job.s1.r1.2")
    pool = FullPool(one_wanted(), *full(), waiting, job=(50, 0), api=(80, 0))  # type: ignore[arg-type]
    pool.tell(Observed(pool.now))
    assert pool.displaces == [("job.s0.r1.1",)]


def test_surge_of_an_update_displaces_nobody() -> None:
    pool = FullPool(a_service(2, hosts=("h1",)), a_tenant("job", 0), job=(20, 0))
    pool.deploy(replace(pool.state.revisions[0].spec, command=("serve", "2")))
    pool.run(120)
    assert all("in place of" not in r.reason.text for r in pool.records)
    assert len(pool.others) == 1


def test_slot_that_has_failed_lately_displaces_nobody() -> None:
    pool = FullPool(one_wanted(), *full(), job=(50, 0))  # type: ignore[arg-type]
    pool.tell(Observed(pool.now))
    pool.run(CLAIM_S + 1)
    told = next(r for r in pool.records if r.reason.code == "not_displaced")
    assert told.reason.text == "s0.r1.1 on h1: job.s1.r1.2 did not give way in 120 s"
    pool.run(300)
    assert pool.displaces == []
    assert pool.created == ["shop.web.s0.r1.1"]
    assert pool.pending == "no host: 1 lack cpu (need 500m, most free 0m)"


def test_filters_hold_for_a_claim_as_for_any_place() -> None:
    rules = PlacementRules(labels=(("disk", ("ssd",)),))
    pool = FullPool(one_wanted(), *full(), placement=rules, job=(20, 0))  # type: ignore[arg-type]
    pool.tell(Observed(pool.now))
    assert pool.displaces == []


def test_claim_is_not_fulfilled_by_room_that_its_own_service_has_taken() -> None:
    pool = FullPool(one_wanted(2), a_tenant("job", 0), a_tenant("job", 1, cpu_millis=500), job=(50, 0))
    pool.obedient = False
    pool.tell(Observed(pool.now))
    first, second = pool.state.replicas
    assert (first.displaces, second.displaces) == ((), ("job.s1.r1.2",))
    # The claim is there before what took the last free room: together they would be one too many.
    pool.containers["c"] = a_tenant(
        "web", second.slot, condition="created", attempt=second.attempt, cpu_millis=500, displaces=second.displaces
    )
    pool.tell(Observed(pool.now))
    assert pool.displaces == [("job.s1.r1.2",)]


# Who gives way.


def two_of_five_hundred(**changes: object) -> FullPool:
    """Two available replicas of priority 50 beside one of ``job``: h1 is full."""
    pool = FullPool(a_service(2, hosts=("h1",)), a_tenant("job", 0), priority=50, job=(50, 0), api=(60, 0), **changes)  # type: ignore[arg-type]
    pool.tell(Observed(pool.now))
    return pool


def test_one_that_is_named_gives_way_is_pending_and_comes_back_when_there_is_room() -> None:
    pool = two_of_five_hundred()
    pool.come(a_claim("api", "web.s1.r1.2"))
    assert [r.slot for r in pool.state.replicas] == [0]
    assert pool.state.demand == 2
    assert pool.state.pending is not None
    assert pool.state.pending.code == "displaced"
    assert pool.pending == "s1 displaced by api; no host: 1 lack cpu (need 500m, most free 0m)"
    assert any("s1 gives way to api (priority 60 over 50)" in r.reason.text for r in pool.records)

    pool.leave("job.s0.r1.1")
    assert sorted(r.slot for r in pool.state.replicas) == [0, 1]
    assert (pool.state.pending, pool.state.displaced) == (None, ())


@pytest.mark.parametrize(
    ("claim", "least", "why"),
    [
        pytest.param(a_claim("api", "web.s1.r1.2"), 2, "least", id="its-least-number"),
        pytest.param(a_claim("job", "web.s1.r1.2"), 0, "priority", id="no-higher-priority"),
        pytest.param(a_claim("new", "web.s1.r1.2"), 0, "unknown", id="a-service-nobody-configured"),
        pytest.param(a_claim("api", "web.s7.r1.9"), 0, "gone", id="a-replica-that-is-gone"),
    ],
)
def test_nothing_gives_way_without_right(claim: object, least: int, why: str) -> None:
    pool = two_of_five_hundred(least=least)
    pool.come(claim)  # type: ignore[arg-type]
    assert len(pool.state.replicas) == 2, why


def test_sick_replicas_do_not_count_as_the_least_number() -> None:
    pool = two_of_five_hundred(least=1)
    pool.change(0, healthy=False)
    pool.come(a_claim("api", "web.s1.r1.2"))
    assert 1 in [r.slot for r in pool.state.replicas]


# Two took the last room.


def overbooked(*, mine_at: float, theirs_at: float | None, hosts: int = 1, available: bool = False) -> FullPool:
    """Both h1's last 1000m: one replica of ours, placed now, and one of ``job``."""
    replica = a_replica(0, attempt=1, placed_at=NOW, created_at=NOW, available_at=NOW if available else None)
    pool = FullPool(a_service((replica,)), a_tenant("log", 0), priority=50, hosts=hosts, log=(50, 0), job=(50, 0))
    name = "shop.web.s0.r1.1"
    pool.containers[name] = replace(
        pool.containers[name], made_at=mine_at, healthy=True if available else None, healthy_since=NOW - 100
    )
    pool.come(a_tenant("job", 0, made_at=theirs_at))
    return pool


def test_younger_of_two_that_took_the_last_room_moves() -> None:
    pool = overbooked(mine_at=NOW + 1, theirs_at=NOW, hosts=2)
    assert [r.host for r in pool.state.replicas] == ["h2"]
    text = next(r.reason.text for r in pool.records if "overbooked" in r.reason.text)
    assert text == (
        "start s0.r1.2 on h2; stop s0.r1.1 on h1; s0.r1.1 was the last to take room on h1, which is overbooked"
    )


def test_younger_one_is_pending_where_there_is_no_other_host() -> None:
    pool = overbooked(mine_at=NOW + 1, theirs_at=NOW)
    assert pool.state.replicas == ()
    assert pool.pending == "no host: 1 lack cpu (need 500m, most free 0m)"


@pytest.mark.parametrize(
    ("mine_at", "theirs_at", "available"),
    [
        pytest.param(NOW, NOW + 1, False, id="the-other-is-younger"),
        pytest.param(NOW + 1, None, False, id="the-other-has-not-told-its-age"),
        pytest.param(NOW + 1, NOW, True, id="it-is-available"),
    ],
)
def test_older_available_or_unjudged_ones_stay(mine_at: float, theirs_at: float | None, available: bool) -> None:  # noqa: FBT001 - a table
    pool = overbooked(mine_at=mine_at, theirs_at=theirs_at, hosts=2, available=available)
    assert [r.host for r in pool.state.replicas] == ["h1"]


def test_nobody_moves_because_a_host_was_made_smaller() -> None:
    pool = FullPool(a_service(2, hosts=("h1",)), hosts=2)
    pool.run(SETTLES_IN_S)
    pool.change_host("h1", cpu_millis=500)
    assert [r.host for r in pool.state.replicas] == ["h1", "h1"]


TENANTS = st.lists(st.tuples(st.integers(0, 900), st.integers(0, 5)), max_size=8)


@given(TENANTS, st.integers(100, 3000))
def test_last_comers_are_the_youngest_and_no_more_than_have_to_go(kinds: list[tuple[int, int]], capacity: int) -> None:
    tenants = [a_tenant(f"t{number}", 0, cpu_millis=cpu, made_at=NOW + age) for number, (cpu, age) in enumerate(kinds)]
    host = a_host("h1", cpu_millis=capacity, reserved_cpu_millis=sum(t.cpu_millis for t in tenants))
    leaving = last_comers(host, tenants)
    going = sorted((t for t in tenants if canonical(t) in leaving), key=lambda t: (t.made_at or 0, canonical(t)))
    assert not is_overbooked(without(host, going)) or not any(t.cpu_millis for t in tenants if t not in going)
    if going:
        assert is_overbooked(without(host, going[1:]))
        oldest = (going[0].made_at or 0, canonical(going[0]))
        staying = [t for t in tenants if t not in going and t.cpu_millis]
        assert all((t.made_at or 0, canonical(t)) < oldest for t in staying)
