"""How several policies become one wish: the four rules, ties, and that unknown never lowers under any of them."""

from __future__ import annotations

from itertools import product
from typing import Any, Literal

import pytest

from autoscaler.core.combination import Wish, combine, note_of, vote_of
from autoscaler.core.proposals import Scale
from autoscaler.core.settings import Scaling
from autoscaler.core.stimuli import PolicyVote
from tests.core.builders import holds, some_settings, votes_down, wishes
from tests.core.scene import a_scene

Rule = Literal["max", "min", "priority", "quorum"]
RULES: tuple[Rule, ...] = ("max", "min", "priority", "quorum")
NO_OPINION = PolicyVote("silent", None)
UNKNOWN = wishes(None, policy="lost", unknown="no sample for 61 s")


def together(rule: Rule, *votes: PolicyVote, demand: int = 5, quorum: int = 0) -> Wish:
    """What the votes come to."""
    wish = combine(votes, demand, Scaling(combine=rule, quorum=quorum))
    assert wish is not None
    return wish


def abc(*numbers: int) -> tuple[PolicyVote, ...]:
    """Policies a, b, c ... that wish these numbers."""
    return tuple(wishes(number, policy="abcdefgh"[index]) for index, number in enumerate(numbers))


@pytest.mark.parametrize(
    ("rule", "numbers", "quorum", "expected"),
    [
        pytest.param("max", (3, 9, 9), 0, (9, "b"), id="the highest, of equal ones the first"),
        pytest.param("min", (3, 9, 3), 0, (3, "a"), id="the lowest, of equal ones the first"),
        pytest.param("priority", (4, 9, 1), 0, (4, "a"), id="the first that is listed"),
        pytest.param("quorum", (4, 9, 7), 0, (7, "c"), id="two of three by default: two wish at least 7"),
        pytest.param("quorum", (4, 9, 7), 1, (9, "b"), id="one is enough: the highest"),
        pytest.param("quorum", (4, 9, 7), 3, (4, "a"), id="all: the lowest"),
        pytest.param("quorum", (4, 9, 7, 8), 0, (7, "c"), id="three of four by default"),
        pytest.param("quorum", (6, 6, 6), 2, (6, "b"), id="of equal ones the one that makes the quorum"),
    ],
)
def test_wishes_are_combined_by_the_rule(
    rule: Rule, numbers: tuple[int, ...], quorum: int, expected: tuple[int, str]
) -> None:
    wish = together(rule, *abc(*numbers), quorum=quorum)
    assert (wish.to, wish.winner) == expected


def test_priority_passes_over_policies_without_opinion_or_data_when_it_raises() -> None:
    wish = together("priority", NO_OPINION, UNKNOWN, *abc(8, 20))
    assert (wish.to, wish.winner, wish.code) == (8, "a", "wish")


def test_hold_of_the_first_policy_decides() -> None:
    assert together("priority", holds(), *abc(2)).to == 5


def test_too_few_opinions_are_no_quorum_and_keep_the_demand() -> None:
    wish = together("quorum", NO_OPINION, NO_OPINION, *abc(9))
    assert (wish.to, wish.winner, wish.code) == (5, "", "no_quorum")
    assert "1 of 3 policies have an opinion, and 2 have to agree" in wish.text


def test_unknown_agrees_to_no_more_than_today() -> None:
    assert together("quorum", UNKNOWN, *abc(9)).to == 5
    assert together("quorum", UNKNOWN, *abc(9, 8)).to == 8


@pytest.mark.parametrize("rule", RULES)
def test_policies_that_vote_on_revisions_are_not_counted(rule: Rule) -> None:
    assert together(rule, votes_down(), *abc(7)).to == 7


@pytest.mark.parametrize("rule", RULES)
def test_without_any_opinion_nothing_is_wished(rule: Rule) -> None:
    assert combine((NO_OPINION, votes_down()), 5, Scaling(combine=rule)) is None


@pytest.mark.parametrize("rule", RULES)
def test_floor_counts_beside_any_rule(rule: Rule) -> None:
    floor = PolicyVote("activation", Scale(1, "held"), floor=True)
    assert together(rule, *abc(0, 0), floor, demand=0).to == 1
    assert together(rule, *abc(3, 3), floor).to == 3


@pytest.mark.parametrize("rule", RULES)
def test_p13_unknown_never_lowers_whatever_the_others_say(rule: Rule) -> None:
    """All of up to four policies, each with 0, 3, 5 or 8 replicas, a hold, no opinion, or unknown."""
    answers = [*(wishes(n) for n in (0, 3, 5, 8)), holds(), NO_OPINION, UNKNOWN]
    for count in (1, 2, 3, 4):
        for votes in product(answers, repeat=count):
            for quorum in range(count + 1) if rule == "quorum" else (0,):
                wish = combine(votes, 5, Scaling(combine=rule, quorum=quorum))
                if UNKNOWN in votes:
                    assert wish is not None
                    assert wish.to >= 5, (votes, quorum)


@pytest.mark.parametrize("rule", RULES)
def test_more_from_one_policy_never_comes_to_less(rule: Rule) -> None:
    for numbers in product((0, 3, 5, 8), repeat=3):
        before = together(rule, *abc(*numbers)).to
        for index in range(3):
            raised = [n + 2 * (i == index) for i, n in enumerate(numbers)]
            assert together(rule, *abc(*raised)).to >= before


@pytest.mark.parametrize("vote", [*abc(3), holds(), NO_OPINION, UNKNOWN])
def test_what_a_record_notes_of_a_vote_counts_as_the_vote_did(vote: PolicyVote) -> None:
    assert combine((vote_of(note_of(vote)),), 5, Scaling()) == combine((vote,), 5, Scaling())


@pytest.mark.parametrize(
    ("rule", "votes", "demand"),
    [("priority", abc(3, 9), 3), ("quorum", abc(8, 9, 1), 8), ("quorum", abc(1, 2, 9), 2)],
)
def test_combined_wish_becomes_the_demand(rule: Any, votes: tuple[PolicyVote, ...], demand: int) -> None:
    scene = a_scene(5, settings=some_settings(scaling=Scaling(combine=rule)))
    scene.evaluate(*votes, wishes_max=demand)
    assert scene.state.demand == demand
