"""`plan`: compares the wanted replicas with what the hosts show and names the next actions. Level-triggered and pure.

Rules: nothing is done to a replica with a call in flight or an answer lost; what a newer owner or generation made is
not touched; absence counts only on a host that answers; planning again right after changes nothing.
"""

from __future__ import annotations

from autoscaler.core.actions import Action, Create, Remove, Resolve, Start, StopReplica
from autoscaler.core.revision import Revision, Stop
from autoscaler.core.rollout import Preflight, replica_name
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.sightings import observed_by_identity
from autoscaler.core.split import stops_first
from autoscaler.core.state import Replica, ServiceState
from autoscaler.core.world import ObservedReplica, World


def plan(state: ServiceState, settings: ServiceSettings, world: World, cluster: str) -> tuple[Action, ...]:
    """The actions that bring the hosts closer to the wanted list; empty when they agree."""
    actions: list[Action] = []
    if isinstance(state.rollout, Preflight) and not state.rollout.resolved:
        deployment = state.rollout.deployment
        actions.append(Resolve(state.service, deployment.spec, deployment.event))
    seen = observed_by_identity(world)
    wanted = {(r.slot, r.revision, r.attempt) for r in state.replicas}
    for replica in state.replicas:
        sighted = seen.get((replica.slot, replica.revision, replica.attempt))
        action = _bring_about(state, settings, world, cluster, replica, sighted)
        if action is not None:
            actions.append(action)
    left_alone = wanted | {(r.slot, r.revision, r.attempt) for r in state.lost}
    for sighted in world.replicas:
        identity = (sighted.slot, sighted.revision, sighted.attempt)
        if identity not in left_alone or seen.get(identity, sighted).id != sighted.id:
            action = _put_away(state, settings, world, sighted)
            if action is not None:
                actions.append(action)
    return tuple(actions)


def _bring_about(
    state: ServiceState,
    settings: ServiceSettings,
    world: World,
    cluster: str,
    replica: Replica,
    sighted: ObservedReplica | None,
) -> Action | None:
    name = f"{cluster}.{replica_name(state.service, replica.slot, replica.revision, replica.attempt)}"
    if name in world.uncertain:
        return None
    if sighted is not None and replica.displaces:
        return None  # it holds its room by being there, and starts when those that it displaces are gone
    revision = state.revision_numbered(replica.revision)
    if sighted is not None:
        return _start(state.service, revision, sighted, name) if sighted.condition == "created" else None
    host = world.host(replica.host)
    if replica.created_at is not None or host is None or not host.known or host.condition == "lost" or revision is None:
        return None
    if _slot_is_held(state, settings, world, replica):
        return None
    return Create(
        service=state.service,
        slot=replica.slot,
        revision=replica.revision,
        attempt=replica.attempt,
        host=replica.host,
        spec=revision.spec,
        generation=state.generation,
        token=world.token,
        content=revision.content,
        name=name,
        displaces=replica.displaces,
    )


def _start(service: str, revision: Revision | None, sighted: ObservedReplica, name: str) -> Start:
    secrets, marks = (revision.spec.secrets, revision.spec.secret_marks) if revision is not None else ((), ())
    return Start(service, sighted.host, sighted.id, name, secrets, marks)


def _slot_is_held(state: ServiceState, settings: ServiceSettings, world: World, replica: Replica) -> bool:
    """Whether the slot's former replica must end first (fixed host port, local volume, stop_first) and has not yet."""
    if not stops_first(state, settings, replica.revision):
        return False
    if world.now >= world.judged_from(replica.placed_at) + settings.update.stop_deadline_s:
        return False
    wanted = {(r.slot, r.revision, r.attempt) for r in state.replicas}
    return any(
        other.slot == replica.slot
        and other.host == replica.host
        and other.condition == "running"
        and (other.slot, other.revision, other.attempt) not in wanted
        for other in world.replicas
    )


def _put_away(state: ServiceState, settings: ServiceSettings, world: World, sighted: ObservedReplica) -> Action | None:
    host = world.host(sighted.host)
    if sighted.name in world.uncertain or host is None or not host.known:
        return None
    if sighted.token > world.token or sighted.generation > state.generation:
        return None
    if sighted.condition != "running":
        return Remove(state.service, sighted.host, sighted.id, sighted.name)
    if sighted.stopping:
        return None
    revision = state.revision_numbered(sighted.revision)
    rules = revision.spec.stop if revision is not None else Stop()
    drain_s = settings.update.drain_timeout_s if settings.route is not None else 0.0
    return StopReplica(state.service, sighted.host, sighted.id, sighted.name, rules.signal, rules.grace_s, drain_s)
