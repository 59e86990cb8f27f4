"""One engine of the pool: its threads, its circuit, and what is remembered of it between two calls.

What is remembered is only a cache (capacity, missing images, commands that were found); the truth is on the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from autoscaler.adapters.docker import calls
from autoscaler.adapters.docker.capacity import Machine, view
from autoscaler.adapters.docker.circuit import Circuit
from autoscaler.adapters.docker.client import EngineClient, connect
from autoscaler.adapters.docker.containers import cluster_filter
from autoscaler.adapters.docker.failures import FOREIGN, CallFailed, Failure, Verb, read_failure
from autoscaler.adapters.docker.images import images_of, look_up
from autoscaler.adapters.docker.stopping import Stopping
from autoscaler.adapters.docker.workers import WorkerPool
from autoscaler.configuration.settings import HostSettings
from autoscaler.core.world import HostView, ObservedReplica
from autoscaler.ports.target import HostListing

T = TypeVar("T")

LOOK_THREADS, READ_THREADS, CALL_THREADS, STOP_THREADS, PULL_THREADS = 3, 16, 16, 64, 2
"""Threads of one host at most. Looking never waits behind changing; a start holds its thread for the third of a second
that the engine needs, and engines start many side by side (`bench.swarm`); a stop holds it for the grace, a pull for
minutes, and a reading of usage for the second after which the engine refreshes its counters."""

MACHINE_AGE_MAX_S = 60.0
"""How old the engine's report of its capacity may get."""

LACKS_FOR_S = 60.0
"""How long a host counts as unable to pull what it once could not pull."""

REMEMBERED_MAX = 1000
"""Bound of each cache."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Longest life of a call, in seconds (reliability rules, section 4); a stop's counts from the end of its grace."""

    list_s: float = 5.0
    create_s: float = 10.0
    start_s: float = 10.0
    stop_s: float = 10.0
    remove_s: float = 15.0
    pull_s: float = 300.0
    probe_every_s: float = 10.0
    whole_every_s: float = 60.0


class Host:
    """One engine. ``on_change`` is called on the event loop when the host's circuit opens or closes."""

    def __init__(
        self, settings: HostSettings, cluster: str, deadlines: Deadlines, on_change: Callable[[Host], None]
    ) -> None:
        self.settings = settings
        self.place = calls.Place(cluster, settings)
        self.deadlines = deadlines
        self.circuit = Circuit()
        self.stopping = Stopping()
        self.proven: set[str] = set()
        self._on_change = on_change
        self._version = ""
        self._machine: Machine | None = None
        self._machine_at = 0.0
        self._lacks: dict[str, float | None] = {}
        self._wake = asyncio.Event()
        looks = WorkerPool(f"docker-{settings.name}-look", self.connect, LOOK_THREADS)
        changes = WorkerPool(f"docker-{settings.name}", self.connect, CALL_THREADS)
        self._pools: dict[Verb, WorkerPool] = {
            "list": looks,
            "read": WorkerPool(f"docker-{settings.name}-read", self.connect, READ_THREADS),
            "resolve": looks,
            "create": changes,
            "start": changes,
            "remove": changes,
            "stop": WorkerPool(f"docker-{settings.name}-stop", self.connect, STOP_THREADS),
            "pull": WorkerPool(f"docker-{settings.name}-pull", self.connect, PULL_THREADS),
        }

    @property
    def name(self) -> str:
        """The host's name in the configuration."""
        return self.settings.name

    @property
    def platform(self) -> str:
        """What the engine runs on, as far as it was listed: ``linux/amd64``."""
        return self._machine.platform if self._machine is not None else ""

    def connect(self, deadline_s: float) -> EngineClient:
        """A new client, on the thread that will use it; the API version is negotiated by the first of them."""
        client = connect(self.settings, self._version, deadline_s)
        self._version = client.api_version
        return client

    async def ask(self, verb: Verb, work: Callable[[EngineClient], T], deadline_s: float) -> T:
        """Run a piece of work on the host. Raises CallFailed, at once where the circuit is open."""
        if self.circuit.is_open:
            raise CallFailed(Failure("unavailable", f"host {self.name} is not asked: {self.circuit.why}", "host"))
        return await self._ask(verb, work, deadline_s)

    async def list_replicas(self) -> HostListing:
        """The host's listing; a failure is told in ``error``, and opens the circuit where the host was asked."""
        try:
            replicas, ports, machine, found = await self.ask("list", self._list, self.deadlines.list_s)
        except CallFailed as failed:
            return HostListing(self._view((), frozenset()), (), failed.failure.text)
        if machine is not None:
            self._machine, self._machine_at = machine, time.monotonic()
        for image in found:
            self._lacks.pop(image, None)
        self.stopping.keep({replica.id for replica in replicas if replica.condition == "running"})
        return HostListing(self._view(replicas, ports), tuple(replicas))

    async def watch(self, whole: Callable[[Host], None]) -> None:
        """For ever: probe the host, more and more rarely while it is silent; ``whole`` is called every minute."""
        whole_at = time.monotonic() + self.deadlines.whole_every_s
        while True:
            was_open = self.circuit.is_open
            await self._rest(self.circuit.back_off() if was_open else self.deadlines.probe_every_s)
            if self.circuit.is_open and not was_open:
                continue
            try:
                await self._ask("list", self._probe, self.deadlines.list_s)
            except CallFailed:
                # The circuit has been told; it says so in every listing until a probe succeeds.
                continue
            if time.monotonic() >= whole_at:
                whole_at = time.monotonic() + self.deadlines.whole_every_s
                whole(self)

    def probe_now(self) -> None:
        """Do not wait for the next probe: there is a sign of life."""
        self._wake.set()

    def lack(self, image: str, *, may_pull: bool) -> None:
        """Remember that the host has not got this content; where it may pull, for a while only."""
        while len(self._lacks) >= REMEMBERED_MAX:
            self._lacks.pop(next(iter(self._lacks)))
        self._lacks[image] = time.monotonic() + LACKS_FOR_S if may_pull else None

    def has(self, image: str) -> None:
        """Remember that the content is here."""
        self._lacks.pop(image, None)

    def close(self) -> None:
        """Let the threads end."""
        for pool in set(self._pools.values()):
            pool.close()

    async def _ask(self, verb: Verb, work: Callable[[EngineClient], T], deadline_s: float) -> T:
        try:
            result = await self._pools[verb].call(work, deadline_s)
        except (CallFailed, *FOREIGN) as error:
            failure = read_failure(error, verb)
            self._account(failure, verb)
            raise CallFailed(replace(failure, text=f"host {self.name}: {failure.text}")) from error
        self._lives()
        return result

    def _account(self, failure: Failure, verb: Verb) -> None:
        if verb == "pull" or not failure.begun:
            return  # a slow registry is no sign of a sick host, nor is a queue of our own calls
        if verb == "list":
            opened = self.circuit.trip(time.time(), failure.text)
        elif failure.answered:
            self._lives()
            return
        elif failure.result in ("unavailable", "unknown"):
            opened = self.circuit.fail(time.time(), failure.text)
        else:
            return
        if opened:
            self._version = ""  # another engine may come back
            self._wake.set()
            self._on_change(self)

    def _lives(self) -> None:
        if self.circuit.succeed(time.time()):
            self._machine_at = 0.0
            self._wake.set()
            self._on_change(self)

    async def _rest(self, seconds: float) -> None:
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def _probe(self, client: EngineClient) -> None:
        client.containers(limit=1, filters=cluster_filter(self.place.cluster))

    def _list(self, client: EngineClient) -> tuple[list[ObservedReplica], frozenset[int], Machine | None, list[str]]:
        replicas = calls.list_replicas(client, self.place, self.stopping)
        ports = calls.ports_taken(client)
        stale = time.monotonic() - self._machine_at > MACHINE_AGE_MAX_S or self._machine is None
        machine = Machine.of(client.info(), images_of(client)) if stale else None
        found = [image for image in tuple(self._lacks) if look_up(client, image) is not None]
        return replicas, ports, machine, found

    def _view(self, replicas: tuple[ObservedReplica, ...] | list[ObservedReplica], ports: frozenset[int]) -> HostView:
        now = time.monotonic()
        lacks = frozenset(image for image, until in self._lacks.items() if until is None or now < until)
        return view(self.settings, self._machine or Machine(), self.circuit, replicas, ports, lacks)
