"""Several routers as one: each service has its own, and one at zero has the *activator*, which holds its requests.

The activator is the embedded router on a loopback port: to a HAProxy it is a server like any other, wanted while there
is no replica, and drained like one when the first has come. Knows the port, no adapter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from autoscaler.ports.router import ACTIVATOR, Backend, Counts, Router


class Activator(Router, Protocol):
    """A router that holds requests, and says where."""

    def listen_address(self, service: str) -> str:
        """``host:port`` where the service's requests are held."""


class Routing:
    """Implements the port. ``routers``: service -> its router; ``activated``: services whose requests the activator
    holds."""

    def __init__(
        self, routers: Mapping[str, Router], activator: Activator | None = None, activated: frozenset[str] = frozenset()
    ) -> None:
        self._routers = dict(routers)
        self._activator = activator
        self._activated = activated if activator is not None else frozenset()

    @property
    def _all(self) -> Sequence[Router]:
        behind = () if self._activator is None else (self._activator,)
        return (*behind, *self._separate)

    @property
    def _separate(self) -> Sequence[Router]:
        return tuple({id(router): router for router in self._routers.values()}.values())

    async def open(self) -> None:
        """The activator first; where one cannot be opened, those before it are closed again."""
        opened: list[Router] = []
        try:
            for router in self._all:
                await router.open()
                opened.append(router)
        except BaseException:
            await asyncio.gather(*(router.close() for router in opened))
            raise

    async def set_backends(self, service: str, backends: Sequence[Backend]) -> None:
        """Held requests are let go first, then new ones come past the activator."""
        router = self._routers.get(service)
        if router is None:
            return
        if self._activator is not None and service in self._activated:
            await self._activator.set_backends(service, backends)
            if not any(backend.weight for backend in backends):
                backends = (*backends, Backend(ACTIVATOR, self._activator.listen_address(service)))
        await router.set_backends(service, backends)

    async def drained(self, service: str, name: str, timeout_s: float) -> bool:
        """A request that had been held goes through the activator to its end."""
        behind = [self._activator] if self._activator is not None and service in self._activated else []
        router = self._routers.get(service)
        asked = [*behind, *([] if router is None else [router])]
        return all(await asyncio.gather(*(each.drained(service, name, timeout_s) for each in asked)))

    async def forget(self, service: str) -> None:
        """See the port."""
        router = self._routers.get(service)
        if router is not None:
            await router.forget(service)

    def hear_demand(self, heard: Callable[[str, int], None]) -> None:
        """See the port."""
        for router in self._all:
            router.hear_demand(heard)

    def counts(self) -> Mapping[str, Counts]:
        """Of each service from whoever has carried its requests in this process."""
        return {service: counts for router in self._all for service, counts in router.counts().items()}

    async def close(self) -> None:
        """Separate routers first, so that they send nothing more to an activator that has gone."""
        await asyncio.gather(*(router.close() for router in self._separate))
        if self._activator is not None:
            await self._activator.close()
