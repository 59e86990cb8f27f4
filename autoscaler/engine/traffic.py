"""Keeps the router in step: new requests go to the wanted replicas that are healthy, and to no other.

A replica that leaves the wanted list loses its traffic in the same moment, so that it can be drained before it is
stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.engine.observer import Observer
from autoscaler.ports.router import Backend, Router


class Traffic:
    """Works the backends of each routed service out of its state and what is seen, and tells the router of changes."""

    def __init__(self, router: Router | None, services: Mapping[str, ServiceSettings], observer: Observer) -> None:
        self._router = router
        self._services = services
        self._observer = observer
        self._told: dict[str, tuple[Backend, ...]] = {}
        self._telling: dict[str, asyncio.Task[None]] = {}

    def refresh(self, service: str, state: ServiceState | None) -> None:
        """Tell the router, if the service is routed and its backends differ from what was told last."""
        settings = self._services.get(service)
        if self._router is None or settings is None or settings.route is None or state is None:
            return
        backends = self._backends(state, settings.route.port)
        if self._told.get(service) == backends:
            return
        self._told[service] = backends
        if service not in self._telling:
            self._telling[service] = asyncio.create_task(self._tell(self._router, service))

    async def _tell(self, router: Router, service: str) -> None:
        """One call at a time for a service, so that none overtakes a newer one."""
        try:
            told: tuple[Backend, ...] | None = None
            while told is not self._told[service]:
                told = self._told[service]
                await router.set_backends(service, told)
        finally:
            del self._telling[service]

    def _backends(self, state: ServiceState, port: str) -> tuple[Backend, ...]:
        wanted = {(r.slot, r.revision, r.attempt) for r in state.replicas}
        backends = []
        for seen in self._observer.replicas(state.service):
            address = seen.address.get(port) or next(iter(seen.address.values()), "")
            identity = (seen.slot, seen.revision, seen.attempt)
            if identity in wanted and seen.condition == "running" and seen.healthy and address:
                backends.append(Backend(seen.name, address))
        return tuple(sorted(backends, key=lambda backend: backend.name))
