"""The arithmetic of `quantile_headroom` by itself: margins, slopes, codes."""

from __future__ import annotations

import math
from random import Random

import pytest

from autoscaler_plugins import quantile_headroom
from autoscaler_plugins.rules import headroom
from autoscaler_plugins.rules.errors import code_of, replicas_of


@pytest.mark.parametrize(
    ("have", "cap", "wish"), [(10, 10.9, 10), (10, 11.2, 12), (10, 9.1, 10), (10, 8.9, 9), (0, 0.4, 1)]
)
def test_where_the_plain_target_rules_so_does_its_tolerance(have: int, cap: float, wish: int) -> None:
    tolerant = headroom.Margins(tolerance=0.1)
    assert headroom.size(have, cap, cap, (20.0, cap), tolerant) == wish
    assert headroom.size(have, cap, cap, (20.0, cap)) == math.ceil(cap), "the arithmetic of the notes has none"


@pytest.mark.parametrize(("need", "keep"), [(6.0, 7), (20.0, 21), (100.0, 104), (1000.0, 1040)])
def test_what_is_kept_before_shrinking_is_a_replica_or_a_25th_of_a_large_need(need: float, keep: int) -> None:
    margins = quantile_headroom.Options.model_validate({"metric": "rps", "per_replica": 50}).derived[0]
    assert headroom.size(2000, need, 1e4, (need, 1e4), margins) == keep


def test_a_slope_is_taken_for_one_from_two_samples_where_there_is_no_noise() -> None:
    rising = [100.0] * 6 + [110.0, 120.0]
    assert headroom.honest_trend(rising, 5, 0.0, 3.0) == pytest.approx(170.0)
    assert headroom.honest_trend(rising[::-1], 5, 0.0, 3.0) == pytest.approx(100.0)


def test_a_slope_that_noise_may_have_made_is_taken_back() -> None:
    random = Random(5)  # noqa: S311 - repeatable noise
    ends = [headroom.honest_trend([100 + random.gauss(0, 4) for _ in range(8)], 5, 4.0, 3.0) - 100 for _ in range(200)]
    plain = [headroom.trend([100 + random.gauss(0, 4) for _ in range(8)], 5) - 100 for _ in range(200)]
    assert sum(end > 5 for end in ends) < sum(end > 5 for end in plain) / 1.5


@pytest.mark.parametrize("replicas", [-300.0, -1.5, -0.01, 0.0, 0.004, 0.7, 12.0, 5000.0])
def test_codes_are_read_back(replicas: float) -> None:
    assert replicas_of(code_of(replicas)) == pytest.approx(replicas, rel=3e-4, abs=5e-6)


def test_cost_of_lack_is_the_quantile() -> None:
    options = {"metric": "rps", "per_replica": 50}
    assert quantile_headroom.Options.model_validate(options).q == headroom.Q
    assert quantile_headroom.Options.model_validate({**options, "lack_cost": 9}).q == 0.9
