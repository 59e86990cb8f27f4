"""A host that does as it is told, on virtual time: what a `Scenario` runs replicas on."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from autoscaler.core.actions import Action, Create, Outcome, Remove, Resolve, Start, StopReplica
from autoscaler.core.world import HostView, ObservedReplica, World

HOST = "h1"


class ScenarioHost:
    """One host. A started replica is healthy after ``start_s`` seconds, unless its revision is one of ``broken``."""

    def __init__(self, start_s: float) -> None:
        self.start_s = start_s
        self.broken: set[int] = set()
        self._replicas: dict[str, ObservedReplica] = {}

    @property
    def replicas(self) -> tuple[ObservedReplica, ...]:
        """What runs or ended here, by name."""
        return tuple(self._replicas[name] for name in sorted(self._replicas))

    def look(
        self,
        service: str,
        _target: str,
        now: float,
        token: int,
        uncertain: frozenset[str],
        watched_since: float,
    ) -> World:
        """The world as the shard asks for it."""
        mine = tuple(replica for replica in self.replicas if replica.service == service)
        return World(now, mine, (HostView(HOST, replicas=len(self._replicas)),), token, uncertain, watched_since)

    def perform(self, action: Action, now: float) -> Outcome:
        """Do it at once."""
        match action:
            case Resolve(spec=spec):
                return Outcome(action, "done", pinned=f"sha256:{hashlib.sha256(spec.image.encode()).hexdigest()}")
            case Create():
                self._replicas[action.name] = ObservedReplica(
                    id=action.name, name=action.name, service=action.service, slot=action.slot,
                    revision=action.revision, attempt=action.attempt, host=action.host,
                    condition="created", generation=action.generation,
                    token=action.token,
                )  # fmt: skip
            case Start(name=name):
                self._replicas[name] = replace(self._replicas[name], condition="running", started_at=now)
            case StopReplica(name=name):
                self._replicas[name] = replace(self._replicas[name], condition="exited", exit_code=0, healthy=None)
            case Remove(name=name):
                del self._replicas[name]
        return Outcome(action, "done", id=action.key)

    def next_change(self) -> float | None:
        """When a replica becomes healthy or fails next, or None."""
        return min((due for replica in self.replicas if (due := self._due(replica)) is not None), default=None)

    def change(self, now: float) -> bool:
        """Let what is due at ``now`` happen; whether anything did."""
        changed = False
        for name, replica in self._replicas.items():
            due = self._due(replica)
            if due is not None and due <= now:
                changed = True
                if replica.revision in self.broken:
                    self._replicas[name] = replace(replica, condition="exited", exit_code=1, healthy=None)
                else:
                    self._replicas[name] = replace(replica, healthy=True, healthy_since=now)
        return changed

    def kill(self, slot: int) -> None:
        """End the replica of a slot as a crash would. Raises LookupError where none runs there."""
        for name, replica in self._replicas.items():
            if replica.slot == slot and replica.condition == "running":
                self._replicas[name] = replace(replica, condition="exited", exit_code=137, healthy=None)
                return
        raise LookupError(f"no replica runs in slot {slot}")

    def _due(self, replica: ObservedReplica) -> float | None:
        if replica.condition != "running" or replica.healthy is not None or replica.started_at is None:
            return None
        return replica.started_at + self.start_s
