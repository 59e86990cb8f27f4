"""The hash that links audit events: SHA-256 over the RFC 8785 form of an event without its ``hash``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785

from autoscaler.errors import LedgerError

FIRST_PREVHASH = "0" * 64
"""``prevhash`` of a chain's first event."""


def event_hash(event: Mapping[str, Any]) -> str:
    """The hash of ``event``, in lower-case hex. Raises `LedgerError` where it holds what RFC 8785 cannot write."""
    unsealed = {name: value for name, value in event.items() if name != "hash"}
    try:
        return hashlib.sha256(rfc8785.dumps(unsealed)).hexdigest()
    except rfc8785.CanonicalizationError as error:
        raise LedgerError(f"an audit event cannot be hashed: {error}") from error
