"""A simulated pool that is too small: services of different priority, each with owners of its own, share its hosts.

The engine's own `Shard` drives each service in a log of its own, so that no owner knows of another but by what the
hosts show. `run_pool(seed)` raises `Violation` with the seed. Beside the properties of each service (`properties`) it
holds those between them (`giving_way`): nobody below its least number, nobody by less than the gap, nobody without
need, no host with more than it can hold, and rest at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from autoscaler.core.claims import CLAIM_S
from autoscaler.core.revision import Resources, RevisionSpec
from autoscaler.core.settings import Bounds, ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.core.world import Precedence
from autoscaler.engine.shard import ShardSetup
from autoscaler.simulator.agenda import EPOCH, Agenda
from autoscaler.simulator.chance import Chance
from autoscaler.simulator.edits import Violation
from autoscaler.simulator.giving_way import GivingWay
from autoscaler.simulator.hosts import SimHosts
from autoscaler.simulator.log import SimLog
from autoscaler.simulator.owner import Owner, OwnerParts, SimVoter
from autoscaler.simulator.properties import Properties
from autoscaler.simulator.script import TOPICS, Published, Script, some_settings

REST_S = CLAIM_S + 120.0
"""Within so long all has to be at rest once faults have stopped: a claim that nobody honours has lapsed by then."""

VERSION = "v1"


@dataclass(slots=True)
class Tenancy:
    """One service of the pool: its log, its script, its present owner and those that do not know that they are not."""

    service: str
    settings: ServiceSettings
    log: SimLog
    script: Script
    properties: Properties
    owner: Owner | None = None
    members: int = 0

    @property
    def state(self) -> ServiceState:
        """As its owner knows it."""
        return self.owner.state if self.owner is not None else ServiceState(self.service)


@dataclass(frozen=True, slots=True)
class PlayedPool:
    """What a pool came to: give-ways and claims in all, replicas by service at the end."""

    seed: int
    gave_way: int
    claims: int
    overbooked: int
    replicas: Mapping[str, int]


class PoolWorld:
    """A pool in the making. ``happenings``: how many things happen in ``length_s``."""

    def __init__(self, seed: int, *, length_s: float = 60.0, happenings: int = 12) -> None:
        self.seed = seed
        self.chance = Chance(seed)
        self.now = EPOCH
        self._length_s = length_s
        self._happenings = happenings
        self._agenda = Agenda()
        self._calm = False
        chance = self.chance
        names = [(f"h{n}", f"z{n % 2}") for n in range(1, 3 + chance.below(2))]
        self.hosts = SimHosts(names, chance, self.later, self._host_changed)
        self.hosts.now = self.now
        for host in self.hosts.hosts.values():
            host.cpu_millis = chance.pick([1000, 1500, 2000])
            host.clock_ahead_s = chance.pick([0.0, -3600.0, 6.0])
        self.tenancies = {name: self._tenancy(name) for name in ("web", "api", "job", "log")[: 2 + chance.below(3)]}
        self.precedence = {
            name: Precedence(one.settings.priority, one.settings.bounds.min) for name, one in self.tenancies.items()
        }
        self.giving_way = GivingWay(self.hosts, {name: one.settings for name, one in self.tenancies.items()})

    def _tenancy(self, service: str) -> Tenancy:
        chance = self.chance
        given = some_settings(chance)
        update = replace(given.update, order="auto", on_failure="rollback", restart_delay_s=0.5, rollbacks_per_hour=100)
        least = chance.below(2)
        spec = RevisionSpec(command=("serve", VERSION), resources=Resources(chance.pick([250, 500, 500, 750]), 0))
        settings = replace(
            given,
            target_kind="process",
            update=update,
            bounds=Bounds(least, 6, least),
            revision=spec,
            priority=chance.pick([20, 45, 50, 60, 80]),
        )
        log = SimLog()
        properties = Properties(settings, self.hosts, log, service)
        properties.may_lack = True
        properties.accepted_versions.add(VERSION)
        return Tenancy(service, settings, log, Script(chance, settings, service), properties)

    # Time.

    def later(self, at: float, do: Callable[[], None]) -> None:
        """Do something at a moment to come."""
        self._agenda.add(max(at, self.now), do)

    def _until(self, end: float) -> None:
        while (due := self._agenda.take(end)) is not None:
            at, do = due
            self.now = self.hosts.now = at
            do()
            for one in self.tenancies.values():
                one.properties.check()
                if one.owner is not None and not one.owner.alive:
                    one.owner = None
                    self.later(self.now + self.chance.within(0.1, 3.0), lambda one=one: self._new_owner(one))  # type: ignore[misc]
            self.giving_way.check()
        self.now = self.hosts.now = end

    def _host_changed(self, host: str) -> None:
        for one in self.tenancies.values():
            if one.owner is not None and one.owner.alive:
                delay_s = self.chance.within(0.0, 0.3)
                self.later(self.now + delay_s, lambda owner=one.owner: owner.told(host, self.now))  # type: ignore[misc]

    def _new_owner(self, one: Tenancy) -> None:
        if one.owner is not None:
            one.owner.die()
        one.members += 1

        def setup(owner: Owner) -> ShardSetup:
            return ShardSetup(
                cluster="sim",
                member=owner.name,
                partitions=1,
                services={one.service: one.settings},
                voter=SimVoter(),
                look=owner.world,
            )

        parts = OwnerParts(
            one.log,
            self.hosts,
            self.chance,
            self.later,
            self.giving_way.beside(one.properties),
            lambda: "done",
            lambda _: False,
            lambda: 0.0,
            one.service,
            precedence=self.precedence,
        )
        one.owner = Owner(f"{one.service}-{one.members}", parts, setup, self.now)
        one.properties.taken_over(self.now, one.owner.token)

    # What happens.

    def _publish(self, one: Tenancy, event: Published) -> None:
        one.log.publish(TOPICS[event.topic], one.service, event.value, self.now)
        if one.owner is not None:
            one.owner.wake(self.now + self.chance.within(0.0, 0.05))

    def _scale(self, one: Tenancy) -> None:
        bounds = one.settings.bounds
        count = bounds.min + self.chance.below(bounds.max - bounds.min + 1)
        self._publish(one, one.script.scale(count))

    def _happen(self) -> None:
        chance, hosts = self.chance, self.hosts
        one = self.tenancies[chance.pick(sorted(self.tenancies))]
        name = chance.pick(sorted(hosts.hosts))
        things: list[tuple[float, Callable[[], None]]] = [
            (6.0, lambda: self._scale(one)),
            (1.0, hosts.kill_one),
            (0.5, hosts.remove_one),
            (0.7, lambda: hosts.unplug(name, chance.within(1.0, 40.0))),
            (0.7, lambda: self._condition(name)),
            (0.7, lambda: self._new_owner(one)),
            (0.5, lambda: self._freeze_owner(one)),
        ]
        chance.weighted(things)()

    def _freeze_owner(self, one: Tenancy) -> None:
        if one.owner is not None:
            one.owner.frozen_until = self.now + self.chance.within(1.0, 10.0)

    def _condition(self, name: str) -> None:
        host = self.hosts.hosts[name]
        host.condition = "ready" if host.condition != "ready" else self.chance.pick(["draining", "cordoned"])
        self._host_changed(name)

    # The whole.

    def play(self) -> PlayedPool:
        """Unrest, then rest. Raises `Violation`."""
        for one in self.tenancies.values():
            self._new_owner(one)
            self.later(self.now + self.chance.within(3.0, 12.0), lambda one=one: self._scale(one))  # type: ignore[misc]
        for _ in range(self._happenings):
            self.later(self.now + self.chance.within(5.0, self._length_s), self._happen)
        self._until(self.now + self._length_s)
        self.hosts.mend()
        for one in self.tenancies.values():
            self._new_owner(one)
        self._until(self.now + REST_S)
        self.giving_way.calm_from = self.now
        self._until(self.now + REST_S)
        for one in self.tenancies.values():
            one.properties.finish([], frozenset(), whole_trail=self.seed % 10 == 0)
        self.giving_way.finish({name: one.state for name, one in self.tenancies.items()}, self.now)
        counts = {name: len(one.state.replicas) for name, one in self.tenancies.items()}
        way = self.giving_way
        return PlayedPool(self.seed, way.gave_way, way.claims, way.came_second, counts)


def run_pool(seed: int, *, length_s: float = 60.0, happenings: int = 12) -> PlayedPool:
    """Play the pool of that seed. Raises `Violation` that names it."""
    try:
        return PoolWorld(seed, length_s=length_s, happenings=happenings).play()
    except Violation as violation:
        raise Violation(f"pool {seed}: {violation}") from violation
