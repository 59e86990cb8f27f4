"""`evolve`: the fold of records into state, the only way a service's state ever changes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

from autoscaler.core.records import Record
from autoscaler.core.state import ServiceState


def evolve(state: ServiceState, record: Record) -> ServiceState:
    """The state after ``record``: its changes applied, seq one higher, generation one higher where desired state
    changed."""
    changes = cast("dict[str, Any]", dict(record.changes))
    return replace(
        state,
        **changes,
        seq=state.seq + 1,
        generation=state.generation + (1 if record.raises_generation else 0),
        updated_at=record.at,
    )


def fold(state: ServiceState, records: Iterable[Record]) -> ServiceState:
    """The state after all ``records``, in order."""
    for record in records:
        state = evolve(state, record)
    return state
