"""What the ends of actions mean for the state. Called by `decide`, for all that ended since the last decision at once.
Pure.

Rules: done is written down, in one record for all; refused by the revision's own fault is a failed replica; refused by
the host or a name that is taken moves the replica to a new attempt; unavailable and unknown change nothing here, the
hosts are looked at anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from autoscaler.core.actions import Create, Outcome, Start, StopReplica
from autoscaler.core.draft import Draft, because
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.sightings import Blame, Failure, drop, label_in, label_of
from autoscaler.core.state import Replica

TEXT_MAX = 1000


def note_outcomes(draft: Draft, settings: ServiceSettings, outcomes: Sequence[Outcome]) -> list[Failure]:
    """Record the outcomes; replicas that cannot be are returned as failed."""
    wanted = {label_of(replica): replica for replica in draft.state.replicas}
    _note_created(draft, outcomes, wanted)
    stopped = [o for o in outcomes if isinstance(o.action, StopReplica) and o.result == "done"]
    if stopped:
        names = ", ".join(f"{o.action.name} on {o.action.host}" for o in stopped if isinstance(o.action, StopReplica))
        draft.add("acted", "schedule", because("stopped", f"stopped {names}"[:TEXT_MAX], count=len(stopped)))
    failures = [
        _failure(outcome, wanted[label])
        for outcome in outcomes
        if isinstance(outcome.action, Create | Start)
        and outcome.result in {"refused", "conflict"}
        and (label := label_in(outcome.action.name)) in wanted
    ]
    if failures:
        drop(draft, settings.update, failures)
    return failures


def _note_created(draft: Draft, outcomes: Sequence[Outcome], wanted: Mapping[str, Replica]) -> None:
    made = [label_in(o.action.name) for o in outcomes if isinstance(o.action, Create) and o.result == "done"]
    fresh = {label for label in made if label in wanted and wanted[label].created_at is None}
    if not fresh:
        return
    replicas = tuple(replace(r, created_at=draft.at) if label_of(r) in fresh else r for r in draft.state.replicas)
    names = ", ".join(f"{label} on {wanted[label].host}" for label in made if label in fresh)
    reason = because("created", f"created {names}"[:TEXT_MAX], count=len(fresh))
    draft.add("acted", "schedule", reason, replicas=replicas)


def _failure(outcome: Outcome, replica: Replica) -> Failure:
    blame: Blame = "revision" if outcome.blame == "revision" else "host"
    code = "conflict" if outcome.result == "conflict" else f"{outcome.action.kind}_refused"
    return Failure(replica, because(code, f"{label_of(replica)} on {replica.host}: {outcome.text}"[:500]), blame)
