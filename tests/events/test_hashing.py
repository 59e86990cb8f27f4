"""The fast way to the canonical form writes what the reference implementation writes, or leaves it to that."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from autoscaler.errors import LedgerError
from autoscaler.events.hashing import canonical, event_hash

NUMBERS = st.one_of(
    st.integers(-(2**54), 2**54),
    st.floats(),
    st.floats(-1000, 1000),
    st.integers(-(2**53), 2**53).map(float),
    st.integers(-20, 25).map(lambda exponent: 10.0**exponent),
    st.integers(-8, 8).map(lambda exponent: 1.5 * 10.0**exponent),
)
TEXTS = st.text(st.characters(codec=None), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda held: (
        st.lists(held, max_size=4) | st.lists(held, max_size=3).map(tuple) | st.dictionaries(TEXTS, held, max_size=4)
    ),
    max_leaves=12,
)


def reference(document: dict[str, Any]) -> bytes | None:
    try:
        return rfc8785.dumps(document)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        return None


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
@example(
    {"whole": 1.0, "negative zero": -0.0, "small": 1e-4, "smaller": 9.9e-5, "large": 1e15, "larger": 1e21, "n": 5e-324}
)
@example({"control": "\x00\x08\x0b\x1f\x7f\u2028\ud83d\ude00", "\ue000": 1, "\U00010000": 2})
@example({"half a pair": "\ud800"})
@example({"\ud800": "half a pair"})
@example({"nan": float("nan")})
@example({"true": True, "one": 1, "tuple": (1, (2.0,))})
def test_canonical_form_is_that_of_the_reference(document: dict[str, Any]) -> None:
    wanted = reference(document)
    if wanted is None:
        with pytest.raises(LedgerError):
            canonical(document)
    else:
        assert canonical(document) == wanted


def test_hash_leaves_the_hash_out() -> None:
    event = {"id": "a", "data": {"value": 2.0}, "hash": "anything"}
    assert event_hash(event) == hashlib.sha256(b'{"data":{"value":2},"id":"a"}').hexdigest()


def test_a_tree_without_end_has_no_form() -> None:
    document: dict[str, Any] = {}
    document["itself"] = document
    with pytest.raises(LedgerError):
        canonical(document)


def test_what_the_canonical_form_says_is_what_was_given() -> None:
    document = {"b": [1, 2.5, None, True], "a": {"é": "ü"}}
    assert json.loads(canonical(document)) == document
