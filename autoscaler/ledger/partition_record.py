"""The partition record: who owns a partition, how far its inputs are consumed, and whether the owner let go.

One per partition on the state topic, under a reserved key that no service name can be; written in the same transaction
as what it covers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from autoscaler.core.host_marks import Mark
from autoscaler.events.hashing import FIRST_PREVHASH
from autoscaler.events.revision_model import STRICT
from autoscaler.ledger.fields import unreadable
from autoscaler.ports.stream import Outgoing, Topic

RESERVED = b"~"
"""Keys that begin so are the ledger's own; a service name cannot."""


@dataclass(frozen=True, slots=True)
class ChainHead:
    """Where a chain stands: its newest event's seq and hash."""

    seq: int = 0
    hash: str = FIRST_PREVHASH


@dataclass(frozen=True, slots=True)
class PartitionRecord:
    """Who owns a partition and how far it is.

    ``token`` grows by one with each take-over. ``positions``: input topic -> next offset. ``released``: the owner let
    go at ``at`` (seconds since the epoch) and acts no more. ``configuration``: the digest that it decided by.
    ``unrouted``: the chain of records without a known service. ``marks``: hosts that operators drain or cordon.
    """

    partition: int
    token: int
    positions: Mapping[Topic, int] = field(default_factory=lambda: MappingProxyType({}))
    released: bool = False
    at: float = 0.0
    configuration: str = ""
    unrouted: ChainHead = ChainHead()
    member: str = ""
    held_until: float = 0.0
    marks: Mapping[str, Mark] = field(default_factory=lambda: MappingProxyType({}))


class _HeadModel(BaseModel):
    model_config = STRICT
    seq: int = Field(ge=0)
    hash: str = Field(min_length=64, max_length=64)


class _PartitionModel(BaseModel):
    model_config = STRICT
    version: Literal[1] = Field(alias="schema")
    partition: int = Field(ge=0)
    token: int = Field(ge=0)
    positions: dict[Topic, int]
    released: bool
    at: float
    configuration: str
    unrouted: _HeadModel
    member: str = Field(default="", max_length=255)
    held_until: float = 0.0
    marks: dict[str, Mark] = {}


def partition_key(partition: int) -> bytes:
    """The key of the partition record."""
    return f"~partition/{partition}".encode()


def unrouted_chain(partition: int) -> str:
    """The chain, and key, of records of the partition that belong to no known service."""
    return f"~unrouted/{partition}"


def is_reserved(key: bytes | None) -> bool:
    """Whether a message of the state topic is the ledger's own, not a service's state."""
    return key is not None and key.startswith(RESERVED)


def encode_partition(record: PartitionRecord) -> Outgoing:
    """The partition record as it is written."""
    model = _PartitionModel(
        schema=1,
        partition=record.partition,
        token=record.token,
        positions=dict(record.positions),
        released=record.released,
        at=record.at,
        configuration=record.configuration,
        unrouted=_HeadModel(seq=record.unrouted.seq, hash=record.unrouted.hash),
        member=record.member,
        held_until=record.held_until,
        marks=dict(record.marks),
    )
    return Outgoing(Topic.STATE, partition_key(record.partition), model.model_dump_json(by_alias=True).encode())


def decode_partition(value: bytes) -> PartitionRecord:
    """The partition record in ``value``. Raises `LedgerError` where it cannot be read."""
    try:
        model = _PartitionModel.model_validate_json(value)
    except ValidationError as error:
        raise unreadable(error, "partition record") from None
    return PartitionRecord(
        partition=model.partition,
        token=model.token,
        positions=MappingProxyType(model.positions),
        released=model.released,
        at=model.at,
        configuration=model.configuration,
        unrouted=ChainHead(model.unrouted.seq, model.unrouted.hash),
        member=model.member,
        held_until=model.held_until,
        marks=MappingProxyType(model.marks),
    )
