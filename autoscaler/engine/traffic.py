"""Keeps the router in step: new requests go to the wanted replicas that are healthy, and to no other.

One that was available once is not taken out for want of knowledge: after a take-over nobody has asked it yet.

A replica that leaves the wanted list loses its traffic in the same moment, so that it can be drained before it is
stopped. How much each revision gets, the core says (`autoscaler.core.traffic`); without a word from it each replica
gets the same. A router that is away keeps nobody waiting but those who drain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from autoscaler.core.settings import Route, ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.core.traffic import shares
from autoscaler.engine.observer import Observer
from autoscaler.engine.supervision import Supervision
from autoscaler.engine.weights import weights
from autoscaler.errors import TargetError
from autoscaler.ports.router import Backend, Router

log = structlog.get_logger(__name__)


class Traffic:
    """Works the backends of each routed service out of its state and what is seen, and tells the router of changes.

    ``failures``: calls that the router did not carry out in time, since the start. ``routed``: the services with a
    route.
    """

    def __init__(
        self,
        router: Router | None,
        services: Mapping[str, ServiceSettings],
        observer: Observer,
        supervision: Supervision,
    ) -> None:
        self.failures = 0
        routed = (name for name, settings in services.items() if settings.route is not None)
        self.routed = frozenset(routed) if router is not None else frozenset[str]()
        self._router = router
        self._services = services
        self._observer = observer
        self._supervision = supervision
        self._told: dict[str, tuple[Backend, ...]] = {}
        self._telling: dict[str, asyncio.Task[None]] = {}

    def refresh(self, service: str, state: ServiceState | None) -> None:
        """Tell the router, if the service is routed and its backends differ from what was told last."""
        settings = self._services.get(service)
        if self._router is None or settings is None or settings.route is None or state is None:
            return
        backends = self._backends(state, settings, settings.route)
        if self._told.get(service) == backends:
            return
        self._told[service] = backends
        if service not in self._telling:
            self._telling[service] = self._supervision.start(self._tell(self._router, service), f"route {service}")

    def forget(self, service: str) -> None:
        """Another member routes it now."""
        if self._router is not None and self._told.pop(service, None) is not None:
            self._supervision.start(self._router.forget(service), f"forget route of {service}")

    async def drained(self, service: str, name: str, timeout_s: float) -> bool:
        """True as soon as the replica has no request and gets none; False after ``timeout_s``. Never raises."""
        if self._router is None:
            return True
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        telling = self._telling.get(service)
        if telling is not None:  # it may still be told that the replica is wanted
            await asyncio.wait({telling}, timeout=timeout_s)
        try:
            return await self._router.drained(service, name, max(0.0, until - loop.time()))
        except TargetError as error:
            log.warning("the router cannot say whether it is drained", replica=name, error=str(error))
            return False

    async def _tell(self, router: Router, service: str) -> None:
        """One call at a time for a service, so that none overtakes a newer one."""
        try:
            told: tuple[Backend, ...] | None = None
            while service in self._told and told is not self._told[service]:
                told = self._told[service]
                try:
                    await router.set_backends(service, told)
                except TargetError as error:
                    self.failures += 1
                    log.warning("the router has not been told yet", service=service, error=str(error))
        finally:
            del self._telling[service]

    def _backends(self, state: ServiceState, settings: ServiceSettings, route: Route) -> tuple[Backend, ...]:
        wanted = {(r.slot, r.revision, r.attempt): r for r in state.replicas}
        addresses: dict[str, str] = {}
        healthy: dict[int, list[str]] = {}
        available: dict[int, list[str]] = {}
        for seen in self._observer.replicas(state.service):
            address = seen.address.get(route.port) or next(iter(seen.address.values()), "")
            replica = wanted.get((seen.slot, seen.revision, seen.attempt))
            if replica is None or seen.condition != "running" or not address:
                continue
            if not seen.healthy and (seen.healthy is False or replica.available_at is None):
                continue
            addresses[seen.name] = address
            healthy.setdefault(seen.revision, []).append(seen.name)
            if replica.available_at is not None:
                available.setdefault(seen.revision, []).append(seen.name)
        shared = shares(state, settings)
        weighed = weights(shared, healthy if shared is None or not available else available)
        return tuple(Backend(name, address, weighed.get(name, 0)) for name, address in sorted(addresses.items()))
