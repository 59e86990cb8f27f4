"""What the appends and the trail of a log tell of its events."""

from __future__ import annotations

import json

from autoscaler.ports.stream import Append, Topic
from tests.engine.instances import verdicts
from tests.engine.streams import MemoryLog


def covered(append: Append) -> int:
    """Next deployment to be read."""
    return append.positions.get(Topic.DEPLOYMENTS, 0)


def decided_in(append: Append) -> list[str]:
    """Ids of the deployments that the append has a first record of."""
    events = [json.loads(record.value or b"") for record in append.records if record.topic is Topic.AUDIT]
    named = (event["data"]["event"] for event in events if event["data"]["verdict"])
    return list(dict.fromkeys(event["id"] for event in named if event is not None))


def passes_no_undecided_event(log: MemoryLog, identities: list[str]) -> bool:
    """Whether each append's position covers only deployments that are decided by then; ``identities`` by offset."""
    decided: set[str] = set()
    for append in log.appends:
        decided |= set(decided_in(append))
        if not set(identities[: covered(append)]) <= decided:
            return False
    return True


def first_verdicts(log: MemoryLog) -> list[str]:
    """Ids of events in the order of their first verdict."""
    return list(dict.fromkeys(identity for identity, _, _ in verdicts(log)))


def terminal(log: MemoryLog) -> list[str]:
    """Ids of events with a terminal verdict, as often as they have one."""
    return sorted(identity for identity, _, final in verdicts(log) if final)
