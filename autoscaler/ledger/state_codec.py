"""The state record: one service's durable state and its checkpoint, to bytes and back.

Written with every decision, read on take-over and by every command that looks. ``schema`` is 1; a reader refuses what
it does not know, so that an older program never drops what a newer one wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Required, cast

from pydantic import TypeAdapter, ValidationError, with_config
from pydantic_core import PydanticSerializationError, from_json
from typing_extensions import TypedDict

from autoscaler.core.state import ServiceState
from autoscaler.errors import LedgerError
from autoscaler.events.revision_model import STRICT
from autoscaler.ledger.fields import StateFields, non_default_values, plain, shared, unreadable

SCHEMA = 1
"""Version of the state record."""


@dataclass(frozen=True, slots=True)
class StateRecord:
    """What the state topic holds under a service's key; ``checkpoint`` is a JSON mapping beside the fold."""

    state: ServiceState
    checkpoint: Mapping[str, Any] | None = None


_members = {
    "schema": Required[Literal[1]],
    "service": Required[str],
    "state": Required[StateFields],
    "checkpoint": dict[str, Any] | None,
}
_Record: Any = with_config(STRICT)(cast("Any", TypedDict)("_Record", _members, total=False))
_record: TypeAdapter[dict[str, Any]] = TypeAdapter(_Record)


def encode_state(state: ServiceState, checkpoint: Mapping[str, Any] | None = None) -> bytes:
    """The value of a service's state record; fields that have their default are left out."""
    record: dict[str, Any] = {"schema": SCHEMA, "service": state.service, "state": non_default_values(state)}
    if checkpoint is not None:
        record["checkpoint"] = dict(checkpoint)
    try:
        return _record.dump_json(record, fallback=plain, warnings=False)
    except (PydanticSerializationError, TypeError) as error:
        raise LedgerError(f"the state of {state.service} cannot be written: {error}") from error


def decode_state(value: bytes) -> StateRecord:
    """The state and checkpoint in a state record. Raises `LedgerError` where it cannot be read."""
    try:
        record = _record.validate_json(value)
    except ValidationError as error:
        raise _unreadable_record(value, error) from None
    values = shared(record["state"])
    service = values.pop("service", record["service"])
    if service != record["service"]:
        raise LedgerError("state.service: differs from the record's service")
    return StateRecord(ServiceState(service=service, **values), record.get("checkpoint"))


def _unreadable_record(value: bytes, error: ValidationError) -> LedgerError:
    try:
        record = from_json(value)
    except ValueError:
        return LedgerError("state record: not JSON")
    schema = record.get("schema") if isinstance(record, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        return LedgerError(f"state record: schema {schema}, and this program reads {SCHEMA}; run the newer one")
    return unreadable(error, "state record")
