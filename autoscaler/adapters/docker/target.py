"""The target `docker`: a pool of engines behind the target port. Wiring only; each part says what it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial

import requests

from autoscaler.adapters.docker import calls
from autoscaler.adapters.docker.client import CONNECT_S, EngineClient, check_host, refuse_problems
from autoscaler.adapters.docker.events import EventReader
from autoscaler.adapters.docker.failures import CallFailed, Failure, Verb
from autoscaler.adapters.docker.feed import Feed
from autoscaler.adapters.docker.host import Deadlines, Host
from autoscaler.adapters.docker.output import read_lines
from autoscaler.adapters.docker.pruning import prune
from autoscaler.adapters.docker.resolution import Resolver
from autoscaler.adapters.docker.tunnel import Tunnel
from autoscaler.adapters.docker.usage import Meter
from autoscaler.adapters.secret_files import SecretRefused, marks_of, read_secrets, scope_of
from autoscaler.configuration.settings import Registry, TargetSettings
from autoscaler.core.actions import Create, Outcome, Remove, Resolve, Start, StopReplica
from autoscaler.core.revision import Pairs
from autoscaler.core.world import ObservedReplica
from autoscaler.errors import TargetError
from autoscaler.ports.target import HostChange, HostListing, Pruned, Usage

FIRST_CONTACT_S = CONNECT_S + 0.5
"""Longest wait of `DockerTarget.open` for the hosts' event streams."""

CLOSE_S = 2.0
"""Longest wait of `DockerTarget.close` for the event threads."""


class DockerTarget:
    """A pool of Docker engines. Raises ConfigurationError for a host that cannot be spoken to.

    ``registries`` are the only credentials that a pull uses.
    """

    kind = "docker"

    def __init__(
        self,
        settings: TargetSettings,
        cluster: str,
        registries: tuple[Registry, ...],
        deadlines: Deadlines | None = None,
    ) -> None:
        refuse_problems([problem for host in settings.hosts for problem in check_host(settings.name, host)])
        self.name = settings.name
        self._cluster = cluster
        limits = deadlines or Deadlines()
        self._tunnels = {host.name: Tunnel(host) for host in settings.hosts if host.url.startswith("ssh://")}
        reached = [self._tunnels[host.name].settings if host.name in self._tunnels else host for host in settings.hosts]
        self._hosts = {host.name: Host(host, cluster, limits, self._turned) for host in reached}
        self._resolver = Resolver(tuple(self._hosts.values()), registries)
        self._meters = [Meter(host) for host in self._hosts.values()]
        self._feed = Feed()
        self._readers: dict[str, EventReader] = {}
        self._met: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Follow every host's events and watch its circuit; returns when the hosts answer, or after a few seconds."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(tunnel.open() for tunnel in self._tunnels.values()))
        for host in self._hosts.values():
            self._met[host.name] = asyncio.Event()
            reader = EventReader(host, partial(_hand_over, loop, self._heard))
            self._readers[host.name] = reader
            reader.start()
            self._tasks.append(asyncio.create_task(host.watch(self._look_again), name=f"docker-{host.name}-watch"))
        waits = [asyncio.create_task(met.wait()) for met in self._met.values()]
        if waits:
            _, late = await asyncio.wait(waits, timeout=FIRST_CONTACT_S)
            for task in late:
                task.cancel()

    async def close(self) -> None:
        """End threads and connections; the replicas go on. Calls in flight end by themselves."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._feed.close()
        for reader in self._readers.values():
            reader.close()
        for host in self._hosts.values():
            host.close()
        ended = asyncio.gather(*(asyncio.to_thread(reader.join, CLOSE_S) for reader in self._readers.values()))
        await ended
        await asyncio.gather(*(tunnel.close() for tunnel in self._tunnels.values()))

    async def list_replicas(self) -> Sequence[HostListing]:
        """Every host's listing, in the order of the configuration."""
        return await asyncio.gather(*(host.list_replicas() for host in self._hosts.values()))

    @property
    def host_names(self) -> Sequence[str]:
        """The hosts, in the order of the configuration."""
        return tuple(self._hosts)

    async def list_host(self, name: str) -> HostListing:
        """One host's listing."""
        return await self._hosts[name].list_replicas()

    def changes(self) -> AsyncIterator[HostChange]:
        """Every change from this call on."""
        return self._feed.subscribe()

    async def resolve(self, action: Resolve) -> Outcome:
        """Pin ``action.spec.image`` to the content that all hosts agree on, and its secrets to what they are now."""
        try:
            marks = await asyncio.to_thread(marks_of, action.spec.secrets, scope_of(self._cluster, action.service))
            return replace(await self._resolver.resolve(action), secret_marks=marks)
        except SecretRefused as why:
            return Outcome(action, "refused", str(why))
        except CallFailed as failed:
            return _outcome(action, failed.failure)

    async def create(self, action: Create) -> Outcome:
        """Create the container by pinned content, pulling that first where this host lacks it and can."""
        host = self._hosts.get(action.host)
        if host is None:
            return _no_such_host(action)
        try:
            return await self._create(host, action)
        except CallFailed as failed:
            if failed.failure.status != requests.codes.not_found or "no such image" not in failed.failure.text.lower():
                return _outcome(action, failed.failure)
        try:
            await self._resolver.fetch(host, action.spec.pinned)
            return await self._create(host, action)
        except CallFailed as failed:
            # Another host had this content when it was pinned: what lacks it is this host, not the revision.
            failure = failed.failure
            return Outcome(action, failure.result, failure.text, "host")

    async def start(self, action: Start) -> Outcome:
        """Start the container with its secrets as they were accepted; refused where their files say something else."""
        try:
            scope = scope_of(self._cluster, action.service)
            secrets = await asyncio.to_thread(read_secrets, action.secrets, action.secret_marks, scope)
        except SecretRefused as why:
            return Outcome(action, "refused", str(why), "host")

        def work(host: Host, client: EngineClient) -> Outcome:
            return calls.start(client, action, host.place, host.proven, secrets)

        return await self._act(action, "start", work, lambda host: host.deadlines.start_s)

    async def stop(self, action: StopReplica) -> Outcome:
        """Stop the container; meanwhile it is listed as stopping. Where no answer comes, until it must have ended: a
        stop that never arrived is then asked for again."""
        host = self._hosts.get(action.host)
        if host is None:
            return _no_such_host(action)
        deadline_s = action.grace_s + host.deadlines.stop_s
        host.stopping.begin(action.id, deadline_s)

        def work(host: Host, client: EngineClient) -> Outcome:
            return calls.stop(client, action, host.place)

        outcome = await self._act(action, "stop", work, lambda _: deadline_s)
        if outcome.result != "unknown":
            host.stopping.end(action.id)
        elif left_s := host.stopping.left_s(action.id):
            asyncio.get_running_loop().call_later(left_s, self._look_again, host)
        return outcome

    async def remove(self, action: Remove) -> Outcome:
        """Remove the ended container."""

        def work(host: Host, client: EngineClient) -> Outcome:
            return calls.remove(client, action, host.place)

        return await self._act(action, "remove", work, lambda host: host.deadlines.remove_s)

    async def prune(self, images: Pairs, needed: frozenset[str]) -> Sequence[Pruned]:
        """Remove images from every host that answers."""
        found = await asyncio.gather(*(self._prune(host, images, needed) for host in self._hosts.values()))
        return [result for of_host in found for result in of_host]

    async def usage(self) -> Sequence[Usage]:
        """CPU and memory of the running replicas of the hosts that answer."""
        usages = await asyncio.gather(*(meter.usage() for meter in self._meters))
        return [usage for of_host in usages for usage in of_host]

    async def logs(self, replica: ObservedReplica, *, follow: bool, tail: int) -> AsyncIterator[bytes]:
        """Yield lines without their newline, stdout and stderr in one. Raises TargetError."""
        host = self._hosts.get(replica.host)
        if host is None:
            raise TargetError(f"target {self.name} has no host {replica.host}", "refused")
        async for line in read_lines(host, replica.id, follow=follow, tail=tail):
            yield line

    async def _prune(self, host: Host, images: Pairs, needed: frozenset[str]) -> list[Pruned]:
        try:
            return await host.ask(
                "pull", lambda client: prune(client, images, needed, host.name), host.deadlines.pull_s
            )
        except CallFailed as failed:
            return [Pruned(host.name, pinned, "unknown", failed.failure.text) for _, pinned in images]

    async def _create(self, host: Host, action: Create) -> Outcome:
        return await host.ask(
            "create", lambda client: calls.create(client, action, host.place), host.deadlines.create_s
        )

    async def _act(
        self,
        action: Start | StopReplica | Remove,
        verb: Verb,
        work: Callable[[Host, EngineClient], Outcome],
        deadline_s: Callable[[Host], float],
    ) -> Outcome:
        host = self._hosts.get(action.host)
        if host is None:
            return _no_such_host(action)
        try:
            return await host.ask(verb, partial(work, host), deadline_s(host))
        except CallFailed as failed:
            return _outcome(action, failed.failure)

    def _heard(self, change: HostChange) -> None:
        if change.replica is None and change.removed is None:
            self._met[change.host].set()
            self._hosts[change.host].probe_now()
        self._feed.publish(change)

    def _turned(self, host: Host) -> None:
        reader = self._readers.get(host.name)
        if reader is not None and host.circuit.is_open:
            reader.begin_again()
        elif reader is not None:
            reader.hurry()
        self._look_again(host)

    def _look_again(self, host: Host) -> None:
        self._feed.publish(HostChange(host.name))


def _hand_over(loop: asyncio.AbstractEventLoop, heard: Callable[[HostChange], None], change: HostChange) -> None:
    try:
        loop.call_soon_threadsafe(heard, change)
    except RuntimeError:
        if not loop.is_closed():
            raise
        # The program has ended its loop without closing the target: nobody is left to tell.


def _outcome(action: Create | Resolve | Start | StopReplica | Remove, failure: Failure) -> Outcome:
    return Outcome(action, failure.result, failure.text, failure.blame)


def _no_such_host(action: Create | Start | StopReplica | Remove) -> Outcome:
    return Outcome(action, "refused", f"the target has no host {action.host}", "host")
