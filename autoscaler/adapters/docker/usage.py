"""What replicas use, from the engine's counters: two readings of a counter make a rate."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoscaler.adapters.docker.client import EngineClient, version_parts
from autoscaler.adapters.docker.containers import cluster_filter, moment, numbers_of, service_of
from autoscaler.adapters.docker.failures import CallFailed
from autoscaler.adapters.docker.host import READ_THREADS, Host
from autoscaler.ports.target import Usage

BASELINE_S = 1.0
"""Between the two readings of a replica that has not been read before: engines refresh their counters once a second
(Engine 20.10: a second reading within that second is held back until its end)."""

ONE_SHOT_SINCE = (1, 41)
NANOSECONDS = 1e9


@dataclass(frozen=True, slots=True)
class Reading:
    """One replica's counters at one moment of its engine's clock; ``memory_bytes`` without what the kernel may drop."""

    name: str
    service: str
    revision: int
    cpu_s: float
    memory_bytes: int
    at: float


class Meter:
    """Reads the usage of one host's replicas; keeps the last reading of each."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._last: dict[str, Reading] = {}
        self._turn = asyncio.Semaphore(READ_THREADS)

    async def usage(self) -> list[Usage]:
        """Usage since the last call, or over a second the first time; empty where the host is silent."""
        try:
            running = await self._host.ask("read", self._running, self._host.deadlines.list_s)
            first = [container for container in running if container not in self._last]
            if first:
                self._last |= await self._read(first, running)
                await asyncio.sleep(BASELINE_S)
            readings = await self._read(list(running), running)
        except CallFailed:
            # Hosts that do not answer are left out; their circuit says why.
            return []
        before, self._last = self._last, readings
        return [_rate(before[container], now) for container, now in readings.items() if container in before]

    async def _read(self, containers: list[str], running: Mapping[str, tuple[str, str, int]]) -> dict[str, Reading]:
        read = await asyncio.gather(*(self._read_one(container, *running[container]) for container in containers))
        return {container: reading for container, reading in zip(containers, read, strict=True) if reading is not None}

    async def _read_one(self, container: str, name: str, service: str, revision: int) -> Reading | None:
        async with self._turn:
            stats = await self._host.ask("read", lambda client: _stats(client, container), self._host.deadlines.list_s)
        at = moment(str(stats.get("read") or ""))
        if at is None:  # ended meanwhile
            return None
        cpu_s = int(stats["cpu_stats"]["cpu_usage"].get("total_usage", 0)) / NANOSECONDS
        return Reading(name, service, revision, cpu_s, _memory(stats.get("memory_stats") or {}), at)

    def _running(self, client: EngineClient) -> dict[str, tuple[str, str, int]]:
        filters = cluster_filter(self._host.place.cluster) | {"status": "running"}
        found = {}
        for summary in client.containers(filters=filters):
            labels = summary["Labels"]
            numbers, service = numbers_of(labels), service_of(labels)
            if numbers is not None and service:
                name = str(summary["Names"][0]).removeprefix("/")
                found[str(summary["Id"])] = (name, service, numbers["revision"])
        return found


def _stats(client: EngineClient, container: str) -> dict[str, Any]:
    one_shot = True if version_parts(client.api_version) >= ONE_SHOT_SINCE else None
    stats: dict[str, Any] = client.stats(container, stream=False, one_shot=one_shot)
    return stats


def _memory(stats: Mapping[str, Any]) -> int:
    details = stats.get("stats") or {}
    # The page cache that the kernel drops first is no use of the replica's (as `docker stats` counts it, both cgroups).
    inactive = details.get("inactive_file", details.get("total_inactive_file", 0))
    return max(0, int(stats.get("usage", 0)) - int(inactive))


def _rate(before: Reading, now: Reading) -> Usage:
    seconds = now.at - before.at
    cores = max(0.0, now.cpu_s - before.cpu_s) / seconds if seconds > 0 else 0.0
    return Usage(now.name, now.service, now.revision, cores, now.memory_bytes)
