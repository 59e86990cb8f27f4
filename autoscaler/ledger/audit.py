"""A record to the audit event that the outside world reads, and audit events back to state.

Called by `autoscaler.ledger.writing` and by every command that looks at the trail. The event carries the change of
state in the state record's own JSON, so that the trail folded from its start is the state.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

from autoscaler.core.facts import EventRef, Number
from autoscaler.core.records import Record, Standpoint
from autoscaler.core.state import ServiceState
from autoscaler.errors import EventRejected, LedgerError
from autoscaler.events.hashing import event_hash
from autoscaler.events.moments import write_time
from autoscaler.events.strict_json import parse_unique
from autoscaler.ledger.fields import from_json_values, to_json_values

AUDIT_TYPES = tuple(f"io.eventscaler.{kind}.v1" for kind in ("decided", "refused", "acted", "observed", "rejected"))
"""The types of audit events."""

_SAFE_INTEGER = 2**53 - 1


class AuditEvent(NamedTuple):
    """An audit event as a JSON object, as bytes, and its hash."""

    event: dict[str, Any]
    value: bytes
    hash: str


@dataclass(frozen=True, slots=True)
class Link:
    """Where in its chain an event goes: ``chain`` is the service, or the reserved key of what has no known service."""

    chain: str
    seq: int
    generation: int
    prevhash: str


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes: the cluster, the partition, and the token of its present owner."""

    cluster: str
    partition: int
    token: int


def audit_event(record: Record, link: Link, author: Author, changes: Mapping[str, object]) -> AuditEvent:
    """The audit event of ``record``; ``changes`` are the fields of state that it changed, with their new values.

    Raises `LedgerError` where ``changes`` hold a number that JSON cannot carry.
    """
    causes = _causes(record)
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"{link.chain}/{link.seq}/{record.verdict or record.reason.code}",
        "source": f"/eventscaler/{author.cluster}",
        "type": f"io.eventscaler.{record.type}.v1",
        "subject": link.chain,
        "time": write_time(record.at),
    }
    if causes:
        direct = record.event or causes[-1]
        event["correlationid"] = causes[0].id
        event["causationid"] = direct.id
    event["prevhash"] = link.prevhash
    event["hash"] = ""
    event["datacontenttype"] = "application/json"
    event["data"] = _data(record, link, author, causes) | {"changes": to_json_values(changes)}
    event["hash"] = event_hash(event)
    return AuditEvent(event, json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode(), event["hash"])


def _data(record: Record, link: Link, author: Author, causes: tuple[EventRef, ...]) -> dict[str, Any]:
    reason = record.reason
    return {
        "service": record.service,
        "seq": link.seq,
        "generation": link.generation,
        "partition": author.partition,
        "token": author.token,
        "kind": record.kind,
        "verdict": record.verdict,
        "terminal": record.terminal,
        "reason": {
            "code": reason.code,
            "text": _text(reason.text),
            "numbers": {name: _number(value) for name, value in reason.numbers.items()},
        },
        "before": _standpoint(record.before),
        "after": _standpoint(record.after),
        "event": None if record.event is None else _ref(record.event),
        "causes": [_ref(cause) for cause in causes],
        "inputs": [{"signal": i.signal, "value": _number(i.value), "age_s": _number(i.age_s)} for i in record.inputs],
        "proposals": [
            {"policy": p.policy, "kind": p.kind, "to": p.to, "text": _text(p.text)} for p in record.proposals
        ],
        "clamps": [
            {"guard": c.guard, "before": c.before, "after": c.after, "text": _text(c.text)} for c in record.clamps
        ],
    }


def _causes(record: Record) -> tuple[EventRef, ...]:
    if record.event is None or record.event in record.causes:
        return record.causes
    return (record.event, *record.causes)


def _ref(event: EventRef) -> dict[str, str]:
    return {"source": event.source, "id": event.id}


def _standpoint(standpoint: Standpoint) -> dict[str, int]:
    return {"revision": standpoint.revision, "demand": standpoint.demand}


def _number(value: Number | None) -> Number | None:
    # A plugin's own numbers come this far; what JSON cannot carry is shown as unknown rather than stop the partition.
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, float) or abs(value) <= _SAFE_INTEGER else None


def _text(text: str) -> str:
    return text.encode(errors="replace").decode()


def read_audit(value: bytes) -> dict[str, Any]:
    """The audit event in ``value``. Raises `LedgerError` where it is none; its hash is not checked here."""
    try:
        event: Any = parse_unique(value)
    except EventRejected as error:
        raise LedgerError(f"audit event: {error}") from error
    if not isinstance(event, dict) or event.get("type") not in AUDIT_TYPES:
        raise LedgerError("audit event: not one of ours")
    data: Any = event.get("data")
    counted = isinstance(data, dict) and all(type(data.get(name)) is int for name in ("seq", "generation"))
    if not counted or not all(isinstance(event.get(name), str) for name in ("subject", "hash", "prevhash")):
        raise LedgerError("audit event: subject, hash, prevhash, data.seq and data.generation are required")
    return cast("dict[str, Any]", event)


def replay_state(events: Iterable[Mapping[str, Any]], base: ServiceState | None = None) -> ServiceState:
    """The state after the audit events of one service, in order, from its beginning or on top of ``base``.

    Raises `LedgerError` where an event is missing, out of order, of another service, or cannot be read.
    """
    state = base
    for event in events:
        service, data = event["subject"], event["data"]
        if state is None:
            state = ServiceState(service)
        if service != state.service or data["seq"] != state.seq + 1:
            raise LedgerError(f"{service}: event {data['seq']} does not follow event {state.seq} of {state.service}")
        changes = from_json_values(data.get("changes", {}))
        counted = {"seq": data["seq"], "generation": data["generation"], "chain": event["hash"]}
        state = replace(state, **cast("dict[str, Any]", changes | counted))
    if state is None:
        raise LedgerError("no audit event to replay")
    return state
