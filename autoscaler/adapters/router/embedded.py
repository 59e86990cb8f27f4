"""The router that runs inside the autoscaler: one listener for each routed service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import h11

from autoscaler.adapters.router.balancing import Pool, Traffic
from autoscaler.adapters.router.exchange import Exchange, Patience, respond
from autoscaler.adapters.router.link import Link, LinkBroken
from autoscaler.core.settings import Route
from autoscaler.errors import TargetError
from autoscaler.ports.router import Backend

CLOSE_GRACE_S = 5.0


class EmbeddedRouter:
    """Implements `autoscaler.ports.router.Router` for ``routes`` (service -> `Route`)."""

    def __init__(self, routes: Mapping[str, Route], *, patience: Patience | None = None) -> None:
        self._routes = dict(routes)
        self._pools = {name: Pool(name, route.hold_for_s, route.hold) for name, route in routes.items()}
        self._patience = patience or Patience()
        self._servers: dict[str, asyncio.Server] = {}
        self._connections: dict[asyncio.Task[None], Link] = {}
        self._busy: set[Link] = set()
        self._closing = False

    async def open(self) -> None:
        """Listens on every route. Raises `TargetError`, and listens nowhere, where an address cannot be had."""
        for service, route in self._routes.items():
            try:
                self._servers[service] = await self._listen(service, route)
            except (OSError, ValueError) as error:
                await self.close()
                text = (
                    f"services.{service}.route.listen: cannot listen on {route.listen}: {error}. Free it or change it"
                )
                raise TargetError(text, "refused", "listen") from error

    def listen_address(self, service: str) -> str:
        """Where the service is served, ``host:port`` with the real port. Raises KeyError where it is not."""
        host, port = self._servers[service].sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def traffic(self, service: str) -> Traffic:
        """The service's counts. Raises KeyError where it is not routed."""
        return self._pools[service].traffic

    def in_flight(self, service: str) -> Mapping[str, int]:
        """Requests in flight by backend name. Raises KeyError where it is not routed."""
        return self._pools[service].in_flight

    async def set_backends(self, service: str, backends: Sequence[Backend]) -> None:
        """See the port; a service without a route is left alone."""
        pool = self._pools.get(service)
        if pool is not None:
            pool.set_backends(backends)

    async def drained(self, service: str, name: str, timeout_s: float) -> bool:
        """See the port; what is not routed has no requests."""
        pool = self._pools.get(service)
        return True if pool is None else await pool.drained(name, timeout_s)

    async def forget(self, service: str) -> None:
        """See the port."""

    def hear_demand(self, heard: Callable[[str, int], None]) -> None:
        """See the port."""
        for pool in self._pools.values():
            pool.heard = heard

    async def close(self) -> None:
        """Stops listening; requests in flight get 5 s, idle connections none."""
        self._closing = True
        for server in self._servers.values():
            server.close()
        for link in set(self._connections.values()) - self._busy:
            link.close()
        if self._connections:
            await asyncio.wait(set(self._connections), timeout=CLOSE_GRACE_S)
        left = list(self._connections)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for pool in self._pools.values():
            await pool.close()

    async def _listen(self, service: str, route: Route) -> asyncio.Server:
        host, _, port = route.listen.rpartition(":")

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(self._pools[service], Link(h11.SERVER, reader, writer))

        return await asyncio.start_server(serve, host.strip("[]") or None, int(port), backlog=1024)

    async def _serve(self, pool: Pool, client: Link) -> None:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a connection is served by its task")
        self._connections[task] = client
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
        return client.reusable() and not self._closing

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
