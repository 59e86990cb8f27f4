"""The planner alone, on one core: replicas placed from nothing, a host lost, a service grown; no broker and no engine.

It is the code that converge calls, and the pool's views change as the engine's would. The control is a heap of hosts by
how many replicas they have: it knows no service, no zone, no room and no reason. What a decision about one service
costs is measured on the engine's own shard, among many services and among few.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heapreplace
from statistics import median

from autoscaler.core.placement import Asked, Placer, Room
from autoscaler.core.revision import Resources, RevisionSpec
from autoscaler.core.settings import PlacementRules
from autoscaler.core.world import Hosts, HostView
from bench.deciding import decision_ms
from bench.figure import Figure
from bench.stage import Stage

MIB, GIB = 2**20, 2**30
ZONES, BATCH = 10, 1000
RULES = PlacementRules()
SPEC = RevisionSpec(image="shop/web:1", pinned="sha256:1", resources=Resources(100, 128 * MIB))
LARGE, SMALL, QUICK_LARGE, QUICK_SMALL = 5000, 500, 200, 40
REPLICAS_A_HOST = 200
TURNS = 3


@dataclass
class Pool:
    """A pool as the planner sees it, and where each service's replicas are. ``planning_s``: what the planner took so
    far; the views of the hosts, which the engine's observer makes, are no part of it."""

    hosts: Hosts
    placed: dict[str, Counter[str]] = field(default_factory=dict)
    planning_s: float = 0.0

    @classmethod
    def of(cls, hosts: int) -> Pool:
        """Empty hosts in ten zones, each with room for half as many more as it will get; half have the image."""
        views = [
            HostView(
                f"h{number}",
                labels={"zone": f"z{number % ZONES}"},
                cpu_millis=REPLICAS_A_HOST * 150,
                memory_bytes=REPLICAS_A_HOST * 192 * MIB,
                images={"sha256:1": 300 * MIB} if number % 2 else {},
            )
            for number in range(hosts)
        ]
        return cls(Hosts(views))

    def place(self, service: str, count: int) -> None:
        """Place so many more replicas of a service, and show them on their hosts."""
        room = Room(self.placed.setdefault(service, Counter()))
        began = time.perf_counter()
        placer = Placer(self.hosts, Asked(service, SPEC, RULES, BATCH), room)
        for _ in range(count):
            assert placer.place() is not None
        self.planning_s += time.perf_counter() - began
        changed = {}
        for name, fresh in room.fresh.items():
            host = self.hosts.named(name)
            assert host is not None
            changed[name] = replace(
                host,
                reserved_cpu_millis=host.reserved_cpu_millis + fresh.cpu_millis,
                reserved_memory_bytes=host.reserved_memory_bytes + fresh.memory_bytes,
                replicas=host.replicas + fresh.replicas,
            )
        self.hosts = self.hosts.replaced(changed)

    def lose(self, name: str) -> int:
        """A host is lost: what ran there is placed elsewhere. How many that were."""
        host = self.hosts.named(name)
        assert host is not None
        self.hosts = self.hosts.replaced({name: replace(host, condition="lost", known=False)})
        moved = 0
        for service, placed in self.placed.items():
            count = placed.pop(name, 0)
            if count:
                self.place(service, count)
                moved += count
        return moved


def heaped(hosts: int, counts: Sequence[int]) -> float:
    """Seconds that a heap of hosts by their number of replicas takes for as many."""
    began = time.perf_counter()
    heap = [(0, f"h{number}") for number in range(hosts)]
    heapify(heap)
    placed: dict[int, Counter[str]] = {}
    for service, count in enumerate(counts):
        there = placed[service] = Counter[str]()
        for _ in range(count):
            replicas, host = heap[0]
            heapreplace(heap, (replicas + 1, host))
            there[host] += 1
    return time.perf_counter() - began


@dataclass(frozen=True)
class Course:
    """What one pool took, in seconds, and for how many replicas."""

    replicas: int
    from_nothing_s: float
    control_s: float
    moved: int
    lost_s: float
    grown_s: float


def course(hosts: int) -> Course:
    """All three, on a pool of so many hosts."""
    services = hosts * REPLICAS_A_HOST // BATCH
    pool = Pool.of(hosts)
    with _no_collector():
        for number in range(services):
            pool.place(f"s{number}", BATCH)
        from_nothing_s = pool.planning_s
        control_s = heaped(hosts, [BATCH] * services)
        moved = pool.lose("h0")
        lost_s = pool.planning_s - from_nothing_s
        pool.place("s0", BATCH)
        grown_s = pool.planning_s - from_nothing_s - lost_s
    return Course(services * BATCH, from_nothing_s, control_s, moved, lost_s, grown_s)


class _no_collector:  # noqa: N801 - reads as what it does
    """Neither side is interrupted by the collector walking what both keep."""

    def __enter__(self) -> None:
        gc.collect()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        gc.enable()


async def measure(stage: Stage, profile: str | None = None) -> list[Figure]:
    """The planner's figures."""
    del profile  # of the rates through the stream alone
    large, small = (QUICK_LARGE, QUICK_SMALL) if stage.quick else (LARGE, SMALL)
    many, few = (300, 30) if stage.quick else (10_000, 100)
    big, little = course(large), course(small)
    decisions = [(decision_ms(many), decision_ms(few)) for _ in range(1 if stage.quick else TURNS)]
    return list(_figures(big, little, decisions, (large, small, many, few)))


def _figures(
    big: Course, little: Course, decisions: Sequence[tuple[float, float]], sizes: tuple[int, int, int, int]
) -> Iterator[Figure]:
    large, small, many, few = sizes
    yield Figure(
        f"placements_per_second_{large}_hosts",
        "1/s",
        big.replicas / big.from_nothing_s,
        big.replicas / big.control_s,
        "ours >= 20000",
        f"{big.replicas} replicas from nothing, {BATCH} a service; control: a heap of hosts by replicas, nothing else",
    )
    yield Figure(
        f"placement_cost_{large}_hosts_over_{small}",
        "x",
        _cost(big) / _cost(little),
        big.control_s / big.replicas / (little.control_s / little.replicas),
        None,
        "what one placement costs on a pool ten times as large; control: the heap",
    )
    yield Figure(
        "placements_per_second_host_lost",
        "1/s",
        big.moved / big.lost_s,
        None,
        None,
        f"{big.moved} replicas of as many services, one or two each",
    )
    yield Figure("service_grown_by_1000", "ms", 1000 * big.grown_s, None, None, f"on {large} hosts")
    yield Figure(
        f"decision_{many}_services",
        "ms",
        median(ours for ours, _ in decisions),
        median(control for _, control in decisions),
        "ratio <= 1.25",
        f"scale one service by one, on the engine's shard; control: among {few} services",
    )


def _cost(course: Course) -> float:
    return course.from_nothing_s / course.replicas
