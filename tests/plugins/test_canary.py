"""`canary`: what it says of a step by the samples of both revisions."""

from __future__ import annotations

from typing import Any

import pytest

import autoscaler
from autoscaler.core.observation import ServiceFacts
from autoscaler.core.stimuli import PolicyVote
from autoscaler.testing import NOW, a_service, signal, vote
from autoscaler_plugins import canary

ERRORS: dict[str, Any] = {"errors": {"baseline": False}}
BOTH: dict[str, Any] = {"errors": {}}
OWN, BASE = 4, 3


def judging(since_s: float = 100.0, until_s: float | None = 20.0, phase: str = "judging") -> ServiceFacts:
    """A step that began so long ago and is over in so long."""
    until = None if until_s is None else NOW + until_s
    return a_service(demand=4, phase=phase, phase_since=NOW - since_s, phase_until=until, revision=OWN, base=BASE)


def counters(errors: float, requests: float, revision: int = OWN, *, age: float = 0.0) -> list[Any]:
    """Both counters as they stand."""
    return [
        signal("errors_total", errors, age=age, revision=revision),
        signal("requests_total", requests, age=age, revision=revision),
    ]


class Step:
    """One step, asked again and again with the same memory."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.memory: dict[str, Any] = {}

    def ask(self, *given: Any, facts: ServiceFacts | None = None, **more: Any) -> PolicyVote:
        """The vote on these samples."""
        return vote(canary, facts or judging(), given, self.options, memory=self.memory, **more)


def test_nothing_is_judged_outside_of_a_step_and_the_soak() -> None:
    for phase in ("idle", "advancing", "rolling_back"):
        assert Step(ERRORS).ask(*counters(9, 9), facts=judging(phase=phase)).proposal is None


def test_clean_requests_pass_once_there_are_enough() -> None:
    step = Step(ERRORS)
    first = step.ask(*counters(0, 1000))
    assert isinstance(first.proposal, autoscaler.Hold)
    assert first.proposal.wake_at == NOW + 20
    assert isinstance(step.ask(*counters(0, 1329)).proposal, autoscaler.Hold)
    passed = step.ask(*counters(0, 1330)).proposal
    assert isinstance(passed, autoscaler.Update)
    assert passed.revision == OWN
    assert "0 errors in 330 requests" in passed.reason


def test_errors_fail_however_often_one_looks() -> None:
    step = Step(ERRORS)
    step.ask(*counters(0, 0))
    step.ask(*counters(1, 3))
    failed = step.ask(*counters(2, 7)).proposal
    assert isinstance(failed, autoscaler.Rollback)
    assert "2 errors in 7 requests" in failed.reason


def test_counter_that_begins_anew_is_counted_from_zero() -> None:
    step = Step(ERRORS)
    step.ask(*counters(50, 5000))
    step.ask(*counters(2, 2))
    assert step.memory["sums"]["errors"] == 2
    assert step.memory["sums"]["requests"] == 2


def test_another_step_forgets_what_was_counted() -> None:
    step = Step(ERRORS)
    step.ask(*counters(0, 0))
    step.ask(*counters(1, 3))
    step.ask(*counters(2, 6), facts=judging(since_s=1.0))
    assert step.memory["sums"]["errors"] == 0


def test_samples_of_the_whole_service_are_not_taken_for_the_canarys() -> None:
    cast = Step(ERRORS).ask(signal("errors_total", 0), signal("requests_total", 10))
    # With no sample that names a revision there is nothing to judge the canary by.
    assert cast.unknown == "errors_total and requests_total of revision 4 unknown"
    assert cast.rollback


def test_silence_is_unknown_and_never_a_rollback() -> None:
    step = Step(BOTH)
    step.ask(*counters(0, 0), *counters(0, 0, BASE))
    cast = step.ask(*counters(9, 9, age=100), *counters(0, 0, BASE))
    assert cast.unknown
    assert not isinstance(cast.proposal, autoscaler.Rollback)


def test_base_that_is_silent_is_unknown() -> None:
    cast = Step(BOTH).ask(*counters(0, 0))
    assert "the base, revision 3, unknown" in cast.unknown


def test_canary_with_more_errors_than_its_base_fails() -> None:
    step = Step({"errors": {"objective": "10%", "intolerable": "90%"}})
    step.ask(*counters(0, 0), *counters(0, 0, BASE))
    failed = step.ask(*counters(16, 400), *counters(0, 400, BASE)).proposal
    assert isinstance(failed, autoscaler.Rollback)
    assert "against the base" in failed.reason


def test_base_that_tells_later_than_the_canary_is_counted_all_the_same() -> None:
    step = Step({"errors": {"objective": "10%", "intolerable": "90%"}})
    step.ask(*counters(0, 0), *counters(0, 0, BASE))
    step.ask(*counters(16, 400), *counters(0, 0, BASE))
    assert isinstance(step.ask(*counters(16, 400), *counters(0, 400, BASE)).proposal, autoscaler.Rollback)


def test_both_as_bad_is_no_fault_of_the_canary() -> None:
    step = Step({"errors": {"objective": "10%", "intolerable": "90%"}})
    step.ask(*counters(0, 0), *counters(0, 0, BASE))
    assert not isinstance(step.ask(*counters(9, 400), *counters(9, 400, BASE)).proposal, autoscaler.Rollback)


@pytest.mark.parametrize(("requests", "expected"), [(150, autoscaler.Update), (50, autoscaler.Hold)])
def test_step_that_ends_undecided_passes_only_with_enough_requests(requests: int, expected: type) -> None:
    step = Step(ERRORS)
    step.ask(*counters(0, 0))
    proposal = step.ask(*counters(0, requests), facts=judging(until_s=0.0)).proposal
    assert isinstance(proposal, expected)
    if isinstance(proposal, autoscaler.Hold):
        assert proposal.wake_at is None


def latencies(own: float, base: float, count: int, step: Step, facts: ServiceFacts | None = None) -> PolicyVote:
    """So many points a side, one at a time, and the last vote."""
    cast: PolicyVote | None = None
    for n in range(count):
        at = NOW - count + n + 1
        facts_now = facts if facts is not None and n == count - 1 else judging()
        given = [signal("latency_ms", own + n % 3, revision=OWN), signal("latency_ms", base + n % 3, revision=BASE)]
        cast = step.ask(*given, facts=facts_now, now=at)
    assert cast is not None
    return cast


@pytest.mark.parametrize(
    ("own", "count", "expected"),
    [(30.0, 60, autoscaler.Rollback), (10.0, 60, autoscaler.Update), (30.0, 40, autoscaler.Hold)],
    ids=["slower", "as fast", "too few"],
)
def test_latency_is_compared_at_the_end_of_the_step(own: float, count: int, expected: type) -> None:
    step = Step({"latency": {"metric": "latency_ms"}})
    ending = judging(until_s=0.0)
    assert isinstance(latencies(own, 10.0, count - 1, step).proposal, autoscaler.Hold)
    given = [signal("latency_ms", own, revision=OWN), signal("latency_ms", 10.0, revision=BASE)]
    assert isinstance(step.ask(*given, facts=ending, now=NOW).proposal, expected)


def limit(**more: Any) -> dict[str, Any]:
    """A limit on the canary's own error ratio."""
    return {"limits": [{"metric": "error_ratio", "above": 0.05, **more}]}


def ask_values(step: Step, *values: float, ending: bool = False) -> PolicyVote:
    """Measurements ten seconds apart; the last vote."""
    cast: PolicyVote | None = None
    start = NOW - 10.0 * len(values)
    for n, value in enumerate(values):
        last = n == len(values) - 1
        facts = a_service(
            phase="judging", phase_since=start, revision=OWN, base=BASE, phase_until=NOW if ending else NOW + 60
        )
        now = NOW if last else start + 10.0 * (n + 1)
        cast = step.ask(signal("error_ratio", value, revision=OWN), facts=facts, now=now)
    assert cast is not None
    return cast


def test_dl24_limit_lets_so_many_bad_measurements_pass() -> None:
    values = (0.2, 0.01, 0.3, 0.4)
    assert isinstance(ask_values(Step(limit(failure_limit=2)), *values).proposal, autoscaler.Rollback)
    assert isinstance(ask_values(Step(limit(failure_limit=3)), *values).proposal, autoscaler.Hold)
    assert isinstance(ask_values(Step(limit(failure_limit=3)), *values, ending=True).proposal, autoscaler.Update)


def test_doubtful_measurements_cannot_decide() -> None:
    cast = ask_values(Step(limit(doubt=0.02)), 0.01, 0.03, ending=True)
    assert isinstance(cast.proposal, autoscaler.Hold)
    assert (cast.proposal.wake_at, cast.unknown) == (None, "")


def test_more_than_four_missing_in_a_row_are_unknown() -> None:
    step = Step(limit(every="5s"))
    ask_values(step, 0.01)
    facts = a_service(phase="judging", phase_since=NOW - 10, revision=OWN, base=BASE, phase_until=NOW + 60)
    late = step.ask(signal("error_ratio", 0.01, age=26, revision=OWN), facts=facts, now=NOW + 26)
    assert "5 missing" in late.unknown


def test_dry_run_votes_for_nothing_and_says_what_it_would_have_been() -> None:
    step = Step({**ERRORS, "dry_run": True})
    step.ask(*counters(0, 0))
    proposal = step.ask(*counters(5, 7)).proposal
    assert isinstance(proposal, autoscaler.Update)
    assert proposal.reason.startswith("dry run, fail: 5 errors in 7 requests")


def test_soak_is_judged_by_the_revisions_own_errors() -> None:
    step = Step(BOTH)
    soaking = judging(phase="soaking")
    step.ask(*counters(0, 0), facts=soaking)
    assert isinstance(step.ask(*counters(3, 9), facts=soaking).proposal, autoscaler.Rollback)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"errors": {"objective": 0.1, "intolerable": 0.05}},
        {"limits": [{"metric": "m"}]},
        {"limits": [{"metric": "m", "above": 1, "below": 0}]},
        {"latency": {"metric": "m", "min_samples": 4}},
    ],
    ids=["nothing", "not ordered", "no side", "two sides", "too few points"],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"validation error"):
        canary.Options.model_validate(options)


def test_options_survive_their_own_json() -> None:
    options = canary.Options.model_validate({**BOTH, **limit(every="5s"), "latency": {"metric": "m"}})
    assert canary.Options.model_validate_json(options.model_dump_json(by_alias=True)) == options
