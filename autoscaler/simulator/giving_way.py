"""The properties between services that share a pool: judged by records and by what the hosts hold, with nothing taken
from the code that chooses. Called by `autoscaler.simulator.pool`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from autoscaler.core.actions import Action
from autoscaler.core.evolve import evolve
from autoscaler.core.records import Record
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import Replica, ServiceState
from autoscaler.core.world import World
from autoscaler.ports.stream import Append
from autoscaler.simulator.edits import identity_of, violated
from autoscaler.simulator.hosts import SimHosts
from autoscaler.simulator.owner import Owner
from autoscaler.simulator.properties import Properties

GAP = 10
"""By so much a priority has to be higher (docs/design/placement.md)."""

_WAY = re.compile(r"s(\d+) gives way to ([a-z]+) ")
_CLAIM = re.compile(r"s(\d+)\.r\d+\.\d+ on (h\d+) in place of ([^;]*), by priority")
_NAMED = re.compile(r"([a-z]+)\.s\d+\.r\d+\.\d+ \(priority (\d+)\)")


class GivingWay:
    """Watches all services of one pool. ``calm_from``: from then on nothing may move."""

    def __init__(self, hosts: SimHosts, settings: Mapping[str, ServiceSettings]) -> None:
        self.hosts = hosts
        self.settings = settings
        self.gave_way = self.claims = self.came_second = 0
        self.calm_from: float | None = None
        self._effects_read = 0

    def beside(self, properties: Properties) -> _Both:
        """Both are told what an owner does."""
        return _Both(self, properties)

    def check(self) -> None:
        """What has waited for its room starts when it has it."""
        effects = self.hosts.effects
        while self._effects_read < len(effects):
            effect = effects[self._effects_read]
            self._effects_read += 1
            container = effect.container
            if effect.kind != "start" or not container.displaces:
                continue
            host = self.hosts.hosts[container.host]
            running = [c for c in host.containers.values() if c.condition == "running" and c is not container]
            older = [c for c in running if c.made_at < container.made_at]
            held = container.cpu_millis + sum(c.cpu_millis for c in older)
            if held > host.cpu_millis:
                text = f"{effect.name} was started with {held} of {host.cpu_millis} in use"
                raise violated("claims", effect.at, text)

    def decided(self, records: Sequence[Record], before: ServiceState, world: World) -> None:
        """Each edit by itself, by what its decider saw."""
        at = world.now
        state = before
        for record in records:
            after = evolve(state, record)
            text = record.reason.text
            if record.kind == "schedule":
                self._check_victims(state, after, text, at)
                self._check_claims(state, after, text, world)
                if self.calm_from is not None and ("start " in text or "stop " in text):
                    raise violated("rest", at, f"{state.service}: {text}, long after all faults")
            state = after

    def _check_victims(self, before: ServiceState, after: ServiceState, text: str, at: float) -> None:
        """By the gap, and never below the least number."""
        found = _WAY.findall(text)
        self.came_second += text.count("was the last to take room")
        if not found:
            return
        mine = self.settings[before.service]
        self.gave_way += len(found)
        for _, by in found:
            if self.settings[by].priority - mine.priority < GAP:
                raise violated("priority", at, f"{before.service} gave way to {by}, of no higher priority")
        kept = {identity_of(r) for r in after.replicas}
        slots = {int(slot) for slot, _ in found}
        given = [r for r in before.replicas if identity_of(r) not in kept and r.slot in slots]
        left = len(before.replicas) - len(given)
        if left < mine.bounds.min:
            raise violated("least", at, f"{before.service} was left with {left}, its least is {mine.bounds.min}")

    def _check_claims(self, before: ServiceState, after: ServiceState, text: str, world: World) -> None:
        """By the gap, and for what the demand lacks, what leaves a draining host not counted."""
        at = world.now
        claims = _CLAIM.findall(text)
        self.claims += len(claims)
        mine = self.settings[before.service]
        for _, _, named in claims:
            for service, priority in _NAMED.findall(named):
                if self.settings[service].priority != int(priority) or mine.priority - int(priority) < GAP:
                    raise violated("priority", at, f"{before.service} claims the place of {service}: {text}")
        leaving = {host.name for host in world.hosts if host.condition == "draining"}
        kept = {identity_of(r) for r in after.replicas if r.host not in leaving}
        if claims and sum(1 for r in before.replicas if identity_of(r) in kept) >= after.demand:
            raise violated("claims", at, f"{before.service} claims beyond its demand of {after.demand}: {text}")

    def finish(self, states: Mapping[str, ServiceState], at: float) -> None:
        """At rest no host holds more than it can, nobody waits for anybody, and nothing is pending that has a place."""
        for host in self.hosts.hosts.values():
            if host.reserved > host.cpu_millis:
                raise violated("room", at, f"{host.name} holds {host.reserved} of {host.cpu_millis}")
        for name, state in states.items():
            waiting = [r for r in state.replicas if r.displaces]
            if waiting:
                raise violated("claims", at, f"{name} still waits with {waiting}")
            if len(state.replicas) < state.demand and not any(s.at for s in state.setbacks):
                self._check_pending(state, states, at)

    def _check_pending(self, state: ServiceState, states: Mapping[str, ServiceState], at: float) -> None:
        current = state.current
        need = current.spec.resources.cpu_millis if current is not None else 0
        mine = self.settings[state.service].priority
        for host in self.hosts.hosts.values():
            free = host.cpu_millis - host.reserved
            if free >= need:
                raise violated("pending", at, f"{state.service} is pending, {host.name} has {free}m: {state.pending}")
            spare = 0
            for other, theirs in states.items():
                if mine - self.settings[other].priority < GAP:
                    continue
                there = [r for r in theirs.replicas if r.host == host.name]
                above = len(theirs.replicas) - self.settings[other].bounds.min
                spare += self._cpu(theirs, there[: max(0, above)])
            if free + spare >= need:
                raise violated("pending", at, f"{state.service} is pending, on {host.name} {spare}m could give way")

    @staticmethod
    def _cpu(state: ServiceState, replicas: Sequence[Replica]) -> int:
        specs = {r.number: r.spec.resources.cpu_millis for r in state.revisions}
        return sum(specs.get(r.revision, 0) for r in replicas)


class _Both:
    """What an owner tells: to the properties of its service, and to those between services."""

    def __init__(self, way: GivingWay, properties: Properties) -> None:
        self._way = way
        self._properties = properties

    def decided(
        self, owner: Owner, append: Append, records: Sequence[Record], before: ServiceState, after: ServiceState
    ) -> None:
        """Records became durable."""
        self._properties.decided(owner, append, records, before, after)
        world = owner.world(before.service, "", owner.now, owner.token, frozenset())
        self._way.decided(records, before, world)

    def acting(self, owner: Owner, actions: Sequence[Action]) -> None:
        """These actions are about to be carried out."""
        self._properties.acting(owner, actions)
