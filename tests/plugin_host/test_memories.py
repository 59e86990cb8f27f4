"""Memories are copied, compared and judged fast, and mean what JSON means."""

from __future__ import annotations

import collections
import enum
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.plugin_host.memories import MEMORY_BYTES_MAX, copied, judged, made_plain

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4) | st.tuples(inner, inner)
    ),
    max_leaves=12,
)
MEMORIES = st.dictionaries(st.text(max_size=8), VALUES, max_size=5)


def as_json(memory: Any) -> Any:
    """What JSON makes of it; None where it is none of JSON's."""
    try:
        text = json.dumps(memory, allow_nan=False, ensure_ascii=False)
        text.encode()
    except ValueError:
        return None
    return json.loads(text)


@given(MEMORIES)
def test_a_changed_memory_is_kept_exactly_where_it_is_json_and_then_as_json_has_it(memory: dict[str, Any]) -> None:
    kept, problem = judged(memory, {"something": "else"})
    assert kept == as_json(memory)
    assert bool(problem) == (kept is None)
    if kept is not None:
        assert repr(kept) == repr(as_json(memory)), "an int is no float, and True no 1"


@given(MEMORIES)
def test_an_unchanged_copy_is_not_kept_again(memory: dict[str, Any]) -> None:
    kept, problem = judged(memory, {"something": "else"})
    if problem or kept is None:
        return
    mine = copied(kept)
    assert mine == kept
    assert mine is not kept
    assert judged(mine, kept) == (None, "")


def test_a_copy_shares_nothing_that_can_change() -> None:
    kept = {"rows": [[1, 2], {"a": [3]}]}
    mine = copied(kept)
    mine["rows"][1]["a"].append(4)
    assert kept == {"rows": [[1, 2], {"a": [3]}]}
    assert judged(mine, kept) == (mine, "")


def test_a_change_that_equality_does_not_see_is_one() -> None:
    for other in (True, 1.0):
        kept, problem = judged({"n": other}, {"n": 1})
        assert (repr(kept), problem) == (repr({"n": other}), "")


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(1.5), 1.5),
        ((1, (2,)), [1, [2]]),
        (Colour.RED, 1),
        (collections.OrderedDict(a=1), {"a": 1}),
        ({1: "one"}, {"1": "one"}),
        (2**70, 2**70),
        ([2**63, -(2**63)], [2**63, -(2**63)]),
        ([0.5, 10**400], [0.5, 10**400]),
        ("größer", "größer"),
    ],
    ids=str,
)
def test_what_json_can_say_is_kept_as_json_says_it(value: Any, plain: Any) -> None:
    kept, problem = judged({"x": value}, {})
    assert problem == ""
    assert repr(kept) == repr({"x": plain})
    assert judged(copied(kept), kept) == (None, "")


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), b"bytes", bytearray(b"x"), np.zeros(3), {1}, object(), "\ud800", {"k": 1j}, {(1,): 2}],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_json_value_is_not_kept(value: Any) -> None:
    kept, problem = judged({"x": [value]}, {})
    assert kept is None
    assert problem.startswith("memory holds what is no JSON value")


class Spiteful:
    def __eq__(self, other: object) -> bool:
        raise SystemExit("not with me")

    __hash__ = None  # type: ignore[assignment]


def test_a_value_that_cannot_be_compared_is_not_kept() -> None:
    kept, problem = judged({"n": Spiteful()}, {"n": 1})
    assert kept is None
    assert problem.startswith("memory holds what is no JSON value")


def test_a_memory_that_holds_itself_or_is_far_too_deep_is_not_kept() -> None:
    round_and_round: dict[str, Any] = {}
    round_and_round["x"] = [round_and_round]
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for memory in (round_and_round, {"x": deep}):
        assert judged(memory, {})[1].startswith("memory holds what is no JSON value")


def test_what_is_deep_within_reason_is_kept_and_copied() -> None:
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    kept, problem = judged({"x": deep}, {})
    assert problem == ""
    assert kept is not None
    assert copied(kept) == {"x": deep}


def test_the_bound_is_that_of_the_text() -> None:
    room = MEMORY_BYTES_MAX - len('{"x":""}')
    for text in ("y" * room, "y" * (room - 2) + "\n", "ü" * (room // 2)):
        assert judged({"x": text}, {})[1] == ""
        assert judged({"x": text + "y"}, {})[1] == f"memory of {MEMORY_BYTES_MAX + 1} bytes is over {MEMORY_BYTES_MAX}"
    assert judged({"x": list(range(20_000))}, {})[1].endswith(f"bytes is over {MEMORY_BYTES_MAX}")


def test_only_a_mapping_is_a_memory() -> None:
    assert made_plain([1]) == (None, "memory must stay a mapping")
