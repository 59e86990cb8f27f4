"""One example of every event type at least: the files under ``events/examples``, and what documentation quotes.

Old examples stay for ever as the compatibility suite: add, never change.
"""

from __future__ import annotations

from typing import Any

from autoscaler.events.envelope import CONTROL_TYPE, DEPLOYMENT_TYPE, METRIC_TYPE
from autoscaler.events.hashing import FIRST_PREVHASH, event_hash

_TIME = "2026-11-23T10:00:00Z"
_FULL_REVISION: dict[str, Any] = {
    "image": "shop/checkout:2.4.1",
    "env": {"MODE": "prod"},
    "ports": {"http": 8080, "admin": {"container": 9000, "host": 9000}},
    "resources": {"cpu": "500m", "memory": "256Mi"},
    "health": {"http": "/healthz", "port": "http", "every": "1s", "timeout": "1s", "failures": 3, "start": "10s"},
    "stop": {"signal": "TERM", "grace": "10s"},
    "labels": {"team": "shop"},
}
_CONTROL: dict[str, dict[str, Any]] = {
    "scale": {"command": "scale", "replicas": 6, "for": "30m", "reason": "sale starts"},
    "scale-auto": {"command": "scale", "replicas": "auto"},
    "rollback": {"command": "rollback", "to": 4, "reason": "checkout is slow"},
    "pause": {"command": "pause", "for": "10m"},
    "resume": {"command": "resume"},
    "promote": {"command": "promote"},
    "abort": {"command": "abort"},
    "approve": {"command": "approve", "reason": "looked at it"},
    "freeze": {"command": "freeze", "scope": "all", "for": "2h"},
    "unfreeze": {"command": "unfreeze"},
    "retire": {"command": "retire", "reason": "replaced by basket"},
}


def input_examples() -> dict[str, dict[str, Any]]:
    """Name -> metric, deployment or control event."""
    examples = {
        "metric.v1": _event(METRIC_TYPE, "m-1", "/monitor/eu", {"requests_per_second": 412.5, "error_ratio": 0.01}),
        "metric.v1.samples": _event(METRIC_TYPE, "m-2", "/monitor/eu", {"samples": _samples()}),
        "deployment.v1": _event(DEPLOYMENT_TYPE, "d-1", "/ci/shop", {"version": "2.4.1", "revision": _FULL_REVISION}),
        "deployment.v1.image": _event(
            DEPLOYMENT_TYPE, "d-2", "/ci/shop", {"version": "2.4.2", "revision": {"image": "shop/checkout:2.4.2"}}
        ),
        "deployment.v1.process": _event(
            DEPLOYMENT_TYPE, "d-3", "/ci/shop", {"revision": {"command": ["python", "-m", "checkout"]}}
        ),
    }
    for name, data in _CONTROL.items():
        examples[f"control.v1.{name}"] = _event(CONTROL_TYPE, f"c-{name}", "/cli/ops", data)
    return examples


def audit_examples() -> dict[str, dict[str, Any]]:
    """Name -> audit event; together, in this order, the beginning of one service's chain."""
    deployed = {"source": "/ci/shop", "id": "d-1"}
    failed = {"code": "startup_deadline", "text": "1 of 1 new replicas not healthy in 10 s"}
    told: list[dict[str, Any]] = [
        {"kind": "deployment", "verdict": "accepted", "reason": _reason("accepted", "the image is being resolved"),
         "event": deployed},
        {"type": "acted", "kind": "update", "reason": _reason("created", "created s0 of revision 5 on h1"),
         "causes": [deployed], "after": {"revision": 5, "demand": 8}, "changes": {}},
        {"type": "observed", "kind": "heal", "reason": _reason("exited", "s3 exited with code 137", code=137)},
        {"kind": "rollback", "verdict": "rolled_back", "terminal": True, "event": deployed, "generation": 2,
         "reason": {**failed, "numbers": {"failed": 1, "of": 1}}, "before": {"revision": 5, "demand": 8},
         "inputs": [{"signal": "requests_per_second", "value": 400, "age_s": 1.2}],
         "proposals": [{"policy": "target_value", "kind": "scale", "to": 9, "text": "412.5 over 50 a replica = 9"}],
         "clamps": [{"guard": "max", "before": 9, "after": 8, "text": "8 at most"}],
         "changes": {"revision": 4}},
        {"type": "refused", "kind": "control", "verdict": "refused", "terminal": True, "generation": 2,
         "event": {"source": "/cli/ops", "id": "c-1"},
         "reason": _reason("bounds", "50 is above max 40", asked=50, max=40)},
        {"type": "rejected", "kind": "control", "verdict": "rejected", "terminal": True, "generation": 2,
         "event": {"source": "/cli/ops", "id": "c-2"},
         "reason": _reason("not_a_number", "must be a whole number or auto")},
    ]  # fmt: skip
    examples: dict[str, dict[str, Any]] = {}
    prevhash = FIRST_PREVHASH
    for seq, parts in enumerate(told, start=1):
        event = _audit(seq, prevhash, dict(parts))
        prevhash = event["hash"]
        name = f"{event['type'].removeprefix('io.eventscaler.')}"
        examples[name if name not in examples else f"{name}.{parts['verdict']}"] = event
    return examples


def _event(type_: str, id_: str, source: str, data: dict[str, Any]) -> dict[str, Any]:
    event = {"specversion": "1.0", "id": id_, "source": source, "type": type_, "subject": "checkout", "time": _TIME}
    return event | {"datacontenttype": "application/json", "data": data}


def _samples() -> list[dict[str, Any]]:
    return [
        {"name": "error_ratio", "value": 0.2, "time": "2026-11-23T09:59:58.500Z", "revision": 5},
        {"name": "error_ratio", "value": 0.01, "time": "2026-11-23T09:59:58.500Z", "revision": 4},
        {"name": "queue_length", "value": 840},
    ]


def _reason(code: str, text: str, /, **numbers: float) -> dict[str, Any]:
    return {"code": code, "text": text, "numbers": numbers}


def _audit(seq: int, prevhash: str, parts: dict[str, Any]) -> dict[str, Any]:
    kind = parts.pop("type", "decided")
    stood = {"revision": 4, "demand": 8}
    causes = parts.get("causes", [parts["event"]] if parts.get("event") else [])
    data: dict[str, Any] = {
        "service": "checkout", "seq": seq, "generation": 1, "partition": 10, "token": 3, "kind": "", "verdict": None,
        "terminal": False, "reason": {}, "before": stood, "after": stood, "event": None, "causes": causes, "inputs": [],
        "proposals": [], "clamps": [], "changes": {},
    } | parts  # fmt: skip
    data["changes"] = data["changes"] | {"updated_at": 1795428010.12 + seq}
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"checkout/{seq}/{data['verdict'] or data['reason']['code']}",
        "source": "/eventscaler/shop",
        "type": f"io.eventscaler.{kind}.v1",
        "subject": "checkout",
        "time": f"2026-11-23T10:00:{10 + seq}.120Z",
    }
    if causes:
        event |= {"correlationid": causes[0]["id"], "causationid": causes[-1]["id"]}
    event |= {"prevhash": prevhash, "datacontenttype": "application/json", "data": data}
    return event | {"hash": event_hash(event)}
