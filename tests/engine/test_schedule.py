"""One moment for each service, the earliest first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.engine.schedule import Schedule

MOMENTS = st.lists(st.tuples(st.sampled_from("abcd"), st.one_of(st.none(), st.integers(0, 20))), max_size=40)


def test_the_earliest_comes_first_and_each_once() -> None:
    schedule = Schedule()
    schedule.set("late", 3.0)
    schedule.set("early", 1.0)
    schedule.set("never", 9.0)
    assert schedule.next() == 1.0
    assert schedule.due(5.0) == [("early", 1.0), ("late", 3.0)]
    assert schedule.due(5.0) == []
    assert schedule.next() == 9.0


def test_a_moment_that_was_set_anew_forgets_the_former() -> None:
    schedule = Schedule()
    schedule.set("web", 1.0)
    schedule.set("web", 7.0)
    assert schedule.due(5.0) == []
    schedule.set("web", 2.0)
    assert schedule.next() == 2.0
    assert schedule.due(9.0) == [("web", 2.0)]


def test_a_moment_that_was_taken_back_never_comes() -> None:
    schedule = Schedule()
    schedule.set("web", 1.0)
    schedule.set("web", None)
    assert schedule.next() is None
    assert schedule.due(5.0) == []


def test_a_moment_that_came_may_be_set_again() -> None:
    schedule = Schedule()
    for _ in range(3):
        schedule.set("web", 1.0)
        assert schedule.due(1.0) == [("web", 1.0)]


@given(MOMENTS, st.integers(0, 20))
def test_whatever_was_set_the_last_moment_of_each_service_counts(
    moments: list[tuple[str, int | None]], now: int
) -> None:
    schedule, last = Schedule(), dict[str, int | None]()
    for service, at in moments:
        schedule.set(service, at)
        last[service] = at
    wanted = sorted((at, service) for service, at in last.items() if at is not None)
    assert schedule.next() == (wanted[0][0] if wanted else None)
    assert [(at, service) for service, at in schedule.due(now)] == [one for one in wanted if one[0] <= now]
    assert schedule.next() == min((at for at, _ in wanted if at > now), default=None)
