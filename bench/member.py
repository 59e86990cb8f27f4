"""A member in a process of its own, without HTTP and without sources: the engine on the real broker, and a meter.

Its hosts show what its services' states list, all healthy, so that nothing but events gives it work. Reading of metrics
is paused until it is asked to drain. Settings: ``configuration``, ``demand`` (replicas a service is seen with).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoscaler.adapters.pretend.target import PretendTarget
from autoscaler.cli.context import open_configuration
from autoscaler.cli.logs_setup import set_up_logging
from autoscaler.cli.wiring import member_parts
from autoscaler.core.world import HostView, ObservedReplica
from autoscaler.engine.member import Member
from autoscaler.ports.stream import Topic
from autoscaler.ports.target import HostListing
from bench.child import serve
from bench.profiling import profiled
from bench.usage import Reading

CHECK_S = 0.002


class StandingTarget(PretendTarget):
    """One host on which every service has its replicas running already."""

    def __init__(self, services: Sequence[str], demand: int) -> None:
        super().__init__("edge", ["h1"])
        self._standing = [replica_of(service, slot, slot + 1) for service in services for slot in range(demand)]

    async def list_replicas(self) -> Sequence[HostListing]:
        return [HostListing(HostView("h1", replicas=len(self._standing)), self._standing)]


def replica_of(service: str, slot: int, attempt: int) -> ObservedReplica:
    """A healthy replica as the state of `bench.cluster.settled_state` lists it."""
    name = f"{service}.s{slot}.r1.{attempt}"
    long_ago = time.time() - 3600.0
    return ObservedReplica(
        name, name, service, slot, 1, attempt, "h1", "running",
        healthy=True, healthy_since=long_ago, started_at=long_ago, own_check=True,
    )  # fmt: skip


def is_ready(member: Member, partitions: int) -> bool:
    """Whether every partition was taken over, its old samples read and what they asked for decided."""
    shards = member.shards()
    return len(shards) == partitions and not any(shard.warming or shard.has_work for shard in shards)


def taken(member: Member) -> int:
    """Samples read so far, whatever became of them."""
    return member.counters.samples.total()


async def drain(member: Member, partitions: int, wanted: int) -> dict[str, Any]:
    """Read until so many samples more were folded and everything that they ask for is decided."""
    stream, counters = member.parts.stream, member.counters
    until, before = taken(member) + wanted, (taken(member), counters.evaluations, counters.appends)
    begun = Reading.now()
    for partition in range(partitions):
        stream.resume(partition, (Topic.METRICS,))
    while taken(member) < until or any(shard.behind or shard.has_work for shard in member.shards()):  # noqa: ASYNC110
        await asyncio.sleep(CHECK_S)
    used = Reading.now().since(begun)
    for partition in range(partitions):
        stream.pause(partition, (Topic.METRICS,))
    return {
        "samples": taken(member) - before[0],
        "folded": counters.samples["folded"],
        "evaluations": counters.evaluations - before[1],
        "appends": counters.appends - before[2],
        "wall_s": used.wall_s,
        "cpu_s": used.cpu_s,
    }


async def run(settings: Mapping[str, Any]) -> None:
    """Work until the other side closes."""
    opened = open_configuration(Path(settings["configuration"]))
    parts = member_parts(opened, "bench")
    parts.targets = {"edge": StandingTarget(sorted(opened.configuration.services), settings["demand"])}
    partitions = opened.configuration.stream.partitions
    member, stop = Member(parts), asyncio.Event()
    running = asyncio.create_task(member.run(stop))
    try:
        while not is_ready(member, partitions):
            assert not running.done(), "the member ended"
            await asyncio.sleep(0.02)
        for partition in range(partitions):
            parts.stream.pause(partition, (Topic.METRICS,))

        async def answer(request: Mapping[str, Any]) -> Mapping[str, Any]:
            with profiled(settings.get("profile")):
                return await drain(member, partitions, request["samples"])

        await serve({"ready": True}, answer)
    finally:
        stop.set()
        await running


if __name__ == "__main__":
    set_up_logging("warning")
    asyncio.run(run(json.loads(sys.argv[1])))
