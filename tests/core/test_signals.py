"""Series and signals: what a sample does to a window, to a run, and to what a policy sees."""

from __future__ import annotations

import json
import math
import pickle
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.core.series import BUCKETS_MAX, RECENT_MAX, Series
from autoscaler.core.signals import METRICS_MAX, REVISIONS_MAX, FoldCounts, ServiceSignals

T0 = 1_763_900_000.0
MAX_AGE_S = 60.0


def a_series(*samples: tuple[float, float]) -> Series:
    series = Series(MAX_AGE_S)
    for at, value in samples:
        assert series.fold(T0 + at, value, "s") == "folded"
    return series


def some_signals(*samples: tuple[str, float, float]) -> ServiceSignals:
    signals = ServiceSignals(MAX_AGE_S)
    for name, at, value in samples:
        signals.fold(name, T0 + at, value, "s")
    return signals


def test_the_same_source_and_time_is_a_duplicate_and_changes_nothing() -> None:
    series = a_series((0, 5.0), (1, 6.0))
    assert series.fold(T0 + 1, 99.0, "s") == "duplicate"
    assert series.fold(T0, 99.0, "s") == "duplicate"
    assert (series.latest, series.window(T0 + 1, 60)) == (6.0, (2, 11.0, 5.0, 6.0))


def test_another_source_at_the_same_time_is_another_sample() -> None:
    series = a_series((0, 5.0))
    assert series.fold(T0, 7.0, "other") == "folded"
    assert series.fold(T0, 7.0, "other") == "duplicate"
    assert series.latest == 7.0


def test_a_late_sample_joins_its_window_and_never_replaces_the_newest() -> None:
    series = a_series((0, 1.0), (20, 2.0))
    assert series.fold(T0 + 7, 9.0, "s") == "folded"
    assert (series.latest, series.at) == (2.0, T0 + 20)
    assert series.window(T0 + 20, 60) == (3, 12.0, 1.0, 9.0)


def test_a_sample_older_than_the_horizon_is_stale() -> None:
    series = a_series((0, 1.0), (1000, 2.0))
    assert series.fold(T0 + 500, 9.0, "s") == "stale"


def test_a_sample_too_old_to_tell_from_a_repeat_is_stale() -> None:
    series = a_series(*((i / 10, 1.0) for i in range(3 * RECENT_MAX)))
    assert series.fold(T0 + 0.05, 1.0, "s") == "stale"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_is_rejected(value: float) -> None:
    series = Series(MAX_AGE_S)
    assert series.fold(T0, value, "s") == "rejected"
    assert series.fold(value, 1.0, "s") == "rejected"


def test_a_gap_longer_than_max_age_starts_a_new_covered_run() -> None:
    series = a_series((0, 1.0), (60, 1.0), (120.5, 1.0), (130, 1.0))
    assert series.covered_since == T0 + 120.5


def test_zeros_run_from_the_first_zero_and_end_with_any_other_value() -> None:
    series = a_series((0, 1.0), (10, 0.0), (20, 0.0))
    assert series.zero_since == T0 + 10
    series.fold(T0 + 30, 0.5, "s")
    assert series.zero_since is None


def test_a_gap_breaks_a_run_of_zeros() -> None:
    assert a_series((0, 0.0), (100, 0.0)).zero_since == T0 + 100


def test_a_late_sample_that_is_not_zero_breaks_the_run_of_zeros() -> None:
    series = a_series((0, 0.0), (10, 0.0), (20, 0.0))
    series.fold(T0 + 15, 3.0, "s")
    assert series.zero_since == T0 + 20


def test_many_sources_are_told_apart_and_kept_bounded() -> None:
    series = Series(MAX_AGE_S)
    for i in range(2000):
        assert series.fold(T0 + i / 10, 1.0, f"source-{i}") == "folded"
        assert series.fold(T0 + i / 10, 1.0, f"source-{i}") == "duplicate"
    assert len(series._sources) <= 2 * RECENT_MAX
    assert len(series._buckets) <= 7 * BUCKETS_MAX


def test_a_run_counts_only_unbroken_samples_in_the_range() -> None:
    series = a_series((0, 9.0), (10, 1.0), (20, 9.0), (30, 9.0))
    assert series.run_within(5.0, math.inf, -math.inf) == (T0 + 20, 2)
    assert series.run_within(5.0, math.inf, T0 + 25) == (T0 + 30, 1)
    assert series.run_within(10.0, math.inf, -math.inf) is None


def test_a_run_reaches_beyond_the_samples_kept_one_by_one() -> None:
    series = a_series(*((i / 2, 9.0) for i in range(4 * RECENT_MAX)))
    run = series.run_within(5.0, math.inf, -math.inf)
    assert run is not None
    assert run[0] <= T0 + 5


def test_a_metric_never_seen_is_unknown_and_no_error() -> None:
    signal = ServiceSignals().view(T0)["nothing"]
    assert (signal.known, signal.latest, signal.age, signal.at, signal.last) == (False, None, None, None, None)
    assert (signal.mean("1m"), signal.max("5m"), signal.min("5m"), signal.rate("1m"), signal.run()) == (None,) * 5
    assert signal.count("1m") == 0


def test_a_value_older_than_max_age_is_unknown_and_never_zero() -> None:
    signals = some_signals(("load", 0, 5.0))
    assert signals.view(T0 + 60)["load"].latest == 5.0
    old = signals.view(T0 + 60.5)["load"]
    assert (old.known, old.latest, old.mean("5m"), old.last, old.age) == (False, None, None, 5.0, 60.5)


def test_windows_give_mean_extremes_and_rate() -> None:
    signal = some_signals(("load", 0, 10.0), ("load", 10, 20.0), ("load", 20, 60.0)).view(T0 + 20)["load"]
    assert (signal.mean("1m"), signal.max("1m"), signal.min(60), signal.count("1m")) == (30.0, 60.0, 10.0, 3)
    assert signal.rate("1m") == 2.5
    assert signal.max("10s") == 60.0


def test_a_window_that_is_no_duration_is_an_error_of_the_policy() -> None:
    with pytest.raises(ValueError, match="30s"):
        some_signals(("load", 0, 10.0)).view(T0)["load"].mean("a while")


def test_a_view_remembers_which_signals_were_looked_at() -> None:
    view = some_signals(("a", 0, 1.0)).view(T0)
    for name in ("b", "a", "b"):
        _ = view[name]
    assert view.looked_at == ["b", "a"]


def test_samples_of_a_revision_are_not_the_total_of_the_service() -> None:
    signals = some_signals(("load", 0, 100.0))
    assert signals.fold("load", T0, 7.0, "s", revision=3) == "folded"
    signal = signals.view(T0)["load"]
    assert (signal.latest, signal.by_revision(3).latest, signal.by_revision(2).known) == (100.0, 7.0, False)


def test_a_metric_known_by_revision_alone_is_known_while_one_revision_is_heard_of() -> None:
    signals = ServiceSignals(MAX_AGE_S)
    signals.fold("load", T0, 100.0, "s", revision=3)
    assert signals.view(T0)["load"].latest == 100.0
    signals.fold("load", T0 + 10, 5.0, "s", revision=4)
    assert not signals.view(T0 + 10)["load"].known
    signals.fold("load", T0 + 61, 6.0, "s", revision=4)
    assert signals.view(T0 + 61)["load"].latest == 6.0


def test_names_and_revisions_are_bounded() -> None:
    signals = ServiceSignals()
    results = {signals.fold(f"m{i}", T0, 1.0, "s") for i in range(METRICS_MAX + 1)}
    assert results == {"folded", "rejected"}
    for revision in range(3 * REVISIONS_MAX):
        signals.fold("m", T0, 1.0, "s", revision)
    assert signals.view(T0)["m"].by_revision(3 * REVISIONS_MAX - 1).known
    assert not signals.view(T0)["m"].by_revision(0).known


def test_a_batch_is_counted_and_the_counts_add_up() -> None:
    signals = some_signals(("load", 1000, 5.0))
    batch = [("load", 6.0, T0 + 1001, None), ("load", 6.0, T0 + 1001, None), ("load", 1.0, T0, None)]
    batch.append(("load", math.nan, T0 + 1002, None))
    assert signals.fold_samples("s", batch) == FoldCounts(folded=1, stale=1, duplicate=1, rejected=1)


def test_readings_are_sorted_and_unknown_ones_have_no_value() -> None:
    readings = some_signals(("b", 0, 1.0), ("a", -100, 2.0)).readings(T0 + 1)
    assert [(r.signal, r.value, r.age_s) for r in readings] == [("a", None, 101.0), ("b", 1.0, 1.0)]


def test_coverage_is_that_of_the_least_covered_metric() -> None:
    signals = some_signals(("a", 0, 0.0), ("b", 5, 1.0), ("b", 30, 0.0), ("a", 40, 0.0))
    assert signals.coverage(("a", "b"), T0 + 41, MAX_AGE_S) == (T0 + 5, T0 + 30)


def test_coverage_of_an_unknown_metric_or_of_none_is_nothing() -> None:
    signals = some_signals(("a", 0, 0.0))
    assert signals.coverage(("a", "never"), T0, MAX_AGE_S) == (None, None)
    assert signals.coverage(("a",), T0 + 61, MAX_AGE_S) == (None, None)
    assert signals.coverage((), T0, MAX_AGE_S) == (None, None)


def test_a_snapshot_survives_json_and_holds_what_policies_see() -> None:
    signals = some_signals(*(("load", 3.0 * i, float(i % 7)) for i in range(100)))
    signals.fold("load", T0, 4.0, "s", revision=2)
    restored = ServiceSignals(MAX_AGE_S)
    restored.restore(json.loads(json.dumps(signals.snapshot(), allow_nan=False)))
    now = T0 + 300
    for one, other in ((signals.view(now)["load"], restored.view(now)["load"]),):
        assert (one.latest, one.at, one.rate("1m")) == (other.latest, other.at, other.rate("1m"))
        assert [one.mean(w) for w in ("30s", "1m", "5m")] == [other.mean(w) for w in ("30s", "1m", "5m")]
    assert restored.coverage(["load"], now, MAX_AGE_S) == signals.coverage(["load"], now, MAX_AGE_S)
    assert restored.view(T0)["load"].by_revision(2).latest == 4.0
    assert restored.snapshot() == signals.snapshot()


def test_a_restored_series_takes_newer_samples_and_refuses_what_it_cannot_tell() -> None:
    signals = some_signals(("load", 0, 1.0), ("load", 10, 2.0))
    restored = ServiceSignals(MAX_AGE_S)
    restored.restore(signals.snapshot())
    assert restored.fold("load", T0 + 10, 2.0, "s") == "duplicate"
    assert restored.fold("load", T0 + 5, 2.0, "s") == "stale"
    assert restored.fold("load", T0 + 11, 3.0, "s") == "folded"


def test_an_empty_series_leaves_no_trace_in_a_snapshot() -> None:
    signals = ServiceSignals()
    signals.fold("load", T0, math.nan, "s")
    assert signals.snapshot() == {"series": {}}


def test_signals_cross_a_process_border() -> None:
    signals = some_signals(("load", 0, 1.0))
    copied = pickle.loads(pickle.dumps(signals))  # noqa: S301 - our own
    assert copied.view(T0)["load"].latest == 1.0


def test_windows_reach_back_five_minutes_however_short_the_horizon() -> None:
    signals = ServiceSignals(MAX_AGE_S, horizon_s=10)
    for at in range(0, 300, 10):
        signals.fold("load", T0 + at, float(at), "s")
    assert signals.view(T0 + 290)["load"].min("5m") == 0.0


samples = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from([0.0, 1.0, 2.5, 40.0, -3.0]), st.sampled_from("ab")), max_size=120
)


@settings(max_examples=200, deadline=None)
@given(samples)
def test_windows_equal_a_naive_reading_of_all_samples(arrivals: list[tuple[int, float, str]]) -> None:
    series = Series(MAX_AGE_S)
    kept: dict[tuple[int, str], float] = {}
    for at, value, source in arrivals:
        newest = max((moment for moment, _ in kept), default=at)
        result = series.fold(T0 + at, value, source)
        if (at, source) in kept and result != "stale":
            assert result == "duplicate"
        elif result == "folded":
            kept[at, source] = value
        else:
            assert result == "stale"
            assert (T0 + at) // 5 <= (T0 + newest) // 5 - BUCKETS_MAX
    if not kept:
        return
    newest = max(moment for moment, _ in kept)
    assert series.at == T0 + newest
    width = 5.0
    for window_s in (5, 60, 300):
        first = (T0 + newest) // width - window_s / width
        inside = [value for (at, _), value in kept.items() if (T0 + at) // width > first]
        count, total, low, high = series.window(T0 + newest, window_s)
        assert (count, low, high) == (len(inside), min(inside), max(inside))
        assert total == pytest.approx(sum(inside))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 90), st.sampled_from([0.0, 1.0])), min_size=1, max_size=60))
def test_runs_equal_a_naive_reading_of_samples_in_order(steps: list[tuple[int, float]]) -> None:
    series, at, all_samples = Series(MAX_AGE_S), T0, []
    for gap, value in steps:
        at += gap
        series.fold(at, value, "s")
        all_samples.append((at, value))
    covered = all_samples[-1][0]
    for (before, _), (after, _) in reversed(list(pairwise(all_samples))):
        if after - before > MAX_AGE_S:
            break
        covered = before
    zero = None
    for moment, value in reversed(all_samples):
        if value or moment < covered:
            break
        zero = moment
    assert (series.covered_since, series.zero_since) == (covered, zero)
    run = series.run_within(-0.5, 0.5, -math.inf)
    assert (run and run[0]) == zero


def test_a_total_is_the_sum_over_the_revisions_that_are_heard_of() -> None:
    signals = ServiceSignals(max_age_s=60.0)
    signals.fold("load", 100.0, 30.0, "m", 1)
    signals.fold("load", 130.0, 12.0, "m", 2)
    assert signals.view(140.0)["load"].latest is None
    assert signals.view(140.0)["load"].total() == 42.0
    assert signals.view(165.0)["load"].total() == 12.0
    assert signals.view(200.0)["load"].total() is None
    assert signals.view(200.0)["other"].total() is None


def test_a_metric_that_names_no_revision_is_its_own_total_or_unknown() -> None:
    signals = ServiceSignals(max_age_s=60.0)
    signals.fold("load", 100.0, 30.0, "m")
    signals.fold("load", 155.0, 12.0, "m", 2)
    assert signals.view(110.0)["load"].total() == 30.0
    assert signals.view(170.0)["load"].total() is None
