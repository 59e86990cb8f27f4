"""The hash that links audit events: SHA-256 over the RFC 8785 form of an event without its ``hash``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import rfc8785

from autoscaler.errors import LedgerError

FIRST_PREVHASH = "0" * 64
"""``prevhash`` of a chain's first event."""

_SAFE_INTEGER = 2**53 - 1
_write = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False).encode


def event_hash(event: Mapping[str, Any]) -> str:
    """The hash of ``event``, in lower-case hex. Raises `LedgerError` where it holds what RFC 8785 cannot write."""
    return hashlib.sha256(canonical({name: value for name, value in event.items() if name != "hash"})).hexdigest()


def canonical(document: dict[str, Any]) -> bytes:
    """The RFC 8785 form. What the standard library writes alike, which is nearly everything, it writes: ten times as
    fast. Raises `LedgerError` where there is no such form."""
    try:
        return _write(_alike(document)).encode()
    except (ValueError, RecursionError):
        # Not swallowed: the complete way meets the same trouble and names it.
        pass
    try:
        return rfc8785.dumps(document)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise LedgerError(f"an audit event cannot be hashed: {error}") from error


def _alike(value: Any) -> Any:
    """``value`` as the standard library's writer has to get it; ValueError where it would write another form.

    Python writes a float as ECMAScript does where there is no exponent and a fraction; a whole one is written as the
    integer that it is. ASCII names sort alike by code point and by UTF-16 unit.
    """
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return value
    if kind is dict:
        for name in value:
            if type(name) is not str or not name.isascii():
                raise ValueError
        return {name: _alike(held) for name, held in value.items()}
    if kind is list or kind is tuple:
        return [_alike(held) for held in value]
    if kind is float:
        if value.is_integer() and -_SAFE_INTEGER <= value <= _SAFE_INTEGER:
            return int(value)
        if 1e-4 <= abs(value) < 1e15:  # noqa: PLR2004 - well inside the range without an exponent
            return value
    elif kind is int and -_SAFE_INTEGER <= value <= _SAFE_INTEGER:
        return value
    raise ValueError
