"""Strategies for any state and any record that the core's types allow, made of the types themselves."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from autoscaler.core.records import Record
from autoscaler.core.state import ServiceState
from autoscaler.ledger.fields import OWN_FIELDS

_TEXT = st.sampled_from(["", "a", "checkout", "h1", "9" * 64, "caf\u00e9", "\x00\x7f\u2028", "\U0001f600", '"\\/'])
_INTEGERS = st.sampled_from([0, 1, -1, 7, 2**31, 2**53 - 1])
_FLOATS = st.sampled_from(
    [0.0, -0.0, 1.0, 0.1, 1e-7, 1e21, 1.7e308, 5e-324, 1_795_428_014.123456, -2.5e-9, 123456789e12]
)
_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: _TEXT,
    int: _INTEGERS,
    float: _FLOATS,
    bool: st.booleans(),
    type(None): st.none(),
}


@cache
def any_of(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that the core uses: plain ones, literals, unions, tuples, mappings and dataclasses."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if origin is Literal:
        return st.sampled_from(parts)
    if origin in {Union, types.UnionType}:
        return st.one_of([any_of(part) for part in parts])
    if origin is tuple and len(parts) == 2 and parts[1] is ...:
        return st.lists(any_of(parts[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*(any_of(part) for part in parts))
    if origin is Mapping:
        return st.dictionaries(any_of(parts[0]), any_of(parts[1]), max_size=2)
    assert isinstance(hint, type) and is_dataclass(hint), hint  # noqa: PT018
    return st.builds(hint, **{name: any_of(part) for name, part in get_type_hints(hint).items()})


_STATE = get_type_hints(ServiceState)
_RECORD = {n: h for n, h in get_type_hints(Record).items() if n not in {"changes", "at", "service"}}
_CHANGED = sorted(set(_STATE) - OWN_FIELDS - {"updated_at"})

states: st.SearchStrategy[ServiceState] = st.builds(
    ServiceState,
    **{name: any_of(hint) for name, hint in _STATE.items() if name not in OWN_FIELDS},
    service=st.just("checkout"),
    seq=st.integers(0, 2**40),
    generation=st.integers(0, 2**40),
    chain=st.sampled_from(["", "a" * 64]),
)


@st.composite
def record_lists(draw: st.DrawFn) -> list[Record]:
    """Up to three records, each changing up to three fields to anything."""
    made = []
    for _ in range(draw(st.integers(0, 3))):
        names = draw(st.lists(st.sampled_from(_CHANGED), max_size=3, unique=True))
        changes = {name: draw(any_of(_STATE[name])) for name in names}
        told = {name: draw(any_of(hint)) for name, hint in _RECORD.items()}
        made.append(Record(service="checkout", at=draw(st.floats(0, 4e9)), changes=changes, **told))
    return made
