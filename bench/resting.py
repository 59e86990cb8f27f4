"""What ten thousand services cost while nothing happens: memory, a restart, and processor time.

`autoscaler run --observe` with the state of every service restored. The control of the restart joins the same kind of
group, parses the same state and writes one transaction; that of the idle time is a consumer that waits.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from statistics import median
from typing import Any

from autoscaler.core.settings import ServiceSettings
from autoscaler.engine.volatile import Volatile
from bench.child import Child
from bench.cluster import METRIC, PARTITIONS, PER_REPLICA, Cluster, settled_state
from bench.figure import Figure
from bench.program import Program
from bench.sightings import Publisher, Watch
from bench.stage import Stage
from bench.usage import cpu_s, resident_kb

FEW, MANY, QUICK_MANY = 100, 10_000, 300
RESTARTS, IDLE_S, QUICK_IDLE_S = 3, 30.0, 3.0
SETTLE_S = 3.0


def checkpoint() -> Mapping[str, Any]:
    """What is saved of a service that has one metric, known to be zero."""
    volatile = Volatile(ServiceSettings("edge", "docker"))
    for number in range(10):
        volatile.signals.fold(METRIC, 1_763_900_000.0 + number, 0.0, "/bench")
    volatile.event_at = 1_763_900_009.0
    return volatile.checkpoint()


async def _prepared(stage: Stage, services: int) -> Cluster:
    cluster = Cluster.on(stage, f"rest{services}", services)
    cluster.write()
    await cluster.create_topics(observe=True)
    await cluster.seed(settled_state(0), checkpoint(), observe=True)
    return cluster


async def measure(stage: Stage, profile: str | None = None) -> list[Figure]:
    """All of them, with as few starts as possible."""
    del profile  # of the rates alone
    many = await _prepared(stage, QUICK_MANY if stage.quick else MANY)
    few = await _prepared(stage, FEW)
    async with Program(few, "--observe") as program:
        await asyncio.sleep(SETTLE_S)
        small_kb = resident_kb(program.pid)
    async with Program(many, "--observe"):
        pass  # keeps the parsed configuration, and ends in order
    times = [await _restarts(stage, many, number) for number in range(1 if stage.quick else RESTARTS)]
    async with AsyncExitStack() as stack:
        program = await stack.enter_async_context(Program(many, "--observe"))
        control = await stack.enter_async_context(Child("plain_loop", _bare(many, "idle"), many.directory / "log"))
        await asyncio.sleep(SETTLE_S)
        large_kb = resident_kb(program.pid)
        seconds = QUICK_IDLE_S if stage.quick else IDLE_S
        idle, idle_control = await _idle(program.pid, control.pid, seconds)
    each_kb = (large_kb - small_kb) / (many.services - few.services)
    note = f"({large_kb / 1024:.0f} - {small_kb / 1024:.0f} MB resident) / {many.services - few.services} services"
    return [
        Figure("memory_per_idle_service_kb", "KB", each_kb, None, "ours <= 5", note),
        Figure(
            "restart_10000_services_s", "s", median(ours for ours, _ in times), median(bare for _, bare in times),
            "ours <= 5", f"process started -> first decision readable, {len(times)} restarts; parse cached",
        ),
        Figure(
            "idle_cpu_percent_10000_services", "%", idle, idle_control, "ours < 2",
            f"of one core over {seconds:.0f} s, no scrapes, no probes; control: a consumer that waits",
        ),
    ]  # fmt: skip


async def _restarts(stage: Stage, cluster: Cluster, number: int) -> tuple[float, float]:
    """One event waits; start ours, then the control, each until its answer to it can be read."""
    async with Publisher(stage.brokers) as publisher:
        name, service = f"restart{number}", cluster.names()[number]
        await publisher.sample(cluster.topic("metrics"), service, PER_REPLICA, name)
        program = Program(cluster, "--observe")
        async with Watch(stage.brokers, cluster.topic("audit", observe=True)) as watch:
            try:
                await program.start()
                decided_at = await watch.until(lambda value: json.loads(value).get("causationid") == name, seconds=120)
                await program.ready()
            finally:
                await program.stop()
        bare = await _bare_cluster(stage, number)
        await publisher.sample(bare.topic("metrics"), service, PER_REPLICA, name)
        async with Watch(stage.brokers, bare.topic("audit")) as watch:
            begun = time.perf_counter()
            settings = _bare(bare, f"restart{number}") | {"restore": True, "reset": "earliest"}
            settings["state"] = cluster.topic("state", observe=True)
            # Written beside what ours restores, not into it.
            settings["written"] = bare.topic("state")
            async with Child("plain_loop", settings, cluster.directory / "log"):
                bare_at = await watch.until(lambda value: json.loads(value)["id"] == name, seconds=120)
    return decided_at - program.spawned_at, bare_at - begun


async def _bare_cluster(stage: Stage, number: int) -> Cluster:
    bare = Cluster.on(stage, f"bare-restart{number}", 1)
    await bare.create_topics()
    return bare


def _bare(cluster: Cluster, purpose: str) -> dict[str, Any]:
    return {
        "brokers": cluster.brokers,
        "group": f"{cluster.name}-bare-{purpose}",
        "inputs": [cluster.topic(role) for role in ("deployments", "control", "metrics")],
        "partitions": PARTITIONS,
        "audit": cluster.topic("audit"),
        "state": cluster.topic("state"),
        "audit_bytes": [2000],
        "state_bytes": [2000, 400],
    }


async def _idle(ours: int, control: int, seconds: float) -> tuple[float, float]:
    """Percent of one core that each process uses while nothing happens."""
    before, begun = (cpu_s(ours), cpu_s(control)), time.monotonic()
    await asyncio.sleep(seconds)
    passed_s = time.monotonic() - begun
    return tuple(100 * (cpu_s(pid) - used) / passed_s for pid, used in zip((ours, control), before, strict=True))  # type: ignore[return-value]
