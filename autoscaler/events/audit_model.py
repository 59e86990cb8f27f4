"""What ``data`` of an audit event holds, as a model: for its schema, and for readers in tests. The ledger writes it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from autoscaler.core.records import Verdict
from autoscaler.events.revision_model import STRICT

HEX64 = r"^[0-9a-f]{64}$"


class RefModel(BaseModel):
    """An event or record, by source and id."""

    model_config = STRICT
    source: str
    id: str


class ReasonModel(BaseModel):
    """Why: a code of a closed set, words for a person, and the numbers in the words; null is not a finite number."""

    model_config = STRICT
    code: str
    text: str
    numbers: dict[str, float | None]


class StandpointModel(BaseModel):
    """Wanted revision and demand."""

    model_config = STRICT
    revision: int
    demand: int


class InputModel(BaseModel):
    """A signal that the decision looked at; null = unknown."""

    model_config = STRICT
    signal: str
    value: float | None
    age_s: float | None


class ProposalModel(BaseModel):
    """A policy's opinion."""

    model_config = STRICT
    policy: str
    kind: str
    to: int | None
    text: str


class ClampModel(BaseModel):
    """What a guard did to a proposal."""

    model_config = STRICT
    guard: str
    before: int
    after: int
    text: str


class AuditData(BaseModel):
    """One record of the ledger.

    ``seq`` grows by one per chain. ``verdict`` and ``terminal``: a deployment or control event gets exactly one record
    with ``terminal: true``. ``changes``: the fields of the service's state that the record changed, with their new
    values; the trail folded from its start is the state.
    """

    model_config = STRICT
    service: str
    seq: int = Field(ge=1)
    generation: int = Field(ge=0)
    partition: int = Field(ge=0)
    token: int = Field(ge=0)
    kind: str
    verdict: Verdict | None
    terminal: bool
    reason: ReasonModel
    before: StandpointModel
    after: StandpointModel
    event: RefModel | None
    causes: list[RefModel]
    inputs: list[InputModel]
    proposals: list[ProposalModel]
    clamps: list[ClampModel]
    changes: dict[str, Any]
