"""A record: what was decided, refused, done or seen, with its why and the change of state that it carries.

Made by `decide`, folded by `evolve`, written to the audit topic as a CloudEvent by the ledger. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from autoscaler.core.facts import Clamp, EventRef, ProposalNote, Reason, SignalReading

RecordType = Literal["decided", "refused", "acted", "observed", "rejected"]
Verdict = Literal[
    "applied",
    "unchanged",
    "rolled_back",
    "superseded",
    "refused",
    "rejected",
    "failed",
    "expired",
    "duplicate",
    "accepted",
]
"""The first eight are terminal; `duplicate` names the first verdict of a repeat, `accepted` opens an operation."""


@dataclass(frozen=True, slots=True)
class Standpoint:
    """Where the service stood: wanted revision and demand."""

    revision: int
    demand: int


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of the ledger.

    ``kind``: scale, update, rollback, hold, control, heal, schedule, deployment, service. ``changes``: ServiceState
    field -> new value; all that `evolve` applies. ``raises_generation``: true iff desired state (demand, revision)
    changed. ``event``: the deployment or control event that this settles or concerns; ``causes``: every event or
    record that led here.
    """

    type: RecordType
    service: str
    at: float
    kind: str
    reason: Reason
    before: Standpoint
    after: Standpoint
    verdict: Verdict | None = None
    terminal: bool = False
    event: EventRef | None = None
    causes: tuple[EventRef, ...] = ()
    inputs: tuple[SignalReading, ...] = ()
    proposals: tuple[ProposalNote, ...] = ()
    clamps: tuple[Clamp, ...] = ()
    changes: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    raises_generation: bool = False
