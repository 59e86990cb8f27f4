"""Moves replicas, slowly, to hosts that have fewer of the service: after a host has come or come back. Pure.

Off unless `placement.rebalance` says so. Only while nothing else is going on; start-first; one move at a time, and no
two within `MOVE_EVERY_S`; to a host that has been ready for `READY_FOR_S` and has at least two fewer of the service.
"""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.core.edit import Edit, asked_of
from autoscaler.core.placement import ranked
from autoscaler.core.rollout import Idle
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import Replica, ServiceState
from autoscaler.core.world import HostView, World

READY_FOR_S = 300.0
MOVE_EVERY_S = 30.0
APART_MIN = 2


def rebalance(edit: Edit) -> None:
    """Begin the next move, if one is due: a second replica in the slot of one on the most crowded host."""
    state, world = edit.state, edit.world
    current = state.current
    if not edit.settings.placement.rebalance or not isinstance(state.rollout, Idle) or current is None:
        return
    slots = {replica.slot for replica in edit.replicas}
    settled = len(edit.replicas) == len(slots) == state.demand and all(edit.available(r) for r in edit.replicas)
    if not settled or not edit.replicas or edit.leaving or current.spec.pins_host or world.now < _next_move_at(state):
        return
    mover = min(edit.replicas, key=lambda r: (-edit.room.by_host[r.host], r.slot))
    crowd = edit.room.by_host[mover.host]
    hosts = [host for host in world.hosts if ready_at(host) <= world.now]
    choices = ranked(hosts, asked_of(state, edit.settings, world, current), edit.room)
    calm = next((c.host for c in choices if c.refusal is None and crowd - edit.room.by_host[c.host] >= APART_MIN), None)
    if calm is not None and not edit.backing_off(mover.slot):
        edit.start_on(calm, mover.slot, current)


def is_moving(edit: Edit, former: Replica, newest: Replica) -> bool:
    """Whether the newest replica of a slot is on its way to a host with fewer, and the former one is to follow."""
    by_host = edit.room.by_host
    return edit.settings.placement.rebalance and by_host[former.host] > by_host[newest.host]


def ready_at(host: HostView) -> float:
    """From when replicas are moved to the host; 0 where that is long ago, and where the filters keep it out anyway."""
    return host.since + READY_FOR_S if host.known and host.condition == "ready" and host.since else 0.0


def _next_move_at(state: ServiceState) -> float:
    return max((replica.placed_at for replica in state.replicas), default=0.0) + MOVE_EVERY_S


def move_deadlines(state: ServiceState, settings: ServiceSettings, world: World) -> Iterator[float]:
    """When a move may become due."""
    if settings.placement.rebalance and isinstance(state.rollout, Idle) and len(world.hosts) > 1:
        yield _next_move_at(state)
        yield from (ready_at(host) for host in world.hosts)
