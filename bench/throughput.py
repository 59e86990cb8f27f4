"""Samples a second through decode, windows and evaluation, beside a bare consumer that parses the same messages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from bench.child import Child
from bench.cluster import HEADERS, METRIC, PARTITIONS, PER_REPLICA, Cluster, Row, settled_state
from bench.figure import Figure
from bench.stage import Stage
from bench.usage import peak_mb

DEMAND = 2
ROUND = {1: 50_000, 1_000: 50_000, 10_000: 200_000}
QUICK_ROUND = 2_000
BACKLOG = 1_000_000
SERVICES_QUICK_MAX = 200


def events(cluster: Cluster, count: int) -> Iterator[Row]:
    """Metric events, one sample each, turn by turn for all services; close to what today's demand carries."""
    names, now = cluster.names(), time.time()
    load = PER_REPLICA * DEMAND
    for number in range(count):
        at = datetime.fromtimestamp(now + number * 1e-5, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        name = names[number % len(names)]
        value = load + number % 7 - 3 + 0.5
        text = (
            f'{{"specversion":"1.0","id":"{number:x}-{now:.0f}","source":"/bench","type":"io.eventscaler.metric.v1",'
            f'"subject":"{name}","time":"{at}","datacontenttype":"application/json","data":{{"{METRIC}":{value}}}}}'
        )
        yield name, text.encode(), HEADERS, 0


class Pair:
    """Ours and the control on one topic, and what each took for every round."""

    def __init__(self, cluster: Cluster, ours: Child, control: Child) -> None:
        self.cluster = cluster
        self.ours, self.control = ours, control
        self.rounds: list[tuple[dict[str, Any], dict[str, Any]]] = []

    async def round(self, count: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Publish ``count`` events, then let one after the other read them."""
        await self.cluster.publish(self.cluster.topic("metrics"), events(self.cluster, count))
        first = await self.control.ask(samples=count) if len(self.rounds) % 2 else None
        ours = await self.ours.ask(samples=count)
        control = first or await self.control.ask(samples=count)
        self.rounds.append((ours, control))
        return ours, control

    def rates(self, unit: str) -> tuple[float, float]:
        """Median samples a second of ``cpu_s`` or ``wall_s``: ours, the control's."""
        return (
            median(ours["samples"] / ours[unit] for ours, _ in self.rounds),
            median(control["samples"] / control[unit] for _, control in self.rounds),
        )

    def ratio(self, unit: str) -> float:
        """The median of the rounds' ratios, which noise on the machine touches less than the rates."""
        return median([float(control[unit] / ours[unit]) for ours, control in self.rounds])


async def measure(stage: Stage, profile: str | None = None) -> list[Figure]:
    """All rates, and the drain of a backlog."""
    figures: list[Figure] = []
    for services, count in ROUND.items():
        figures += await _with_services(stage, services, count, profile)
    return figures


async def _with_services(stage: Stage, services: int, count: int, profile: str | None) -> list[Figure]:
    real = min(services, SERVICES_QUICK_MAX) if stage.quick else services
    cluster = Cluster.on(stage, f"rate{services}", real)
    cluster.write(replicas={"min": 0, "max": 1000, "initial": DEMAND})
    await cluster.create_topics()
    await cluster.seed(settled_state(DEMAND), None)
    log = cluster.directory / "log"
    settings = {"configuration": str(cluster.configuration), "demand": DEMAND, "profile": profile}
    reader = {"brokers": cluster.brokers, "topic": cluster.topic("metrics"), "partitions": PARTITIONS}
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(Child("member", settings, log))
        control = await stack.enter_async_context(Child("plain_reader", reader | {"profile": profile}, log))
        pair = Pair(cluster, ours, control)
        size = QUICK_ROUND if stage.quick else count
        for _ in range(stage.repeats):
            await pair.round(size)
        figures = _rates(pair, services)
        if services == max(ROUND):
            figures.append(await _backlog(pair, 10 * QUICK_ROUND if stage.quick else BACKLOG))
    return figures


def _rates(pair: Pair, services: int) -> list[Figure]:
    ours, control = pair.rates("cpu_s")
    most = services == max(ROUND)
    evaluations = sum(ours["evaluations"] for ours, _ in pair.rounds) / sum(o["samples"] for o, _ in pair.rounds)
    note = f"per core (CPU time); {evaluations:.2f} evaluations a sample"
    name = f"samples_per_second_{services}_services"
    figures = [
        Figure(name, "1/s", ours, control, "ratio >= 0.5" if most else None, note, of=pair.ratio("cpu_s") * control)
    ]
    if most:
        ours, control = pair.rates("wall_s")
        note = "by the clock; the aim is 100,000"
        figures.append(Figure(f"{name}_wall", "1/s", ours, control, None, note, of=pair.ratio("wall_s") * control))
    return figures


async def _backlog(pair: Pair, size: int) -> Figure:
    before_mb = peak_mb(pair.ours.pid)
    ours, control = await pair.round(size)
    after_mb = peak_mb(pair.ours.pid)
    note = f"{size:,} samples; {ours['cpu_s']:.1f} s of CPU; memory peak {before_mb:.0f} -> {after_mb:.0f} MB"
    return Figure("backlog_1e6_drain_s", "s", ours["wall_s"], control["wall_s"], None, note)


def logs(directory: Path) -> list[Path]:
    """The logs of every cluster, for a failure's message."""
    return sorted(directory.glob("*/log"))
