"""Percents of revisions become whole weights of replicas."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.engine.weights import weights


def share_of(found: dict[str, int], names: list[str]) -> float:
    return 100 * sum(found[name] for name in names) / sum(found.values())


def test_without_shares_every_replica_weighs_the_same() -> None:
    assert weights(None, {1: ["a", "b"], 2: ["c"]}) == {"a": 100, "b": 100, "c": 100}


def test_a_tenth_for_one_canary_beside_ten_old_ones() -> None:
    old = [f"o{number}" for number in range(10)]
    found = weights(((1, 90), (2, 10)), {1: old, 2: ["n"]})
    assert share_of(found, ["n"]) == 10
    assert len({found[name] for name in old}) == 1


def test_one_percent_beside_one_old_replica() -> None:
    assert abs(share_of(weights(((1, 99), (2, 1)), {1: ["o"], 2: ["n"]}), ["n"]) - 1) < 0.01


def test_a_share_too_small_for_all_its_replicas_goes_to_some_of_them() -> None:
    new = [f"n{number}" for number in range(10)]
    found = weights(((1, 99), (2, 1)), {1: ["o"], 2: new})
    assert 0.5 < share_of(found, new) < 1.5
    assert {found[name] for name in new} == {0, 1}


def test_zero_percent_and_not_listed_is_no_request() -> None:
    found = weights(((1, 100), (2, 0)), {1: ["o"], 2: ["n"], 3: ["x"]})
    assert found["o"] > 0
    assert (found["n"], found["x"]) == (0, 0)


def test_a_share_without_replicas_goes_to_the_others_in_proportion() -> None:
    found = weights(((1, 60), (2, 20), (3, 20)), {1: ["a"], 2: ["b"], 3: []})
    assert share_of(found, ["a"]) == 75


def test_where_nobody_with_a_share_has_a_replica_all_count_the_same() -> None:
    assert weights(((2, 100),), {1: ["a", "b"], 2: []}) == {"a": 100, "b": 100}


@given(st.integers(0, 100), st.integers(1, 30), st.integers(1, 30))
def test_what_a_revision_gets_is_its_percent_and_every_weight_fits(percent: int, old: int, new: int) -> None:
    names = {1: [f"o{n}" for n in range(old)], 2: [f"n{n}" for n in range(new)]}
    found = weights(((1, 100 - percent), (2, percent)), names)
    assert all(0 <= weight <= 256 for weight in found.values())
    assert abs(share_of(found, names[2]) - percent) <= 0.5
    for of_one in names.values():
        assert max(found[name] for name in of_one) - min(found[name] for name in of_one) <= 1
