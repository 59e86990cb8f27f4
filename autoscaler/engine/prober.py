"""Asks replicas for their health, for the owner of their service. Called by the observer; knows no target.

One heap holds when each replica is due; a bounded number of probes is in flight. A probe is a connection of its own,
and over HTTP a GET whose status line decides (200 to 399 is healthy). Rules:

- The first probe goes out at once. Until a first verdict, the next follows after a tenth of the replica's age, at
  least `FAST_S` and at most ``every_s``: it is seen healthy soon, and many slow starters cost little.
- A success makes it healthy at once. Failures count from ``start_s`` after its start on, at most one per ``every_s``;
  ``failures`` of them in a row make it unhealthy.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from autoscaler.core.revision import Health
from autoscaler.core.world import ObservedReplica

FAST_S = 0.2
AGE_SHARE = 0.1
CONCURRENCY = 256
HEAD_BYTES_MAX = 16 * 1024
DUE_MIN = 64
"""So many entries more than twice those watched are kept in the heap before it is cleared of what nobody watches."""

STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[ \r]")

OnChange = Callable[[str, bool | None, float | None], None]


@dataclass(slots=True, eq=False)
class _Watched:
    replica_id: str
    health: Health
    address: str
    started_at: float
    interval_from: float
    healthy: bool | None = None
    failures: int = 0
    counted_at: float = float("-inf")
    note: str = ""


class _Exchange(asyncio.Protocol):
    """Sends ``request`` and sets ``verdict`` to what is wrong, empty where nothing is."""

    def __init__(self, request: bytes, verdict: asyncio.Future[str]) -> None:
        self._request = request
        self._verdict = verdict
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport) and self._request:
            transport.write(self._request)
        else:
            self._conclude("")

    def data_received(self, data: bytes) -> None:
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            if len(self._head) > HEAD_BYTES_MAX:
                self._conclude(f"answered more than {HEAD_BYTES_MAX} bytes of headers")
            return
        line = STATUS_LINE.match(head + b"\r")
        if line is None:
            self._conclude("answered, but not in HTTP/1.1")
        elif line[1].startswith(b"1"):
            self._head = b""
            self.data_received(rest)
        else:
            status = int(line[1])
            self._conclude("" if status < 400 else f"answered HTTP status {status}")  # noqa: PLR2004 -- RFC 9110

    def connection_lost(self, exc: Exception | None) -> None:
        self._conclude("closed the connection without an answer")

    def _conclude(self, wrong: str) -> None:
        if not self._verdict.done():
            self._verdict.set_result(wrong)


@dataclass(slots=True)
class Prober:
    """Reports to ``on_change(replica id, healthy, since)`` whenever a replica's health turns.

    ``since`` and ``clock`` are in seconds since the epoch; ``since`` of a healthy replica is the first success of its
    run. ``on_change`` must not raise.
    """

    on_change: OnChange
    clock: Callable[[], float]
    concurrency: int = CONCURRENCY
    probes_total: int = field(default=0, init=False)
    _watched: dict[str, _Watched] = field(default_factory=dict, init=False)
    _due: list[tuple[float, int, _Watched]] = field(default_factory=list, init=False)
    _order: itertools.count[int] = field(default_factory=itertools.count, init=False)
    _in_flight: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)

    @property
    def watched(self) -> int:
        """Replicas being watched."""
        return len(self._watched)

    @property
    def active(self) -> int:
        """Probes in flight."""
        return len(self._in_flight)

    def watch(self, replica: ObservedReplica, health: Health, address: str) -> None:
        """Probes the replica at ``address`` (``host:port``) from now on; nothing changes where it does so already.

        Call it in the event loop. Raises ValueError where ``health`` asks for nothing or the address is none.
        """
        if not (health.http or health.tcp):
            raise ValueError(f"{replica.name}: its health is not asked over the network")
        _host_and_port(address)
        known = self._watched.get(replica.id)
        if known is not None and (known.health, known.address) == (health, address):
            return
        now = self.clock()
        # A host's clock may run ahead of ours: the time to start up is counted from now at the latest.
        watched = _Watched(replica.id, health, address, min(replica.started_at or now, now), now)
        if known is not None:
            watched.healthy, watched.note = known.healthy, known.note
        self._watched[replica.id] = watched
        self._schedule(watched, 0.0)

    def forget(self, replica_id: str) -> None:
        """No more probes nor reports of it."""
        if self._watched.pop(replica_id, None) is not None and len(self._due) > DUE_MIN + 2 * len(self._watched):
            # What is not watched any more would stay in the heap until it was due.
            self._due = [entry for entry in self._due if self._watched.get(entry[2].replica_id) is entry[2]]
            heapq.heapify(self._due)

    def note(self, replica_id: str) -> str:
        """What the last probe found wrong, for a person; empty where nothing or nothing is known."""
        watched = self._watched.get(replica_id)
        return watched.note if watched is not None else ""

    async def close(self) -> None:
        """Ends every probe."""
        self._watched.clear()
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
        ending = list(self._in_flight)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def _schedule(self, watched: _Watched, delay_s: float) -> None:
        due = asyncio.get_running_loop().time() + delay_s
        heapq.heappush(self._due, (due, next(self._order), watched))
        self._arm()

    def _arm(self) -> None:
        """One timer for the earliest; none while all slots are taken, as an ending probe comes back here."""
        while self._due and self._watched.get(self._due[0][2].replica_id) is not self._due[0][2]:
            heapq.heappop(self._due)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due and len(self._in_flight) < self.concurrency:
            self._timer = asyncio.get_running_loop().call_at(self._due[0][0], self._launch)

    def _launch(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._due and self._due[0][0] <= now and len(self._in_flight) < self.concurrency:
            watched = heapq.heappop(self._due)[2]
            if self._watched.get(watched.replica_id) is watched:
                task = loop.create_task(self._probe(watched))
                self._in_flight.add(task)
                # One that is cancelled before it begins has no end of its own.
                task.add_done_callback(self._in_flight.discard)
        self._arm()

    async def _probe(self, watched: _Watched) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            self.probes_total += 1
            wrong = await ask(watched.health, watched.address)
            if self._watched.get(watched.replica_id) is watched:
                self._judge(watched, wrong)
        finally:
            task = asyncio.current_task()
            if task is not None:
                self._in_flight.discard(task)
            if self._watched.get(watched.replica_id) is watched:
                self._schedule(watched, max(0.0, began + self._interval_s(watched) - loop.time()))
            else:
                self._arm()

    def _interval_s(self, watched: _Watched) -> float:
        every_s = watched.health.every_s
        if watched.healthy is not None:
            return every_s
        age_s = self.clock() - watched.interval_from
        return min(every_s, max(FAST_S, AGE_SHARE * age_s))

    def _judge(self, watched: _Watched, wrong: str) -> None:
        now = self.clock()
        watched.note = wrong
        if not wrong:
            watched.failures = 0
            watched.counted_at = float("-inf")
            self._turn(watched, now, healthy=True)
            return
        health = watched.health
        if now < watched.started_at + health.start_s:
            return
        # A little less than every_s, so that a timer's jitter does not skip a count.
        if now - watched.counted_at < 0.9 * health.every_s:
            return
        watched.failures += 1
        watched.counted_at = now
        if watched.failures >= health.failures:
            self._turn(watched, now, healthy=False)

    def _turn(self, watched: _Watched, now: float, *, healthy: bool) -> None:
        if watched.healthy is not healthy:
            watched.healthy = healthy
            self.on_change(watched.replica_id, healthy, now)


async def ask(health: Health, address: str) -> str:
    """What is wrong with the answer at ``address``, empty where it is healthy. At most ``health.timeout_s``."""
    host, port = _host_and_port(address)
    loop = asyncio.get_running_loop()
    request = b""
    if health.http:
        lines = (f"GET {health.http} HTTP/1.1", f"Host: {address}", "User-Agent: eventscaler", "Connection: close")
        request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    verdict: asyncio.Future[str] = loop.create_future()
    transport: asyncio.Transport | None = None
    try:
        async with asyncio.timeout(health.timeout_s):
            transport, _ = await loop.create_connection(lambda: _Exchange(request, verdict), host, port)
            return await verdict
    except TimeoutError:
        # A kernel's ETIMEDOUT is a TimeoutError too.
        return f"no {'answer' if transport else 'connection'} within {health.timeout_s:g} s at {address}"
    except ConnectionRefusedError:
        return f"connection refused at {address}"
    except OSError as error:
        return f"unreachable at {address}: {error.strerror or error}"
    finally:
        if transport is not None:
            transport.close()


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"{address}: not of the form host:port")
    return host.strip("[]"), int(port)
