"""Records of events that never reach `decide`: those that cannot be read, and those for a service nobody configured.
Pure."""

from __future__ import annotations

from autoscaler.core.draft import Draft, known_event
from autoscaler.core.facts import EventRef, Reason
from autoscaler.core.records import Record, Verdict
from autoscaler.core.state import ServiceState


def reject(state: ServiceState, event: EventRef | None, reason: Reason, at: float) -> tuple[Record, ...]:
    """The records of an unreadable event; ``event`` is None where its identity could not be read or it needs no
    verdict."""
    draft = Draft(state, at)
    known = known_event(state, event) if event is not None else None
    if known is not None:
        seen = Reason("duplicate", f"seen before: {known.verdict or 'undecided so far'}")
        draft.add("rejected", "deployment", seen, verdict="duplicate", event=event)
    else:
        verdict: Verdict | None = "rejected" if event is not None else None
        draft.add("rejected", "deployment", reason, verdict=verdict, terminal=event is not None, event=event)
    return tuple(draft.records)


def turn_away(state: ServiceState, event: EventRef, at: float, *, repeated: bool = False) -> tuple[Record, ...]:
    """The record of a well-formed event for a service that is not configured."""
    draft = Draft(state, at)
    if repeated:
        seen = Reason("duplicate", "seen before: refused")
        draft.add("refused", "deployment", seen, verdict="duplicate", event=event)
        return tuple(draft.records)
    draft.settle(
        event, "refused", "deployment", Reason("unknown_service", "no such service is configured. Add it to services")
    )
    return tuple(draft.records)
