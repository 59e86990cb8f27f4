"""`error_rate`: a vote against the revision in its rollout or soak."""

from __future__ import annotations

import pytest

import autoscaler
from autoscaler.testing import NOW, a_service, propose, signal, unknown
from autoscaler_plugins import error_rate

OPTIONS = {"metric": "error_ratio", "above": 0.05, "for": "30s"}
SOAKING = a_service(demand=4, phase="soaking", phase_since=NOW - 100, revision=4, base=3)


def test_a_metric_above_its_limit_for_long_enough_is_a_rollback() -> None:
    proposal = propose(error_rate, SOAKING, [signal("error_ratio", 0.2, 0.3, 0.1, every=15)], OPTIONS)
    assert proposal == autoscaler.Rollback("error_ratio 0.1 above 0.05 in 3 samples over 30s")


def test_before_that_it_says_when_to_look_again() -> None:
    proposal = propose(error_rate, SOAKING, [signal("error_ratio", 0.01, 0.3, 0.1, every=15)], OPTIONS)
    assert isinstance(proposal, autoscaler.Hold)
    assert proposal.wake_at == NOW + 15


def test_one_good_sample_starts_the_count_anew() -> None:
    given = signal("error_ratio", 0.2, 0.2, 0.2, 0.05, every=15)
    assert propose(error_rate, SOAKING, [given], OPTIONS) is None


def test_samples_before_the_rollout_are_not_put_down_to_it() -> None:
    fresh = a_service(phase="advancing", phase_since=NOW - 20, revision=4, base=3)
    proposal = propose(error_rate, fresh, [signal("error_ratio", *[0.9] * 20, every=5)], OPTIONS)
    assert isinstance(proposal, autoscaler.Hold)
    assert proposal.wake_at == NOW + 10


def test_outside_a_rollout_there_is_nothing_to_vote_on() -> None:
    assert propose(error_rate, a_service(), [signal("error_ratio", *[0.9] * 20, every=5)], OPTIONS) is None


def test_silence_is_no_vote() -> None:
    assert propose(error_rate, SOAKING, [unknown("error_ratio")], OPTIONS) is None
    assert propose(error_rate, SOAKING, [signal("error_ratio", *[0.9] * 9, every=5, age=70)], OPTIONS) is None


def test_one_sample_is_not_enough() -> None:
    assert isinstance(propose(error_rate, SOAKING, [signal("error_ratio", 0.9, age=50)], OPTIONS), autoscaler.Hold)
    proposal = propose(error_rate, SOAKING, [signal("error_ratio", 0.9, age=50)], {**OPTIONS, "min_samples": 1})
    assert isinstance(proposal, autoscaler.Rollback)


def test_samples_of_the_revision_itself_count_more_than_those_of_all() -> None:
    total = signal("error_ratio", *[0.9] * 10, every=5)
    own = signal("error_ratio", *[0.0] * 10, every=5, revision=4)
    assert propose(error_rate, SOAKING, [total, own], OPTIONS) is None


def test_options_survive_their_own_json() -> None:
    options = error_rate.Options.model_validate(OPTIONS)
    dumped = options.model_dump(mode="json", by_alias=True)
    assert dumped == {"metric": "error_ratio", "above": 0.05, "for": "30s", "min_samples": 2}
    assert error_rate.Options.model_validate(dumped) == options


@pytest.mark.parametrize("written", ["30", 30, "soon"])
def test_for_needs_a_unit(written: object) -> None:
    with pytest.raises(ValueError, match=r"unit|duration"):
        error_rate.Options.model_validate({**OPTIONS, "for": written})


def test_a_time_that_signals_do_not_reach_back_is_refused() -> None:
    with pytest.raises(ValueError, match="less than or equal to 300"):
        error_rate.Options.model_validate({**OPTIONS, "for": "6m"})
