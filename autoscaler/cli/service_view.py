"""One service as commands show it: its state in words and as a document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autoscaler.cli.phrases import age_text, stamp, until_text
from autoscaler.cli.pool import PoolView
from autoscaler.cli.reading import Entry
from autoscaler.core.deployments import edited_later, rollback_bound
from autoscaler.core.freezing import updates_frozen
from autoscaler.core.judging import step_text
from autoscaler.core.revision import Revision, RevisionSpec
from autoscaler.core.rollout import (
    Advancing,
    Halted,
    Held,
    Idle,
    Judging,
    Preflight,
    Retired,
    Retiring,
    RollingBack,
    Soaking,
    running_of,
)
from autoscaler.core.scheduling import covers, ends_at
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.sightings import label_of
from autoscaler.core.state import ServiceState
from autoscaler.events.moments import read_time, write_time


def operation_text(state: ServiceState, now: float) -> str:
    """The operation in flight, in a few words."""
    text = "idle"
    match state.rollout:
        case Idle():
            pass
        case Preflight(deployment=deployment, lacks=lacks):
            waits = f", waits for {lacks}" if lacks else ""
            text = f"preflight of {deployment.version or what_runs(deployment.spec)}{waits}"
        case Advancing():
            text = _advancing_text(state, state.rollout)
        case Judging(target=target):
            text = f"update to {target}, {step_text(state.rollout)}: {_judging_text(state.rollout, now)}"
        case Soaking(target=target, until=until, standby=standby):
            ends = until_text(until, now, "").rstrip()
            text = f"revision {target} soaks {ends}{'; what it replaced stands by' if standby else ''}".rstrip()
        case Held(why=why, resumed=resumed, until=until):
            ends = f" {until_text(until, now, '')}".rstrip()
            at = f" at {step_text(resumed)}" if isinstance(resumed, Advancing | Judging) and resumed.steps else ""
            text = f"update to {resumed.target} held{at} ({why}){ends}{_HELD_REMEDIES[why]}"
        case RollingBack(target=target, rejected=rejected):
            text = f"rollback of {rejected} to {target}"
        case Halted(why=why):
            text = f"halted: {why.text}"
        case Retiring():
            text = f"retiring: {len(state.replicas)} replicas left"
        case Retired():
            text = "retired"
    return text


_HELD_REMEDIES = {
    "operator": "",
    "freeze": "",
    "failure": "; approve or abort",
    "inconclusive": "; approve, resume, promote or abort",
    "unknown": "; goes on when its checks have data; approve, promote or abort",
}
"""What an operator can do about a held rollout."""


def _advancing_text(state: ServiceState, rollout: Advancing) -> str:
    done = sum(1 for r in state.replicas if r.revision == rollout.target and r.available_at is not None)
    if rollout.current_step is not None:
        return f"update to {rollout.target}, on the way to {step_text(rollout)}: {done} available"
    whole = f"{min(done, rollout.touched)} of {rollout.touched} available"
    return f"update to {rollout.target}: {whole}{', not switched yet' if rollout.blue_green else ''}"


def _judging_text(rollout: Judging, now: float) -> str:
    """What the step waits for."""
    waits = []
    if rollout.until is None:
        waits.append("waits for promote (all the way), resume (the next step) or abort")
    elif rollout.until > now:
        waits.append(f"pauses {until_text(rollout.until, now, '')}".rstrip())
    if rollout.unknown_since is not None:
        waits.append("its checks have no data")
    return ", ".join(waits) or "waits for its checks"


def what_runs(spec: RevisionSpec) -> str:
    """The image, or the command of a process."""
    return spec.image or " ".join(spec.command or spec.entrypoint)


def revision_text(state: ServiceState) -> str:
    """``4 (2.4.1)``; a dash before the first revision."""
    current = state.current
    if current is None:
        return str(state.revision) if state.revision else "-"
    return f"{current.number} ({current.version})" if current.version else str(current.number)


def notes_of(state: ServiceState, settings: ServiceSettings | None, now: float) -> list[str]:
    """What a person should know beside the numbers: override, freeze, what is pending, what waits."""
    notes = []
    if state.override is not None:
        ends = until_text(state.override.until, now, "until scale auto")
        notes.append(f"override: {state.override.replicas} replicas {ends}, by {state.override.event.source}")
    notes += _planned_notes(state, settings, now)
    freeze = state.freeze
    if freeze is not None and (freeze.until is None or freeze.until > now):
        ends = until_text(freeze.until, now, "until unfreeze")
        covered = "updates and scaling" if freeze.scope == "all" else "updates"
        notes.append(f"freeze: {covered} stand still {ends}, by {freeze.event.source}")
    elif settings is not None and (frozen := updates_frozen(state, settings, now)) is not None:
        notes.append(f"freeze: {frozen[0]}, {until_text(frozen[1], now, 'without end')}")
    if settings is not None and edited_later(state, settings):
        notes.append("edited: the configuration's revision was changed since the service took it. Deploy it to run it")
    if state.pending is not None:
        notes.append(f"pending: {state.pending.text}")
    waits = [name for replica in state.replicas for name in replica.displaces]
    if waits:
        notes.append(f"displaces: {', '.join(waits)}, whose place it takes when they are gone")
    stuck = [one for one in state.leaving if one.told]
    if stuck:
        hosts = ", ".join(f"{one.host} ({age_text(max(0.0, now - one.since))})" for one in stuck)
        notes.append(f"stuck: replicas have not left {hosts}, which is to be emptied")
    if state.verification is not None:
        seen = "has not been" if state.verification.late else "is to be"
        by = f" {until_text(state.verification.until, now, '')}".rstrip() if not state.verification.late else ""
        what = f"revision {state.verification.revision} {seen} seen well again{by}, after {state.verification.text}"
        notes.append(f"{'alarm' if state.verification.late else 'verifying'}: {what}")
    if state.waiting is not None:
        bound = rollback_bound(state, settings, state.waiting.arrived_at) if settings is not None else ""
        why = f"waits for approve or abort: {bound}" if bound else "waits for the rollback to end"
        notes.append(f"waiting: {what_runs(state.waiting.spec)} {why}")
    return notes


def _planned_notes(state: ServiceState, settings: ServiceSettings | None, now: float) -> list[str]:
    """Overrides that wait for their beginning, and the windows of the configuration that cover this moment."""
    notes = []
    for one in state.scheduled:
        ends = "until scale auto" if one.until is None else f"for {age_text(one.until - one.begins_at)}"
        what = f"{one.replicas} replicas from {stamp(one.begins_at)} {ends}, by {one.event.source}"
        notes.append(f"scheduled: {what}{': ' + one.reason if one.reason else ''}")
    active = [planned for planned in settings.overrides if covers(planned, now)] if settings is not None else []
    return [*notes, *(f"schedule: {p.text} ({until_text(ends_at(p, now), now, '')})" for p in active)]


def actual_of(state: ServiceState, pool: PoolView | None, target: str) -> tuple[int, str]:
    """How many replicas run, and who says so: ``hosts`` or ``state``."""
    if pool is not None and target in pool.listings and target not in pool.silent:
        running = [s for s in pool.sightings(state.service) if s.target == target and s.replica.condition == "running"]
        return len(running), "hosts"
    return sum(1 for replica in state.replicas if replica.created_at is not None), "state"


def decision_document(entry: Entry | None) -> dict[str, Any] | None:
    """The record of a decision as JSON, without the change of state that it carries."""
    if entry is None:
        return None
    data = {name: value for name, value in entry.data.items() if name != "changes"}
    return {"id": entry.event["id"], "time": entry.event["time"], "type": entry.event["type"], **data}


def summary_document(
    state: ServiceState, last: Entry | None, actual: tuple[int, str], settings: ServiceSettings | None, now: float
) -> dict[str, Any]:
    """The line of ``status`` as JSON."""
    current = state.current
    return {
        "service": state.service,
        "configured": settings is not None,
        "desired": state.demand,
        "asked": state.asking,
        "actual": actual[0],
        "actual_from": actual[1],
        "revision": state.revision or None,
        "version": current.version or None if current is not None else None,
        "runs": what_runs(current.spec) if current is not None else None,
        "phase": state.rollout.phase,
        "operation": operation_text(state, now),
        "step": step_document(state),
        "pending": state.pending.text if state.pending is not None else None,
        "override": _override_document(state),
        "scheduled": [
            {
                "replicas": one.replicas,
                "from": _moment(one.begins_at),
                "until": _moment(one.until),
                "by": one.event.source,
                "reason": one.reason or None,
            }
            for one in state.scheduled
        ],
        "schedule": [p.text for p in settings.overrides if covers(p, now)] if settings is not None else [],
        "freeze": _freeze_document(state),
        "generation": state.generation,
        "seq": state.seq,
        "updated_at": write_time(state.updated_at) if state.updated_at else None,
        "last_decision": decision_document(last),
    }


def step_document(state: ServiceState) -> dict[str, Any] | None:
    """The step of a rollout by steps as JSON: which of how many, from 1, its size, and until when it pauses."""
    rollout = running_of(state.rollout)
    if not isinstance(rollout, Advancing | Judging) or rollout.current_step is None:
        return None
    step = rollout.current_step
    return {
        "number": rollout.step + 1,
        "of": len(rollout.steps),
        "weight": step.weight,
        "count": step.count,
        "reached": isinstance(rollout, Judging),
        "until": _moment(rollout.until) if isinstance(rollout, Judging) else None,
    }


def _override_document(state: ServiceState) -> dict[str, Any] | None:
    override = state.override
    if override is None:
        return None
    return {"replicas": override.replicas, "until": _moment(override.until), "by": override.event.source}


def _freeze_document(state: ServiceState) -> dict[str, Any] | None:
    freeze = state.freeze
    if freeze is None:
        return None
    return {"scope": freeze.scope, "until": _moment(freeze.until), "by": freeze.event.source}


def _moment(at: float | None) -> str | None:
    return write_time(at) if at else None


def revision_document(revision: Revision) -> dict[str, Any]:
    """A kept revision as JSON."""
    return {
        "number": revision.number,
        "version": revision.version or None,
        "standing": revision.standing,
        "runs": what_runs(revision.spec),
        "pinned": revision.spec.pinned or None,
        "accepted_at": write_time(revision.accepted_at),
        "event": {"source": revision.event.source, "id": revision.event.id} if revision.event is not None else None,
    }


def replica_rows(state: ServiceState, pool: PoolView | None, now: float) -> Sequence[Sequence[str]]:
    """Name, host, condition and age of each replica that must exist or does."""
    rows = []
    for row in replica_documents(state, pool):
        since = read_time(row["since"]) if row["since"] else None
        rows.append([row["name"], row["host"], row["condition"], "-" if since is None else age_text(now - since)])
    return rows


def replica_documents(state: ServiceState, pool: PoolView | None) -> list[dict[str, Any]]:
    """Each replica that must exist or does, as JSON: wanted ones by slot, then what is being taken away."""
    seen = {
        (s.replica.slot, s.replica.revision, s.replica.attempt): s.replica
        for s in (pool.sightings(state.service) if pool is not None else ())
    }
    documents = []
    for wanted in state.replicas:
        shown = seen.pop((wanted.slot, wanted.revision, wanted.attempt), None)
        condition = "available" if wanted.available_at is not None else "starting" if wanted.created_at else "placed"
        condition = "waiting for room" if wanted.displaces else condition
        if shown is not None and shown.condition == "exited":
            condition = "exited"
        documents.append(
            {
                "name": label_of(wanted),
                "slot": wanted.slot,
                "revision": wanted.revision,
                "attempt": wanted.attempt,
                "host": wanted.host,
                "condition": condition,
                "since": _moment(wanted.available_at or wanted.created_at or wanted.placed_at),
                "address": dict(shown.address) if shown is not None else {},
                "displaces": list(wanted.displaces),
            }
        )
    for _, shown in sorted(seen.items()):
        documents.append(
            {
                "name": label_of(shown),
                "slot": shown.slot,
                "revision": shown.revision,
                "attempt": shown.attempt,
                "host": shown.host,
                "condition": "exited" if shown.condition == "exited" else "leaving",
                "since": _moment(shown.started_at),
                "address": dict(shown.address),
                "displaces": [],
            }
        )
    return documents
