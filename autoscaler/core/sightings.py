"""What the hosts show, noted against what is wanted: availability, failures, losses. Called by `decide`. Pure.

Rules: an unknown host proves nothing; an uncertain replica (a call in flight) is left alone; a failed replica leaves
the wanted list in the same record that says why, and only then may its container be removed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from autoscaler.core.claims import CLAIM_S
from autoscaler.core.draft import Draft, because
from autoscaler.core.facts import Reason
from autoscaler.core.rollout import Advancing, Held, Judging, RollingBack, Soaking, replica_name, running_of
from autoscaler.core.settings import ServiceSettings, UpdateRules
from autoscaler.core.state import Replica, ServiceState, Setback
from autoscaler.core.world import ObservedReplica, World

Blame = Literal["revision", "host", "drift"]


@dataclass(frozen=True, slots=True)
class Failure:
    """A wanted replica that is no more: why, and whose fault it is (drift: somebody else's hand, or a lost host)."""

    replica: Replica
    reason: Reason
    blame: Blame


def label_of(replica: Replica | ObservedReplica) -> str:
    """How records and names call it: ``s<slot>.r<revision>.<attempt>``."""
    return f"s{replica.slot}.r{replica.revision}.{replica.attempt}"


def label_in(name: str) -> str:
    """The label at the end of a container's name."""
    return ".".join(name.split(".")[-3:])


VANISHED_AFTER_S = 15.0
"""A replica whose creation was confirmed and that was not seen since counts as gone after so long, as hosts tell
late."""


def observed_by_identity(world: World) -> dict[tuple[int, int, int], ObservedReplica]:
    """The service's replicas that are seen now, by (slot, revision, attempt): what an unknown host showed last is not,
    nor is what runs on a host that left the pool."""
    if not world.replicas:
        return {}
    telling = {host.name for host in world.hosts if host.known}
    found: dict[tuple[int, int, int], ObservedReplica] = {}
    for seen in world.replicas:
        identity = (seen.slot, seen.revision, seen.attempt)
        # A copy that a hand made of one of ours carries the same labels; what is as we made it is the replica.
        if seen.host in telling and (identity not in found or found[identity].drift):
            found[identity] = seen
    return found


def is_available(replica: Replica, seen: ObservedReplica | None) -> bool:
    """Whether the replica was healthy for min_healthy once and is healthy now; unknown health is not available."""
    return (
        replica.available_at is not None
        and seen is not None
        and seen.condition == "running"
        and seen.healthy is True
        and not seen.stopping
    )


def is_serving(seen: ObservedReplica | None) -> bool:
    """Whether it runs and is not known to be sick."""
    return seen is not None and seen.condition == "running" and seen.healthy is not False and not seen.stopping


def is_dispensable(replica: Replica, seen: ObservedReplica | None) -> bool:
    """Whether nothing is lost by stopping it now: it never became available, or is known to be sick. Unknown is
    neither."""
    if replica.available_at is None:
        return True
    return seen is not None and (seen.healthy is False or seen.condition != "running")


def still_unasked(replica: Replica, seen: ObservedReplica | None, rules: UpdateRules, world: World) -> bool:
    """Whether a replica that was available once is not known to be so now only because its owner has just begun to
    look."""
    if replica.available_at is None or seen is None or seen.condition != "running" or seen.healthy is not None:
        return False
    return bool(world.watched_since) and world.now < overdue_from(0.0, rules, world)


def note_sightings(draft: Draft, settings: ServiceSettings, world: World) -> list[Failure]:
    """Record what became available and what failed; the failures are returned for the phase to judge."""
    seen = observed_by_identity(world)
    _note_available(draft, settings, world, seen)
    uncertain = {label_in(name) for name in world.uncertain}
    failures = [
        failure
        for replica in draft.state.replicas
        if not (uncertain and label_of(replica) in uncertain)
        and (failure := _failure_of(replica, draft, settings, world, seen)) is not None
    ]
    if failures:
        drop(draft, settings.update, failures)
    return failures


def _note_available(
    draft: Draft, settings: ServiceSettings, world: World, seen: dict[tuple[int, int, int], ObservedReplica]
) -> None:
    """Write down which replicas exist (where no outcome said so) and which became available."""
    rules, state = settings.update, draft.state
    found: list[str] = []
    fresh: list[str] = []
    replicas: list[Replica] = []
    for replica in state.replicas:
        noted = replica
        sighted = seen.get((replica.slot, replica.revision, replica.attempt))
        if sighted is not None and replica.available_at is None:
            label = label_of(replica)
            if replica.created_at is None and sighted.name not in world.uncertain:
                noted = replace(noted, created_at=world.now)
                found.append(label)
            due = available_due(replica, sighted, rules, world)
            if due is not None and due <= world.now:
                noted = replace(noted, available_at=world.now, created_at=noted.created_at or world.now)
                fresh.append(label)
        replicas.append(noted)
    if not found and not fresh:
        return
    changes: dict[str, Any] = {"replicas": tuple(replicas)}
    if fresh:
        changes |= _progressed(state, rules, world.now, replicas)
    code, names = ("available", fresh) if fresh else ("found", found)
    draft.add("observed", "schedule", because(code, f"{code}: {', '.join(names)}", count=len(names)), **changes)


def _progressed(state: ServiceState, rules: UpdateRules, now: float, replicas: list[Replica]) -> dict[str, Any]:
    """What else changes when replicas became available: the progress deadline, and the standing of a first success."""
    changes: dict[str, Any] = {}
    rollout = state.rollout
    if isinstance(rollout, Advancing | RollingBack):
        changes["rollout"] = replace(rollout, progress_by=max(rollout.progress_by, now + rules.deadline_s))
    current = state.current
    proven = any(r.revision == state.revision and r.available_at is not None for r in replicas)
    if current is not None and current.standing == "unproven" and proven:
        changes["revisions"] = tuple(
            replace(r, standing="healthy") if r.number == current.number else r for r in state.revisions
        )
    return changes


def _failure_of(
    replica: Replica,
    draft: Draft,
    settings: ServiceSettings,
    world: World,
    seen: dict[tuple[int, int, int], ObservedReplica],
) -> Failure | None:
    state = draft.state
    sighted = seen.get((replica.slot, replica.revision, replica.attempt))
    label = f"{label_of(replica)} on {replica.host}"
    if sighted is None:
        return _absence_of(replica, label, settings, world)
    if sighted.condition == "exited":
        lived = f" after {max(0.0, world.now - sighted.started_at):.1f} s" if sighted.started_at else ""
        note = f": {sighted.note}" if sighted.note else ""
        text = f"{label} exited with code {sighted.exit_code}{lived}{note}"
        return Failure(replica, because("exited", text, exit_code=sighted.exit_code or 0), "revision")
    if sighted.healthy is False and (replica.available_at is None or is_judged(state, replica)):
        text = f"{label} failed its health checks{': ' + sighted.note if sighted.note else ''}"
        return Failure(replica, because("unhealthy", text), "drift" if sighted.drift else "revision")
    if replica.displaces:
        return _claim_lapsed(replica, label, world)
    limit = settings.update.startup_deadline_s
    waited = world.now - _begun_at(replica, sighted, world)
    if replica.available_at is None and sighted.healthy is not True and waited >= limit:
        never_ran = sighted.condition == "created"
        text = f"{label} not {'started' if never_ran else 'healthy'} in {limit:g} s"
        reason = because("startup_deadline", text, waited_s=round(waited, 3))
        return Failure(replica, reason, "host" if never_ran else "revision")
    return None


def _claim_lapsed(replica: Replica, label: str, world: World) -> Failure | None:
    """Those that it displaces have not gone in time: it looks for another place, and displaces nobody for a while."""
    if world.now < world.judged_from(replica.placed_at, replica.host) + CLAIM_S:
        return None
    text = f"{label}: {', '.join(replica.displaces)} did not give way in {CLAIM_S:g} s"
    return Failure(replica, because("not_displaced", text[:500], waited_s=CLAIM_S), "host")


def is_judged(state: ServiceState, replica: Replica) -> bool:
    """Whether the rollout under way stands or falls with the replica: it is the target's, and made for this rollout."""
    match running_of(state.rollout):
        case Advancing(target=target) | Judging(target=target) | Soaking(target=target):
            return replica.revision == target
        case RollingBack(target=target, started_at=started_at):
            return replica.revision == target and replica.placed_at >= started_at
        case _:
            return False


def _begun_at(replica: Replica, sighted: ObservedReplica | None, world: World) -> float:
    """When the replica's time to become healthy began; it does not run while nobody asks."""
    return world.judged_from(_started_at(replica, sighted, world), replica.host)


def _started_at(replica: Replica, sighted: ObservedReplica | None, world: World) -> float:
    """When it started, as its host says, where our own clock does not say otherwise: not before it was made, and not
    in time to come."""
    made_at = replica.created_at or replica.placed_at
    told = sighted.started_at if sighted is not None else None
    return max(told, made_at) if told is not None and told <= world.now else made_at


def available_due(replica: Replica, sighted: ObservedReplica, rules: UpdateRules, world: World) -> float | None:
    """When a replica that goes on being healthy counts as available, by our own clock; None where it is not healthy."""
    since = sighted.healthy_since
    if not sighted.healthy or since is None or not is_serving(sighted):
        return None
    made_at = replica.created_at or replica.placed_at
    return (max(since, made_at) if since <= world.now else made_at) + rules.min_healthy_s


def _absence_of(replica: Replica, label: str, settings: ServiceSettings, world: World) -> Failure | None:
    host = world.host(replica.host)
    if host is None:
        reason = because("host_gone", f"{label}: the host left the pool")
        return Failure(replica, reason, "host") if world.hosts else None
    if host.condition == "lost":
        lost = sum(1 for other in world.hosts if other.condition == "lost")
        if lost * 2 > len(world.hosts) or world.now < host.since + settings.placement.host_grace_s:
            return None
        return Failure(replica, because("host_lost", f"{label}: the host is lost"), "host")
    due = missing_due(replica, settings, world)
    if not host.known or world.now < due:
        return None
    if replica.created_at is not None:
        return Failure(replica, because("vanished", f"{label} is gone though nobody here removed it"), "drift")
    waited_s = settings.update.startup_deadline_s
    return Failure(replica, because("not_created", f"{label} could not be created in {waited_s:g} s"), "host")


def overdue_from(by: float, rules: UpdateRules, world: World) -> float:
    """When a deadline for progress is really past: who has just begun to look gives everything time to show itself."""
    return max(by, world.watched_since + rules.startup_deadline_s) if world.watched_since else by


def missing_due(replica: Replica, settings: ServiceSettings, world: World) -> float:
    """When a replica that is not seen on a host that answers counts as failed."""
    if replica.available_at is not None:
        return replica.available_at
    if replica.created_at is not None:
        return replica.created_at + VANISHED_AFTER_S
    return world.judged_from(replica.placed_at) + settings.update.startup_deadline_s


def startup_due(
    replica: Replica, sighted: ObservedReplica | None, settings: ServiceSettings, world: World
) -> float | None:
    """When the replica fails for not having become healthy, or None where that clock does not run."""
    if replica.available_at is not None or (sighted is not None and sighted.healthy is True):
        return None
    if sighted is not None and replica.displaces:
        return world.judged_from(replica.placed_at, replica.host) + CLAIM_S
    return _begun_at(replica, sighted, world) + settings.update.startup_deadline_s


def drop(draft: Draft, rules: UpdateRules, failures: list[Failure]) -> None:
    """Take failed replicas off the wanted list, in a record that says why, and note the set-backs of their slots."""
    state = draft.state
    gone = {(f.replica.slot, f.replica.revision, f.replica.attempt) for f in failures}
    setbacks = state.setbacks
    for failure in failures:
        setbacks = with_setback(setbacks, failure, rules, draft.at)
    first = failures[0].reason
    text = "; ".join(failure.reason.text for failure in failures)[:1000]
    changes: dict[str, Any] = {
        "replicas": tuple(r for r in state.replicas if (r.slot, r.revision, r.attempt) not in gone),
        "setbacks": setbacks,
    }
    away = [f.replica for f in failures if f.reason.code == "host_lost" and f.replica.available_at is not None]
    if away:
        changes["lost"] = (*state.lost, *away)
    rollout = state.rollout
    judged = running_of(rollout)
    if isinstance(judged, Advancing | Judging):
        failed = failed_names(state, judged.target, judged.failed, failures)
        if failed != judged.failed:
            judged = replace(judged, failed=failed)
    if isinstance(rollout, Held):
        kept = _kept_after(rollout, failures, changes["replicas"])
        resumed = judged if isinstance(judged, Advancing | Judging) else rollout.resumed
        rollout = replace(rollout, resumed=resumed, kept=kept)
    elif judged is not rollout:
        rollout = judged
    if rollout is not state.rollout and rollout != state.rollout:
        changes["rollout"] = rollout
    draft.add("observed", "heal", because(first.code, text, failed=len(failures)), **changes)


def _kept_after(held: Held, failures: list[Failure], left: tuple[Replica, ...]) -> tuple[tuple[int, int], ...]:
    """What a held rollout keeps after failures: a hold for failure tries no failed replica of the target again, any
    other hold makes again what it lost. What has come in a failed one's place already counts."""
    target = held.resumed.target
    own = sum(1 for f in failures if f.blame == "revision" and f.replica.revision == target)
    if held.why != "failure" or not own:
        return held.kept
    remaining = sum(1 for r in left if r.revision == target)
    return tuple((n, min(count, max(count - own, remaining)) if n == target else count) for n, count in held.kept)


def failed_names(
    state: ServiceState, target: int, already: tuple[str, ...], failures: list[Failure]
) -> tuple[str, ...]:
    """The names of failed target replicas with these failures added, each once; only the revision's own fault
    counts."""
    names = [
        replica_name(state.service, f.replica.slot, f.replica.revision, f.replica.attempt)
        for f in failures
        if f.blame == "revision" and f.replica.revision == target
    ]
    return (*already, *(name for name in names if name not in already))


def with_setback(setbacks: tuple[Setback, ...], failure: Failure, rules: UpdateRules, at: float) -> tuple[Setback, ...]:
    """The set-backs with this failure's slot added or brought up to date; drift is none."""
    slot = failure.replica.slot
    known = next((s for s in setbacks if s.slot == slot), Setback(slot, (), 0.0))
    others = tuple(s for s in setbacks if s.slot != slot and s.at and s.at[-1] > at - rules.restart_window_s)
    if failure.blame == "drift":
        return (*others, known) if known.at else others
    replica = failure.replica
    places = known.hosts if len(known.hosts) == len(known.at) else ("",) * len(known.at)
    former = [pair for pair in zip(known.at, places, strict=True) if pair[0] > at - rules.restart_window_s]
    times, hosts = zip(*[*former, (at, replica.host)][-16:], strict=True)
    retry = retry_at(times, replica.placed_at, rules, at)
    return (*others, Setback(slot, times, retry, replica.host, hosts, replica.revision, failure.blame))


def retry_at(failures: tuple[float, ...], placed_at: float, rules: UpdateRules, at: float) -> float:
    """Before which moment the slot is not tried again: attempts ``restart_delay`` apart at first, so that one that had
    lived is replaced at once; past ``restart_attempts`` in the window 30 s, 60 s, ... at most 600 s."""
    count = len(failures)
    if count <= rules.restart_attempts:
        return max(at, placed_at + rules.restart_delay_s)
    return at + min(600.0, 30.0 * 2.0 ** (count - rules.restart_attempts - 1))
