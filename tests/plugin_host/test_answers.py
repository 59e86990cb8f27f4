"""Answers are judged: what no record can carry is no part of one."""

from __future__ import annotations

import pytest

from autoscaler.core.proposals import Hold, Proposal, Refuse, Rollback, Scale, Update, Veto
from autoscaler.plugin_host.answers import describe_error, judge_guard, judge_proposal, judge_refusal

BAD = "too hot \ud800\0 here"
SHOWN = "too hot ?? here"


@pytest.mark.parametrize("answer", [Scale(3, BAD), Update(2, BAD), Rollback(BAD), Hold(BAD)], ids=repr)
def test_half_a_surrogate_pair_in_a_reason_is_replaced(answer: Proposal) -> None:
    proposal, problem = judge_proposal(answer)
    assert proposal is not None
    assert not problem
    assert proposal.reason == SHOWN


def test_vetoes_refusals_and_errors_are_plain_too() -> None:
    assert judge_guard(Veto(BAD)) == (Veto(SHOWN), "")
    assert judge_refusal(Refuse(BAD)) == (Refuse(SHOWN), "")
    assert describe_error(ValueError(BAD)) == f"ValueError: {SHOWN}"


def test_words_of_any_language_stay_as_they_are() -> None:
    assert judge_proposal(Hold("größer als 5 → 🌡"))[0] == Hold("größer als 5 → 🌡")
