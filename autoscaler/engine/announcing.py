"""A durable record as `notify` plugins are told of it: plain JSON values with the names of the audit event."""

from __future__ import annotations

from typing import Any

from autoscaler.core.records import Record


def announcement(record: Record) -> dict[str, Any]:
    """What a notifier gets; ``at`` in seconds since the epoch."""
    return {
        "service": record.service,
        "type": record.type,
        "kind": record.kind,
        "verdict": record.verdict,
        "terminal": record.terminal,
        "at": record.at,
        "reason": {
            "code": record.reason.code,
            "text": record.reason.text,
            "numbers": dict(record.reason.numbers),
        },
        "before": {"revision": record.before.revision, "demand": record.before.demand},
        "after": {"revision": record.after.revision, "demand": record.after.demand},
        "causes": [{"source": cause.source, "id": cause.id} for cause in record.causes],
    }
