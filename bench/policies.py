"""What the built-in policies cost, and how they do on loads: evaluations, memory, and the table of the laboratory.

Ten thousand services of each policy are asked through the plugin host, one after the other, as a member asks them. Of
the default policy, the memory and the time are also those of services that have lived for a day. The control of how
well it does is `hpa_v2` in the same setting.
"""

from __future__ import annotations

import asyncio
import gc
import math
import sys
import time
import tracemalloc
from collections.abc import Mapping
from statistics import median
from typing import Any

from autoscaler.core.observation import ServiceFacts
from autoscaler.core.settings import PolicyUse, ServiceSettings
from autoscaler.engine.evaluation import request_for
from autoscaler.engine.volatile import Volatile
from autoscaler.lab.comparison import Comparison, compare
from autoscaler.lab.page import COLUMNS
from autoscaler.lab.setting import LOAD, LOAD_EACH, Setting, options_for
from autoscaler.lab.traces import generated, load_of, traces_in
from autoscaler.plugin_host import PluginHost
from bench.figure import Figure
from bench.stage import Stage

SCALED = ("target_value", "hpa_v2", "keda", "kpa", "nomad_target_value", "quantile_headroom")
COMPARED = ("quantile_headroom", "hpa_v2", "keda", "kpa", "nomad_target_value")
SERVICES, QUICK_SERVICES = 10_000, 100
ROUNDS, QUICK_ROUNDS = 8, 2
AGED, AGED_SAMPLES, QUICK_AGED_SAMPLES = 20, 5760, 100
BEGIN_AT = 1_763_900_000.0
PERIOD_S = 15.0
QUICK_S = 3600.0


class Fleet:
    """Services of one policy, each with signals and a memory of its own."""

    def __init__(self, policy: str, services: int) -> None:
        self.host = PluginHost.load((), uses=(policy,))
        setting = Setting(lag=5.0)
        plain, problems = self.host.validate_options(policy, options_for(policy, {}, setting, frozenset()))
        assert not problems, problems
        settings = ServiceSettings("edge", "docker", policies=(PolicyUse(policy, plain),))
        self.settings = settings
        self.facts = [ServiceFacts(f"s{i}", 12, 0, 100, 12, 0, 1, None, "idle", None) for i in range(services)]
        self.volatile = [Volatile(settings) for _ in range(services)]
        self.sampled = 0

    def sample(self) -> None:
        """One sample for each of them: a wave, out of step from one to the next."""
        at = self.now
        for index, volatile in enumerate(self.volatile):
            load = 500 + 150 * math.sin((self.sampled + 7 * index) / 60) + (37 * (self.sampled + index)) % 41
            volatile.signals.fold(LOAD, at, load, "/bench")
            volatile.signals.fold(LOAD_EACH, at, load / 12, "/bench")
        self.sampled += 1

    @property
    def now(self) -> float:
        return BEGIN_AT + PERIOD_S * self.sampled

    def ask(self) -> float:
        """Ask for all of them; processor seconds that it took."""
        at = self.now - PERIOD_S
        begun = time.process_time()
        for volatile, facts in zip(self.volatile, self.facts, strict=True):
            self.host.votes(request_for(self.settings, volatile, facts, at))
        return time.process_time() - begun


async def measure(stage: Stage, profile: str | None = None) -> list[Figure]:
    """All of them; nothing outside this process is needed."""
    del profile  # of the rates alone
    figures: list[Figure] = []
    for policy in SCALED:
        figures += await asyncio.to_thread(_rate, policy, quick=stage.quick)
    figures += await asyncio.to_thread(_aged, quick=stage.quick)
    found = await asyncio.to_thread(_compared, stage)
    _show(found)
    return figures + _quality(found)


def _rate(policy: str, *, quick: bool) -> list[Figure]:
    services = QUICK_SERVICES if quick else SERVICES
    gc.collect()
    fleet = Fleet(policy, services)
    times = []
    for _ in range(QUICK_ROUNDS if quick else ROUNDS):
        fleet.sample()
        times.append(fleet.ask())
    rate = services / median(times)
    return [
        Figure(
            f"policy_{policy}_per_s", "1/s", rate, None, None,
            f"evaluations a second of one core, {services} services through the plugin host, memory copied and kept",
        ),
        Figure(
            f"policy_{policy}_kb", "KB", sum(held(v.memory) for v in fleet.volatile) / services / 1000, None,
            "ours <= 20", f"what a service's memory takes after {len(times)} evaluations, signals apart",
        ),
    ]  # fmt: skip


def held(value: Any) -> int:
    """Bytes that a value and all in it take, each counted where it is held."""
    inside: list[Any] = []
    if isinstance(value, dict):
        inside = [*value.keys(), *value.values()]
    elif isinstance(value, list):
        inside = value
    return sys.getsizeof(value) + sum(map(held, inside))


def _aged(*, quick: bool) -> list[Figure]:
    """The default policy after a day: what it keeps of a service, and how long it thinks."""
    from autoscaler.core.signals import SignalsView  # noqa: PLC0415 - of this figure alone
    from autoscaler_plugins import quantile_headroom  # noqa: PLC0415

    options = quantile_headroom.Options(metric=LOAD, per_replica=50.0)
    samples = QUICK_AGED_SAMPLES if quick else AGED_SAMPLES

    def live(name: str, memory: dict[str, Any], count: int, first: int = 0) -> float:
        facts = ServiceFacts(name, 12, 0, 100, 12, 0, 1, None, "idle", None)
        volatile = Volatile(ServiceSettings("edge", "docker"))
        thought = 0.0
        for number in range(first, first + count):
            at = BEGIN_AT + PERIOD_S * number
            load = 500 + 150 * math.sin(number / 60) + (37 * number) % 41
            volatile.signals.fold(LOAD, at, load, "/bench")
            view = SignalsView(volatile.signals, at, 60.0)
            begun = time.process_time()
            quantile_headroom.propose(facts, view, at, options, memory)
            thought += time.process_time() - begun
        return thought / count

    live("warm", {}, 10)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    memories: list[dict[str, Any]] = [{} for _ in range(2 if quick else AGED)]
    for index, memory in enumerate(memories):
        live(f"aged{index}", memory, samples)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    each_kb = (kept - before) / len(memories) / 1000
    seconds = median(live(f"aged{index}", memory, 240, samples) for index, memory in enumerate(memories))
    note = f"services that have had a sample each {PERIOD_S:.0f} s for a day"
    return [
        Figure("quantile_headroom_kb", "KB", each_kb, None, "ours <= 20", f"memory and live state, {note}"),
        Figure("quantile_headroom_us", "us", seconds * 1e6, None, "ours <= 50", f"processor time of propose, {note}"),
    ]


def _compared(stage: Stage) -> Comparison:
    traces = generated() if stage.traces is None else traces_in(stage.traces)
    loads = [load_of(trace, 50.0, until_s=QUICK_S if stage.quick else None) for trace in traces]

    def told(words: str, share: float) -> None:
        if words:
            sys.stderr.write(f"{share:4.0%} {words}\n")

    return compare(loads, COMPARED[:2] if stage.quick else COMPARED, Setting(), told=told)


def _show(found: Comparison) -> None:
    """The whole table, on stderr."""
    names = ("theta_u", "theta_o", "slo", "cost", "flaps_per_hour")
    rows: list[tuple[str, str, Mapping[str, float]]] = [
        (trace, policy, figures) for trace, of in found.figures.items() for policy, figures in of.items()
    ]
    for kind in ("arithmetic", "geometric"):
        rows += [(f"{kind} mean", policy, found.means(policy)[kind]) for policy in found.policies]
    sys.stderr.write(f"{'load':30}{'policy':20}{''.join(f'{COLUMNS[name][0]:>15}' for name in names)}\n")
    for trace, policy, figures in rows:
        cells = "".join(f"{figures[name]:>15{COLUMNS[name][1]}}" for name in names)
        sys.stderr.write(f"{trace:30}{policy:20}{cells}\n")


def _quality(found: Comparison) -> list[Figure]:
    ours, control = (found.means(policy) for policy in COMPARED[:2])
    note = f"of {len(found.figures)} loads, the control is {COMPARED[1]} in the same setting"
    return [
        Figure(
            "excess_geometric_percent", "%", ours["geometric"]["theta_o"], control["geometric"]["theta_o"],
            "ratio <= 0.75", f"geometric mean {note}",
        ),
        Figure(
            "lack_geometric_percent", "%", ours["geometric"]["theta_u"], control["geometric"]["theta_u"], None,
            f"geometric mean {note}, each at least 0.01",
        ),
        Figure(
            "flaps_per_hour", "1/h", ours["arithmetic"]["flaps_per_hour"], control["arithmetic"]["flaps_per_hour"],
            "ratio <= 1", f"mean {note}",
        ),
    ]  # fmt: skip
