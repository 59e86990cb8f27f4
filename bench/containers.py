"""From a decision to the first Docker call, and from an event to a running container beside a bare `docker run`.

`autoscaler run` on a real engine. A relay before the engine's socket tells when a creation was asked for; the engine's
own events tell when a container had started.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import AsyncExitStack
from statistics import median
from typing import Any

import docker

from bench.cluster import PER_REPLICA, Cluster, policies
from bench.figure import Figure
from bench.program import Program
from bench.relay import Relay
from bench.sightings import Publisher, Watch
from bench.stage import IMAGE, Stage

TIMES, QUICK_TIMES = 15, 2
STARTED_S = 60.0


class Starts:
    """When containers started, by the engine's events; a thread, since the client library blocks."""

    def __init__(self, url: str) -> None:
        self._client = docker.DockerClient(base_url=url, timeout=60)
        self._events: Any = self._client.events(decode=True, filters={"event": "start"})
        self.at: dict[str, float] = {}
        threading.Thread(target=self._read, daemon=True).start()

    async def of(self, name: str) -> float:
        """When the container of that name had started, in seconds since the epoch."""
        async with asyncio.timeout(STARTED_S):
            while name not in self.at:  # noqa: ASYNC110 - set by a thread
                await asyncio.sleep(0.005)
        return self.at[name]

    def close(self) -> None:
        self._events.close()
        self._client.close()

    def _read(self) -> None:
        for event in self._events:
            self.at.setdefault(event["Actor"]["Attributes"]["name"], event["timeNano"] / 1e9)


class Scene:
    """One service on the engine, scaled up by one replica an event."""

    def __init__(self, cluster: Cluster, publisher: Publisher, watch: Watch, relay: Relay, starts: Starts) -> None:
        self._cluster = cluster
        self._publisher = publisher
        self._watch = watch
        self._relay = relay
        self._starts = starts
        self._replicas = 0

    async def scale_up(self) -> tuple[float, float]:
        """One replica more: milliseconds from the decision to the call, and from the event to the start."""
        self._replicas += 1
        first, name = len(self._watch.seen), f"up{self._replicas}"
        asked, begun = set(self._relay.created_at), time.time()
        await self._publisher.sample(self._cluster.topic("metrics"), "svc-0000", self._replicas * PER_REPLICA, name)
        decided_at = await self._watch.until(lambda value: _scales(value, name), first)
        async with asyncio.timeout(STARTED_S):
            while not (new := set(self._relay.created_at) - asked):  # noqa: ASYNC110 - as short as a poll can be
                await asyncio.sleep(0.002)
        (container,) = new
        started = await self._starts.of(container)
        return 1000 * (self._relay.created_at[container] - decided_at), 1000 * (started - begun)

    async def bare_run(self, client: docker.DockerClient, name: str) -> float:
        """A `docker run` through the client library: milliseconds from the call to the start."""
        begun = time.time()
        await asyncio.to_thread(client.containers.run, IMAGE, detach=True, name=name, init=True)
        return 1000 * (await self._starts.of(name) - begun)


def _scales(value: bytes, name: str) -> bool:
    event = json.loads(value)
    return bool(event["data"]["kind"] == "scale" and event.get("causationid") == name)


async def measure(stage: Stage, profile: str | None = None) -> list[Figure]:
    """Both figures, ours and the bare run in turns."""
    del profile  # of the rates alone
    cluster = Cluster.on(stage, "containers", 1)
    client = docker.DockerClient(base_url=stage.docker, timeout=60)
    times = QUICK_TIMES if stage.quick else TIMES
    to_call, to_start, bare = [], [], []
    try:
        async with AsyncExitStack() as stack:
            relay = await stack.enter_async_context(Relay(stage.docker, cluster.directory / "engine.sock"))
            cluster.write(relay.url, policies=policies("0%"), update={"soak": "0s", "min_healthy": "0s"})
            await cluster.create_topics()
            starts = Starts(stage.docker)
            stack.callback(starts.close)
            watch = await stack.enter_async_context(Watch(stage.brokers, cluster.topic("audit")))
            await stack.enter_async_context(Program(cluster))
            await watch.until(lambda value: b'"verdict":"applied"' in value)
            publisher = await stack.enter_async_context(Publisher(stage.brokers))
            scene = Scene(cluster, publisher, watch, relay, starts)
            # On a thread, as every call through the relay: it is this loop that passes them on.
            through = await asyncio.to_thread(docker.DockerClient, base_url=relay.url, timeout=60)
            stack.callback(through.close)
            await scene.scale_up()
            for number in range(times):
                call_ms, start_ms = await scene.scale_up()
                to_call.append(call_ms)
                to_start.append(start_ms)
                bare.append(await scene.bare_run(through, f"{cluster.name}-bare-{number}"))
                await asyncio.sleep(0.2)
    finally:
        await asyncio.to_thread(_remove, client, cluster.name)
        client.close()
    call_note = f"decision readable -> POST /containers/create passes a relay before the engine; {times} times"
    start_note = f"event published, or bare run called -> the engine's start event; median of {times} in turns"
    return [
        Figure("decision_to_action_p50", "ms", median(to_call), None, "ours <= 20", call_note),
        Figure("event_to_container_started", "ms", median(to_start), median(bare), None, start_note),
    ]


def _remove(client: docker.DockerClient, name: str) -> None:
    for container in client.containers.list(all=True, filters={"name": f"^/?{name}[.-]"}):
        container.remove(force=True)
