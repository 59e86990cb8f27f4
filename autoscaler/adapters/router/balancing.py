"""Which backend gets the next request of one service, how many each has in flight, and who waits for one.

Used by `embedded` and `exchange` in one event loop; opens no connection itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from autoscaler.adapters.router.link import Link
from autoscaler.ports.router import Backend

SUSPECT_S = 1.0
"""A backend that refused a connection is passed over for so long where there is another."""
IDLE_LINKS_MAX = 32


@dataclass(slots=True, eq=False)
class Upstream:
    """One backend as the router knows it; it outlives its removal until its last request has ended."""

    backend: Backend
    in_flight: int = 0
    suspect_until: float = 0.0
    credit: float = 0.0
    idle: list[Link] = field(default_factory=list)
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    removed: bool = False

    def suspect(self) -> None:
        """It could not be connected to: others come first for a moment."""
        self.suspect_until = asyncio.get_running_loop().time() + SUSPECT_S

    def begin(self) -> None:
        """One request more."""
        self.in_flight += 1
        self.drained.clear()

    def end(self) -> None:
        """One request less."""
        self.in_flight -= 1
        if not self.in_flight:
            self.drained.set()

    def keep(self, link: Link) -> None:
        """An idle connection for the next request, or closed where there are enough or the backend is removed."""
        if self.removed or len(self.idle) >= IDLE_LINKS_MAX:
            link.close()
        else:
            self.idle.append(link)

    def take_idle(self) -> Link | None:
        """A connection that the backend has not closed yet as far as is known."""
        while self.idle:
            link = self.idle.pop()
            if link.usable:
                return link
            link.close()
        return None

    def let_go(self) -> list[Link]:
        """No idle connection any more, now and later; those that were are closing."""
        self.removed = True
        closing, self.idle = self.idle, []
        for link in closing:
            link.close()
        return closing


@dataclass(slots=True)
class Traffic:
    """Counts of one service since the start: ``failed`` are answers 502 and 504 of the router itself, ``refused`` its
    503, ``held`` requests that waited for a replica."""

    requests: int = 0
    failed: int = 0
    refused: int = 0
    held: int = 0
    retried: int = 0


class Pool:
    """The backends of one service.

    A request goes to the backend with the fewest requests in flight for its weight; among equals the turn goes round in
    proportion to the weights (smooth weighted round robin, as in nginx's ``ngx_http_upstream_round_robin``). At most
    ``hold_max`` requests wait for a first backend, each at most ``hold_s``; ``heard`` is told how many do. ``away``:
    another member serves it, so that nothing waits here.
    """

    def __init__(self, service: str, hold_s: float, hold_max: int) -> None:
        self.service = service
        self.traffic = Traffic()
        self.heard: Callable[[str, int], None] | None = None
        self.away = False
        self._hold_s = hold_s
        self._hold_max = hold_max
        self._upstreams: dict[str, Upstream] = {}
        self._leaving: dict[str, list[Upstream]] = {}
        self._holding = 0
        self._changed = asyncio.Event()

    @property
    def in_flight(self) -> dict[str, int]:
        """Requests in flight by backend name, those that are leaving included."""
        counts = {name: upstream.in_flight for name, upstream in self._upstreams.items()}
        for name, leaving in self._leaving.items():
            counts[name] = counts.get(name, 0) + sum(upstream.in_flight for upstream in leaving)
        return counts

    def leave(self) -> None:
        """Another member serves it now: what waits here waits in vain."""
        self.away = True
        self._wake()

    def set_backends(self, backends: Sequence[Backend]) -> None:
        """New requests go to exactly these from now on; those that wait for one are let on."""
        self.away = False
        wanted = {backend.name: backend for backend in backends}
        for name, upstream in list(self._upstreams.items()):
            backend = wanted.get(name)
            if backend is None or backend.address != upstream.backend.address:
                del self._upstreams[name]
                upstream.let_go()
                if upstream.in_flight:
                    self._leaving.setdefault(name, []).append(upstream)
        for name, backend in wanted.items():
            if name in self._upstreams:
                self._upstreams[name].backend = backend
            else:
                self._upstreams[name] = Upstream(backend)
        for name in list(self._leaving):
            self._busy(name)  # forgets those whose last request has ended
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def drained(self, name: str, timeout_s: float) -> bool:
        """Whether no request is in flight on that backend within ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                while busy := self._busy(name):
                    await busy[0].drained.wait()
        except TimeoutError:
            return False
        return True

    def _busy(self, name: str) -> list[Upstream]:
        leaving = [upstream for upstream in self._leaving.pop(name, []) if upstream.in_flight]
        if leaving:
            self._leaving[name] = leaving
        present = self._upstreams.get(name)
        return leaving + ([present] if present is not None and present.in_flight else [])

    def choose(self, tried: frozenset[str]) -> Upstream | None:
        """The upstream for a request that has failed on ``tried``; it counts as in flight: call its `Upstream.end`."""
        upstream = self._pick(tried)
        if upstream is not None:
            upstream.begin()
        return upstream

    async def hold(self) -> str:
        """Waits until there is an upstream; why there is none where the wait was in vain, else empty."""
        if self.away:
            return "is served by another member now"
        if not self._hold_max:
            return "has no replica that is ready"
        if self._holding >= self._hold_max:
            self._tell()
            return f"has no replica that is ready, and {self._holding} requests wait for one already"
        self._holding += 1
        self.traffic.held += 1
        self._tell()
        try:
            async with asyncio.timeout(self._hold_s):
                while self._in_vain():
                    await self._changed.wait()
        except TimeoutError:
            return f"has had no replica that is ready for {self._hold_s:g} s"
        finally:
            self._holding -= 1
            self._tell()
        return ""

    def _in_vain(self) -> bool:
        return not self.away and not self._able(frozenset())

    def _tell(self) -> None:
        if self.heard is not None:
            self.heard(self.service, self._holding)

    def _able(self, tried: frozenset[str]) -> list[Upstream]:
        able = [each for name, each in self._upstreams.items() if name not in tried and each.backend.weight > 0]
        now = asyncio.get_running_loop().time()
        return [each for each in able if each.suspect_until <= now] or able

    def _pick(self, tried: frozenset[str]) -> Upstream | None:
        able = self._able(tried)
        if not able:
            return None
        least = min(each.in_flight / each.backend.weight for each in able)
        idlest = [each for each in able if each.in_flight / each.backend.weight <= least]
        for each in idlest:
            each.credit += each.backend.weight
        chosen = max(idlest, key=lambda each: each.credit)
        chosen.credit -= sum(each.backend.weight for each in idlest)
        return chosen

    async def close(self) -> None:
        """Every idle connection is closed."""
        closing = [link for upstream in self._upstreams.values() for link in upstream.let_go()]
        await asyncio.gather(*(link.gone() for link in closing))
