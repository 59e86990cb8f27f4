"""A service on stage in a pool that it shares: hosts of 2000m, neighbours that hold room on them, and claims on it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from autoscaler.core.claims import canonical
from autoscaler.core.revision import Resources
from autoscaler.core.settings import Bounds, PlacementRules
from autoscaler.core.state import ServiceState
from autoscaler.core.stimuli import Observed
from autoscaler.core.world import Neighbours, ObservedReplica, Precedence, World
from tests.core.builders import NOW, a_host, a_revision, a_service, a_spec, some_rules, some_settings
from tests.core.scene import Scene

NEED = 500
"""Millicores of each replica of the service."""


def a_tenant(service: str, slot: int, host: str = "h1", **changes: Any) -> ObservedReplica:
    """A replica of a neighbour, of 1000m."""
    given: dict[str, Any] = {"healthy": True, "started_at": NOW - 500, "cpu_millis": 1000, "made_at": NOW - 500}
    given |= {"condition": "running", "attempt": slot + 1} | changes
    name = f"shop.{service}.s{slot}.r1.{given['attempt']}"
    return ObservedReplica(id=name, name=name, service=service, slot=slot, revision=1, host=host, **given)


class FullPool(Scene):
    """``others``: what holds room beside the service; ``precedence`` of its neighbours as priority and least number."""

    def __init__(
        self,
        state: ServiceState,
        *others: ObservedReplica,
        priority: int = 60,
        hosts: int = 1,
        least: int = 0,
        placement: PlacementRules | None = None,
        **precedence: tuple[int, int],
    ) -> None:
        settings = some_settings(
            priority=priority,
            bounds=Bounds(least, 40, least),
            placement=placement or PlacementRules(),
            update=some_rules(restart_window_s=600.0),
        )
        state = replace(state, revisions=tuple(_needing(r) for r in state.revisions))
        super().__init__(state, settings, [a_host(f"h{n}", cpu_millis=2000) for n in range(1, hosts + 1)])
        self.others = list(others)
        self.precedence = {name: Precedence(*one) for name, one in precedence.items()}
        for name, seen in self.containers.items():
            self.containers[name] = replace(seen, cpu_millis=NEED, made_at=NOW - 900)

    def world(self) -> World:
        """What the hosts show, with what the neighbours hold."""
        world = super().world()
        everyone = [*(c for c in self.containers.values() if c.condition != "exited"), *self.others]
        tenants = {h.name: [t for t in everyone if t.host == h.name] for h in world.hosts}
        hosts = tuple(
            replace(
                h,
                reserved_cpu_millis=sum(t.cpu_millis for t in tenants[h.name]),
                services=frozenset(t.service for t in tenants[h.name]),
            )
            for h in world.hosts
        )
        waiting = [t for t in everyone if t.condition == "created" and t.displaces]
        named = {name for t in waiting for name in t.displaces}
        steady = Counter(t.service for t in everyone if canonical(t) not in named)
        lowest = min((one.priority for one in self.precedence.values()), default=0)
        neighbours = Neighbours(tenants, steady, self.precedence, lowest)
        claims = tuple(t for t in waiting if t.service != "web")
        return replace(world, hosts=hosts, neighbours=neighbours, claims=claims)

    def leave(self, *names: str) -> None:
        """Neighbours are gone from their host, which tells of it."""
        self.others = [t for t in self.others if canonical(t) not in names]
        self.tell(Observed(self.now))

    def come(self, *tenants: ObservedReplica) -> None:
        """Neighbours take room, which their host tells of."""
        self.others += tenants
        self.tell(Observed(self.now))

    @property
    def displaces(self) -> list[tuple[str, ...]]:
        """Whom the wanted replicas wait for."""
        return [r.displaces for r in self.state.replicas if r.displaces]

    @property
    def pending(self) -> str:
        """Why something is pending."""
        return self.state.pending.text if self.state.pending is not None else ""


def _needing(revision: Any) -> Any:
    return a_revision(revision.number, revision.standing, a_spec(str(revision.number), resources=Resources(NEED, 0)))


def one_wanted(demand: int = 1, **changes: Any) -> ServiceState:
    """A service that runs nothing yet and wants so many."""
    return a_service((), demand=demand, **changes)


def a_claim(service: str, *names: str, host: str = "h1", **changes: Any) -> ObservedReplica:
    """A neighbour's replica that waits for these to go."""
    given: dict[str, Any] = {"condition": "created", "healthy": None, "started_at": None, "displaces": names}
    return a_tenant(service, 0, host, **(given | changes))
