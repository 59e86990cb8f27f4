"""The router that runs inside the autoscaler: a listener for each routed service that is this member's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import h11

from autoscaler.adapters.router.balancing import Pool, Traffic
from autoscaler.adapters.router.exchange import Exchange, Patience, respond
from autoscaler.adapters.router.link import Link, LinkBroken
from autoscaler.adapters.router.listening import Listener
from autoscaler.core.settings import Route
from autoscaler.ports.router import Backend, Counts

CLOSE_GRACE_S = 5.0


class EmbeddedRouter:
    """Implements `autoscaler.ports.router.Router` for ``routes`` (service -> `Route`). ``others``: whether another
    member of this cluster runs on this machine, which may listen where we would."""

    def __init__(
        self,
        routes: Mapping[str, Route],
        *,
        patience: Patience | None = None,
        others: Callable[[], bool] = lambda: False,
    ) -> None:
        self._pools = {name: Pool(name, route.hold_for_s, route.hold) for name, route in routes.items()}
        self._listeners = {
            name: Listener(name, route.listen, partial(self._accept, name)) for name, route in routes.items()
        }
        self._patience = patience or Patience()
        self._others = others
        self._connections: dict[asyncio.Task[None], tuple[Pool, Link]] = {}
        self._busy: set[Link] = set()
        self._closing = False

    async def open(self) -> None:
        """Every address can be had. Raises `TargetError`, and listens nowhere, where one cannot."""
        try:
            for listener in self._listeners.values():
                await listener.check(self._others)
        except BaseException:
            await self.close()
            raise

    def listen_address(self, service: str) -> str:
        """Where the service is served, ``host:port`` with the real port. Raises KeyError where it is not."""
        return self._listeners[service].address

    def traffic(self, service: str) -> Traffic:
        """The service's counts. Raises KeyError where it is not routed."""
        return self._pools[service].traffic

    def counts(self) -> Mapping[str, Counts]:
        """See the port."""
        passed = {name: pool for name, pool in self._pools.items() if pool.traffic.requests}
        return {
            name: Counts(
                pool.traffic.requests,
                pool.traffic.held,
                pool.traffic.refused,
                pool.traffic.failed,
                sum(pool.in_flight.values()),
            )
            for name, pool in passed.items()
        }

    def in_flight(self, service: str) -> Mapping[str, int]:
        """Requests in flight by backend name. Raises KeyError where it is not routed."""
        return self._pools[service].in_flight

    async def set_backends(self, service: str, backends: Sequence[Backend]) -> None:
        """See the port. ``unavailable``: another has the address; requests are taken as soon as it is free."""
        pool = self._pools.get(service)
        if pool is not None:
            pool.set_backends(backends)
            if not self._closing:
                await self._listeners[service].open()

    async def drained(self, service: str, name: str, timeout_s: float) -> bool:
        """See the port; what is not routed has no requests."""
        pool = self._pools.get(service)
        return True if pool is None else await pool.drained(name, timeout_s)

    async def forget(self, service: str) -> None:
        """See the port. Kept connections are closed, so that clients come to the new owner with their next request.
        Where none of ours is on this machine, what was served is served on: we may have it back in a moment."""
        pool = self._pools.get(service)
        if pool is None or not self._others():
            return
        await self._listeners[service].let_go()
        pool.leave()
        for served, link in list(self._connections.values()):
            if served is pool and link not in self._busy:
                link.close()

    def hear_demand(self, heard: Callable[[str, int], None]) -> None:
        """See the port."""
        for pool in self._pools.values():
            pool.heard = heard

    async def close(self) -> None:
        """Stops listening; requests in flight get 5 s, idle connections none."""
        self._closing = True
        for listener in self._listeners.values():
            await listener.close()
        for _, link in list(self._connections.values()):
            if link not in self._busy:
                link.close()
        if self._connections:
            await asyncio.wait(set(self._connections), timeout=CLOSE_GRACE_S)
        left = list(self._connections)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for pool in self._pools.values():
            await pool.close()

    async def _accept(self, service: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve(self._pools[service], Link(h11.SERVER, reader, writer))

    async def _serve(self, pool: Pool, client: Link) -> None:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a connection is served by its task")
        self._connections[task] = (pool, client)
        try:
            while await self._serve_one(pool, client):
                pass
            if client.state.their_state is h11.SEND_BODY:
                await client.linger()
            else:
                client.close()
        except LinkBroken as error:
            await self._end_broken(client, error)
        except asyncio.CancelledError:
            client.abort()  # close() ran out of patience; the streams' own callback would log a cancellation
        finally:
            await client.gone()
            del self._connections[task]

    async def _serve_one(self, pool: Pool, client: Link) -> bool:
        """Serves the connection's next request; whether another may follow."""
        request = await client.receive(self._patience.client_s)
        if not isinstance(request, h11.Request):
            return False
        self._busy.add(client)
        try:
            await Exchange(pool, client, request, self._patience).run()
        finally:
            self._busy.discard(client)
        return client.reusable() and not self._closing and not pool.away

    async def _end_broken(self, client: Link, error: LinkBroken) -> None:
        """A request that is none is answered; one whose answer was begun is cut off, so that the client notices."""
        if client.may_answer and not error.timed_out and client.usable:
            try:
                await respond(client, error.status, "the request cannot be read")
            except LinkBroken:
                client.abort()
                return
            client.close()
        else:
            client.abort()
