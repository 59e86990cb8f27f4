"""The properties of one decision: judged record by record, with the demand and the phase of its moment, by what the
decider saw. Called by `autoscaler.simulator.properties`; takes nothing from the code that it judges.
"""

from __future__ import annotations

from collections.abc import Sequence

from autoscaler.core.evolve import evolve
from autoscaler.core.records import Record
from autoscaler.core.rollout import Advancing, Held, Idle, Judging, Retired, Retiring
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import Replica, ServiceState
from autoscaler.core.steps import Step
from autoscaler.core.traffic import shares
from autoscaler.core.world import World

Identity = tuple[int, int, int]
JUDGES = frozenset({"errors", "own"})
"""Policies of a world that vote on revisions alone."""
WHOLE = 100
"""Percents of a whole."""


class Violation(AssertionError):
    """A safety property does not hold: which, when, and what was seen."""


def violated(name: str, at: float, text: str) -> Violation:
    """The violation of a property."""
    return Violation(f"{name} at {at:.3f}: {text}")


def identity_of(replica: Replica) -> Identity:
    """Slot, revision, attempt."""
    return (replica.slot, replica.revision, replica.attempt)


def check_edits(records: Sequence[Record], before: ServiceState, settings: ServiceSettings, world: World) -> None:
    """Each edit of the wanted list by itself, with the demand and the phase of its moment."""
    state = before
    for record in records:
        if record.service != before.service:
            continue
        after = evolve(state, record)
        check_freeze(state, after, world)
        check_returned(state, after, world)
        check_absence(state, after, record, settings, world)
        check_shares(after, settings, world)
        check_step(state, after, record, world)
        check_unknown(state, after, record, world)
        if record.kind == "schedule" and "replicas" in record.changes:
            check_promise(state, after, record, settings, world)
            if not gave_way(record):
                check_old_ones(state, after, settings, world)
        state = after


def check_shares(after: ServiceState, settings: ServiceSettings, world: World) -> None:
    """Where traffic is shared by revision, the parts are a whole and go to revisions of which a replica is wanted."""
    wanted = shares(after, settings)
    if wanted is None:
        return
    if sum(percent for _, percent in wanted) != WHOLE or any(percent < 0 for _, percent in wanted):
        raise violated("traffic", world.now, f"{wanted} are not parts of a whole")
    served = {r.revision for r in after.replicas if r.available_at is not None}
    if any(percent and revision not in served for revision, percent in wanted):
        raise violated("traffic", world.now, f"{wanted} though {sorted(served)} serve")


def check_absence(
    before: ServiceState, after: ServiceState, record: Record, settings: ServiceSettings, world: World
) -> None:
    """Nothing is given up on absence of information: a replica is gone only where its host says so, or is long
    lost."""
    if record.kind != "heal":
        return
    kept = {identity_of(r) for r in after.replicas}
    for replica in before.replicas:
        host = world.host(replica.host)
        if identity_of(replica) in kept or host is None or host.known:
            continue
        if world.now < host.since + settings.placement.host_grace_s:
            raise violated("absence", world.now, f"{replica} was given up though {host.name} is silent")


def check_returned(before: ServiceState, after: ServiceState, world: World) -> None:
    """What is back from a lost host, serves the wanted revision and is needed is not given up."""
    if not before.lost or not isinstance(after.rollout, Idle):
        return
    healthy = {(s.slot, s.revision, s.attempt) for s in world.replicas if s.condition == "running" and s.healthy}
    kept = {identity_of(r) for r in (*after.replicas, *after.lost)}
    given_up = [r for r in before.lost if identity_of(r) not in kept and identity_of(r) in healthy]
    given_up = [r for r in given_up if r.revision == after.revision]
    leaving = {h.name for h in world.hosts if h.condition == "draining"}
    standing = sum(1 for r in after.replicas if r.available_at and identity_of(r) in healthy)
    if standing < after.demand and any(r.host not in leaving for r in given_up):
        raise violated("P9", world.now, f"{given_up} given up with {standing} of {after.demand} available")


def gave_way(record: Record) -> bool:
    """Whether the edit gives replicas up for a service of higher priority."""
    return "gives way to" in record.reason.text


def check_promise(
    before: ServiceState, after: ServiceState, record: Record, settings: ServiceSettings, world: World
) -> None:
    """P9: our own edits take available replicas no lower than what the strategy promises."""
    if isinstance(after.rollout, Retiring | Retired):
        return
    healthy = {(s.slot, s.revision, s.attempt) for s in world.replicas if s.condition == "running" and s.healthy}
    kept = {identity_of(r) for r in after.replicas}
    former = [r for r in before.replicas if r.available_at is not None and identity_of(r) in healthy]
    stopped = [r for r in former if identity_of(r) not in kept]
    if not stopped:
        return
    standing = sum(1 for r in after.replicas if r.available_at is not None and identity_of(r) in healthy)
    # Who gives way to another service keeps its least number, and promises no more.
    promise = after.demand - unavailable_of(after, settings) if not gave_way(record) else settings.bounds.min
    if standing < min(promise, len(former)):
        text = f"{len(former)} -> {standing} available, promised are {promise} ({after.rollout.phase})"
        raise violated("P9", world.now, text)


def check_old_ones(before: ServiceState, after: ServiceState, settings: ServiceSettings, world: World) -> None:
    """P9: while a router gives the new revision no more than its part, all old ones stay, whatever the new ones are."""
    rollout = after.rollout
    if (
        settings.route is None
        or not isinstance(rollout, Advancing | Judging)
        or not isinstance(before.rollout, type(rollout))
    ):
        return
    if not rollout.blue_green and (rollout.current_step is None or rollout.current_step.weight == WHOLE):
        return
    healthy = {(s.slot, s.revision, s.attempt) for s in world.replicas if s.condition == "running" and s.healthy}
    leaving = {h.name for h in world.hosts if h.condition == "draining"}
    kept = {identity_of(r) for r in after.replicas}
    served = [r for r in before.replicas if r.available_at is not None and identity_of(r) in healthy]
    old = [r for r in served if r.revision != rollout.target]
    standing = sum(1 for r in old if identity_of(r) in kept)
    gone = [r for r in old if identity_of(r) not in kept and r.host not in leaving]
    if gone and standing < after.demand:
        raise violated("P9", world.now, f"{gone} stopped with {standing} old ones of {after.demand} standing")


def check_step(before: ServiceState, after: ServiceState, record: Record, world: World) -> None:
    """A step is left for the next one by its judges or by an operator, and held for the same reasons alone."""
    was, now = before.rollout, after.rollout
    was = was.resumed if isinstance(was, Held) else was
    if not isinstance(was, Advancing | Judging) or not isinstance(now, Advancing | Judging):
        return
    if was.target == now.target and was.step != now.step:
        by_operator = "promoted by" in record.reason.text or "approved by" in record.reason.text
        if not by_operator and not (isinstance(was, Judging) and now.step == was.step + 1):
            raise violated("steps", world.now, f"{was.phase} step {was.step} -> {now.phase} step {now.step}")
        if isinstance(was, Judging) and not by_operator and was.unknown_since is not None:
            raise violated("steps", world.now, f"step {was.step} passed though its checks knew nothing")


def check_unknown(before: ServiceState, after: ServiceState, record: Record, world: World) -> None:
    """P13: no evaluation in which a policy that scales was unknown lowers what is asked for, whatever the rule."""
    if after.asking >= before.asking or not record.proposals or before.override is not None:
        return
    unknown = [note.policy for note in record.proposals if note.kind == "unknown" and note.policy not in JUDGES]
    if unknown:
        raise violated("P13", world.now, f"{before.asking} -> {after.asking} though {unknown} knew nothing")


def beside_of(step: Step, demand: int) -> int:
    """How many replicas a step may want beside the demand."""
    return step.count if step.count is not None else -(-demand * (step.weight or 0) // WHOLE)


def check_size(after: ServiceState, settings: ServiceSettings, world: World) -> None:
    """P2: never more wanted than demand and surge, and what leaves draining hosts."""
    demand, rules = after.demand, settings.update
    most = max(rules.max_surge.up(demand), rules.rollback_max_surge.up(demand), 1)
    leaving = {h.name for h in world.hosts if h.condition == "draining"}
    steady = [r for r in after.replicas if r.host not in leaving]
    most = max(
        most, *(beside_of(step, demand) for step in rules.steps), demand if rules.strategy == "blue_green" else 0
    )
    sick = max(1, rules.max_unavailable.down(demand))
    shrinking = isinstance(after.rollout, Held | Advancing | Judging) and after.demand == 0
    if len(steady) > demand + most + sick and not shrinking:
        raise violated("P2", world.now, f"{len(steady)} wanted for a demand of {demand} ({after.rollout.phase})")


def check_freeze(before: ServiceState, after: ServiceState, world: World) -> None:
    """P12: while a freeze holds, nothing of the new revision takes the place of anything, and with scope all the
    demand stays."""
    freeze, at = before.freeze, world.now
    if freeze is None or after.freeze != freeze or (freeze.until is not None and freeze.until <= at):
        return
    if freeze.scope == "all" and after.demand != before.demand and not isinstance(after.rollout, Retiring):
        raise violated("P12", at, f"demand {before.demand} -> {after.demand} in a freeze of all")
    if isinstance(after.rollout, Advancing) and after.replicas != before.replicas:
        grown = {identity_of(r) for r in after.replicas} - {identity_of(r) for r in before.replicas}
        if grown:
            raise violated("P12", at, f"{sorted(grown)} started by a rollout that advances in a freeze")
    if isinstance(before.rollout, Held) and isinstance(after.rollout, Held):
        _check_held(before.rollout, after, world)


def _check_held(held: Held, after: ServiceState, world: World) -> None:
    if held.demand != after.demand:
        return
    target = held.resumed.target
    leaving = {h.name for h in world.hosts if h.condition == "draining"}
    count = sum(1 for r in after.replicas if r.revision == target and r.host not in leaving)
    if count > dict(held.kept).get(target, 0):
        raise violated("P12", world.now, f"revision {target} grew to {count} though it is held")


def unavailable_of(state: ServiceState, settings: ServiceSettings) -> int:
    """How many replicas may be unavailable by our own doing: the strategy's promise, written anew and not taken from
    the code that it judges."""
    rules, demand = settings.update, state.demand
    rollout = state.rollout.resumed if isinstance(state.rollout, Held) else state.rollout
    revision = state.current
    pinned = revision is not None and (
        bool(revision.spec.volumes) or any(port.host is not None for _, port in revision.spec.ports)
    )
    stop_first = rules.order == "stop_first" or (rules.order == "auto" and pinned)
    percent, count = rules.max_unavailable.percent, rules.max_unavailable.count
    share = count if count is not None else demand * (percent or 0) // 100
    surge = 0 if stop_first or rules.max_surge.is_zero else 1
    allowed = max(share, 1 if surge == 0 and share == 0 else 0)
    return min(demand, allowed) if isinstance(rollout, Advancing | Judging) or stop_first else 0
