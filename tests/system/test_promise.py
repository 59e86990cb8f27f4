"""The judge of P9 finds what it is there to find."""

from __future__ import annotations

from tests.system.engine_watch import EngineEvent
from tests.system.promise import Away, Kept, Promise, judge_stops

TWO = Promise(frozenset({"good"}), 0.3, lambda _: 2)


def told(at: float, action: str, slot: int, image: str = "good") -> EngineEvent:
    number = {"kill": 15, "murder": 9}.get(action, 0)
    return EngineEvent(at, action.replace("murder", "kill"), f"t.web.s{slot}.r1.1", "t", 1, "h1", image, number)


def started(*slots: int) -> list[EngineEvent]:
    return [told(0.0, "start", slot) for slot in slots]


def test_a_stop_that_leaves_enough_keeps_the_promise() -> None:
    assert judge_stops([*started(0, 1, 2), told(5.0, "kill", 0), told(5.1, "die", 0)], TWO) == Kept(1, ())


def test_a_stop_that_leaves_too_few_breaks_it_also_while_another_is_still_ending() -> None:
    kept = judge_stops([*started(0, 1, 2), told(5.0, "kill", 0), told(5.1, "kill", 1)], TWO)
    assert kept == Kept(2, ("t.web.s1.r1.1 was stopped at 5.100 with 1 left that serve, not 2",))


def test_what_cannot_serve_or_has_only_just_started_does_not_count() -> None:
    late, bad = told(4.9, "start", 3), told(0.0, "start", 4, "bad")
    kept = judge_stops([*started(0, 1), bad, late, told(5.0, "kill", 0)], TWO)
    assert len(kept.broken) == 1
    assert judge_stops([*started(0, 1), bad, told(5.0, "kill", 4)], TWO) == Kept(0, ())


def test_a_death_by_another_hand_is_no_stop_of_ours_and_excuses_only_what_was_decided_before_it() -> None:
    murder = [*started(0, 1, 2), told(5.0, "murder", 0), told(5.0, "die", 0)]
    assert judge_stops([*murder, told(5.5, "kill", 1)], TWO) == Kept(1, ())
    assert len(judge_stops([*murder, told(9.0, "kill", 1)], TWO).broken) == 1


def test_what_an_engine_ends_while_it_comes_back_is_a_death_and_no_stop_of_ours() -> None:
    ended = [*started(0, 1, 2), told(5.0, "kill", 0), told(5.1, "kill", 1), told(5.2, "die", 0)]
    assert judge_stops(ended, TWO, [Away("h1", 4.0, 5.5)]) == Kept(0, ())
    assert judge_stops([*ended, told(5.6, "kill", 2)], TWO, [Away("h1", 4.0, 5.5)]) == Kept(1, ())
    assert len(judge_stops([*ended, told(9.0, "kill", 2)], TWO, [Away("h1", 4.0, 5.5)]).broken) == 1
    assert len(judge_stops(ended, TWO, [Away("h2", 4.0, 5.5)]).broken) == 1
