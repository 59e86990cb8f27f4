"""What an action's end means for the state. Called by `decide` for an `OutcomeArrived`. Pure.

Rules: done is written down; refused by the revision's own fault is a failed replica; refused by the host or a name
that is taken moves the replica to a new attempt; unavailable and unknown change nothing here, the hosts are looked at
anew.
"""

from __future__ import annotations

from dataclasses import replace

from autoscaler.core.actions import Create, Outcome, Start, StopReplica
from autoscaler.core.draft import Draft, because
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.sightings import Blame, Failure, drop
from autoscaler.core.state import Replica, ServiceState


def note_outcome(draft: Draft, settings: ServiceSettings, outcome: Outcome) -> list[Failure]:
    """Record the outcome; a replica that cannot be is returned as failed."""
    action = outcome.action
    match action:
        case Create():
            replica = _replica_named(draft.state, action.slot, action.revision, action.attempt)
            if replica is None:
                return []
            if outcome.result == "done":
                _note_created(draft, replica)
                return []
            return _note_impossible(draft, settings, outcome, replica)
        case Start():
            replica = next(
                (r for r in draft.state.replicas if action.name.endswith(f".s{r.slot}.r{r.revision}.{r.attempt}")), None
            )
            return (
                []
                if replica is None or outcome.result == "done"
                else _note_impossible(draft, settings, outcome, replica)
            )
        case StopReplica():
            if outcome.result == "done":
                draft.add("acted", "schedule", because("stopped", f"stopped {action.name} on {action.host}"))
            return []
        case _:
            return []


def _replica_named(state: ServiceState, slot: int, revision: int, attempt: int) -> Replica | None:
    return next((r for r in state.replicas if (r.slot, r.revision, r.attempt) == (slot, revision, attempt)), None)


def _note_created(draft: Draft, replica: Replica) -> None:
    if replica.created_at is not None:
        return
    created = replace(replica, created_at=draft.at)
    replicas = tuple(created if r is replica else r for r in draft.state.replicas)
    text = f"created s{replica.slot}.r{replica.revision}.{replica.attempt} on {replica.host}"
    draft.add("acted", "schedule", because("created", text), replicas=replicas)


def _note_impossible(draft: Draft, settings: ServiceSettings, outcome: Outcome, replica: Replica) -> list[Failure]:
    if outcome.result not in {"refused", "conflict"}:
        return []
    blame: Blame = "revision" if outcome.blame == "revision" else "host"
    code = "conflict" if outcome.result == "conflict" else f"{outcome.action.kind}_refused"
    label = f"s{replica.slot}.r{replica.revision}.{replica.attempt} on {replica.host}"
    failure = Failure(replica, because(code, f"{label}: {outcome.text}"[:500]), blame)
    drop(draft, settings.update, [failure])
    return [failure]
