"""The arithmetic of judging: Wald's sums, the Mann-Whitney shift, counted limits; the figures of the sources."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler_plugins.rules import judging
from autoscaler_plugins.rules.judging import Counted, Finding, Shift


def test_bounds_are_those_of_one_in_a_hundred_and_one_in_twenty() -> None:
    assert (round(judging.fail_bound(), 3), round(judging.pass_bound(), 3)) == (4.554, -2.986)


def test_one_error_and_one_success_weigh_as_wald_says() -> None:
    assert round(judging.error_evidence(1, 1, 0.001, 0.01), 3) == 2.303
    assert round(judging.error_evidence(0, 1, 0.001, 0.01), 5) == -0.00905


@pytest.mark.parametrize(
    ("errors", "good", "finding"),
    [
        (0, 329, "undecided"),
        (0, 330, "pass"),
        (1, 584, "undecided"),
        (1, 585, "pass"),
        (2, 5, "fail"),
        (2, 6, "undecided"),
        (3, 260, "fail"),
        (3, 261, "undecided"),
    ],
)
def test_so_many_requests_decide(errors: int, good: int, finding: Finding) -> None:
    assert judging.decided(judging.error_evidence(errors, errors + good, 0.001, 0.01)) == finding


@pytest.mark.parametrize(
    ("own", "base", "traffic", "finding"),
    [
        (15, 0, (1, 1), "undecided"),
        (16, 0, (1, 1), "fail"),
        (0, 7, (1, 1), "undecided"),
        (0, 8, (1, 1), "pass"),
        (7, 0, (1, 9), "undecided"),
        (8, 0, (1, 9), "fail"),
        (0, 31, (1, 9), "undecided"),
        (0, 32, (1, 9), "pass"),
    ],
)
def test_so_many_errors_decide_against_the_base(
    own: int, base: int, traffic: tuple[int, int], finding: Finding
) -> None:
    assert judging.decided(judging.baseline_evidence(own, base, *traffic, 2.0)) == finding


def _runs(errors_at: float, seed: int, runs: int = 400) -> dict[str, int]:
    chance = random.Random(seed)  # noqa: S311 - a test's own dice
    found = {"pass": 0, "fail": 0}
    for _ in range(runs):
        total = 0.0
        while (finding := judging.decided(total)) == "undecided":
            total += judging.error_evidence(float(chance.random() < errors_at), 1, 0.001, 0.01)
        found[finding] += 1
    return found


def test_a_good_revision_hardly_ever_fails_and_a_bad_one_hardly_ever_passes() -> None:
    assert _runs(0.001, seed=1)["fail"] <= 400 * 0.02
    assert _runs(0.01, seed=2)["pass"] <= 400 * 0.08


def test_errors_in_bursts_prove_less() -> None:
    even = judging.burstiness(10, 20.0, 10 * 4.0)
    bursts = judging.burstiness(10, 20.0, 1 * 400.0)
    assert even == 1.0
    assert bursts == pytest.approx(20.0)
    assert judging.burstiness(3, 20.0, 400.0) == 1.0


def test_undecided_end_passes_only_with_enough_requests_and_a_sum_that_leans_well() -> None:
    ended = judging.at_the_end
    assert ended("undecided", -1.0, 100, 100) == "pass"
    assert ended("undecided", -1.0, 99, 100) == "inconclusive"
    assert ended("undecided", 0.5, 100, 100) == "inconclusive"
    assert ended("fail", 9.0, 100, 100) == "fail"


def test_shift_of_the_sources_example() -> None:
    assert judging.shift_of([10, 20, 30, 40], [1, 2, 3, 4], 0.95) == Shift(6, 39, 22.5)


def test_too_few_points_cannot_speak() -> None:
    assert (round(judging.apart_by_chance(4, 4), 3), round(judging.apart_by_chance(5, 5), 3)) == (0.029, 0.008)
    assert judging.shift_of([10] * 4, [1] * 4, 0.98) is None
    assert judging.shift_of([10] * 5, [1] * 5, 0.98) is not None
    assert judging.shift_of([], [1.0], 0.98) is None


@pytest.mark.parametrize(
    ("own", "base", "finding"),
    [
        ([10] * 5, [1] * 5, "fail"),
        ([1, 1, 1, 1, 10], [1] * 5, "pass"),
        ([1] * 5, [10] * 5, "pass"),
        ([10] * 4, [1] * 5, "inconclusive"),
    ],
    ids=["apart", "one outlier", "faster", "too few"],
)
def test_shift_is_judged(own: list[float], base: list[float], finding: Finding) -> None:
    assert judging.judge_shift(own, base, min_samples=5) == finding


def test_fifty_points_a_side_are_needed_by_default() -> None:
    assert judging.judge_shift([9.0] * 49, [1.0] * 49) == "inconclusive"
    assert judging.judge_shift([9.0] * 50, [1.0] * 50) == "fail"


def test_mean_has_to_agree_by_as_much_as_is_asked() -> None:
    base = [10.0 + n % 5 for n in range(60)]
    own = [value + 4 for value in base]
    assert judging.judge_shift(own, base) == "fail"
    assert judging.judge_shift(own, base, slower_by=0.5) == "pass"


def _counted_out(own: int, base: int) -> list[int]:
    """Orders by rank sum, counted one after another: a second way."""
    ways = {(0, 0): {0: 1}}
    for taken in range(own + 1):
        for other in range(base + 1):
            here = ways.setdefault((taken, other), {})
            if taken:
                for rank, count in ways[taken - 1, other].items():
                    here[rank + other] = here.get(rank + other, 0) + count
            if other:
                for rank, count in ways[taken, other - 1].items():
                    here[rank] = here.get(rank, 0) + count
    return [ways[own, base].get(rank, 0) for rank in range(own * base + 1)]


@given(own=st.integers(1, 8), base=st.integers(1, 8))
def test_rank_sums_are_counted_right(own: int, base: int) -> None:
    assert list(judging._ways(own, base)) == _counted_out(own, base)


def test_exact_and_near_normal_places_meet() -> None:
    exact = judging.rank_below(20, 20, 0.01)
    normal = 200 - 2.3263 * math.sqrt(20 * 20 * 41 / 12)
    assert abs(exact - normal) <= 2


@given(st.lists(st.floats(0, 1000), min_size=5, max_size=30), st.lists(st.floats(0, 1000), min_size=5, max_size=30))
def test_interval_holds_its_estimate_and_turns_with_the_sides(own: list[float], base: list[float]) -> None:
    shift, turned = judging.shift_of(own, base), judging.shift_of(base, own)
    assert shift is not None
    assert turned is not None
    assert shift.low <= shift.estimate <= shift.high
    assert turned == Shift(-shift.high, -shift.low, pytest.approx(-shift.estimate))  # type: ignore[arg-type]


def test_dl24_failures_past_the_limit_fail_and_up_to_it_go_on() -> None:
    counted = Counted(failed=3, count=5)
    assert judging.judge_counted(counted, failure_limit=2) == "fail"
    assert judging.judge_counted(counted, failure_limit=3) == "undecided"
    assert judging.judge_counted(counted, failure_limit=3, ending=True) == "pass"
    assert judging.judge_counted(counted, failure_limit=3, count=5) == "pass"


def test_doubt_past_its_limit_is_inconclusive_and_silence_unknown() -> None:
    assert judging.judge_counted(Counted(doubtful=1, count=4)) == "inconclusive"
    assert judging.judge_counted(Counted(doubtful=1, count=4), inconclusive_limit=1, ending=True) == "pass"
    assert judging.judge_counted(Counted(count=4, missing=4), ending=True) == "pass"
    assert judging.judge_counted(Counted(count=4, missing=5), ending=True) == "unknown"
    assert judging.judge_counted(Counted(failed=1, count=4, missing=5)) == "fail"


def test_worst_check_decides() -> None:
    assert judging.worst([]) == "pass"
    for better, worse in pairwise(judging.ORDER):
        assert judging.worst([better, worse, better]) == worse
