"""What the built-in policies cost, and how they do on loads: evaluations, memory, and the table of the laboratory.

Ten thousand services of each policy are asked through the plugin host, one after the other, as a member asks them. Of
the default policy, the memory and the time are also those of services that have lived for a day. The control of both
and of how well it does is `hpa_v2` in the same setting.
"""

from __future__ import annotations

import asyncio
import gc
import math
import sys
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from statistics import median
from typing import Any

from autoscaler.core.observation import ServiceFacts
from autoscaler.core.settings import PolicyUse, ServiceSettings
from autoscaler.core.signals import SignalsView
from autoscaler.engine.evaluation import request_for
from autoscaler.engine.garbage import set_aside
from autoscaler.engine.volatile import Volatile
from autoscaler.lab.comparison import Comparison, compare
from autoscaler.lab.page import COLUMNS
from autoscaler.lab.setting import LOAD, LOAD_EACH, Setting, options_for
from autoscaler.lab.traces import generated, load_of, traces_in
from autoscaler.plugin_host import PluginHost
from autoscaler.plugin_host.binding import bind
from bench.figure import Figure
from bench.stage import Stage

SCALED = ("target_value", "hpa_v2", "keda", "kpa", "nomad_target_value", "quantile_headroom")
COMPARED = ("quantile_headroom", "hpa_v2", "keda", "kpa", "nomad_target_value")
SERVICES, QUICK_SERVICES = 10_000, 100
ROUNDS, QUICK_ROUNDS = 8, 2
AGED, AGED_SAMPLES, QUICK_AGED_SAMPLES = 20, 5760, 100
AGED_ROUNDS = 240
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
        self.policy, self.settings = policy, settings
        module = import_module(f"autoscaler_plugins.{policy}")
        self.options = module.Options.model_validate(plain)
        self.propose = bind(module.propose, "propose")
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

    def think(self) -> float:
        """Ask the policy itself, with the memories as they are; processor seconds that it took."""
        at = self.now - PERIOD_S
        views = [SignalsView(volatile.signals, at, self.settings.scaling.max_age_s) for volatile in self.volatile]
        begun = time.process_time()
        for view, volatile, facts in zip(views, self.volatile, self.facts, strict=True):
            self.propose((facts, view, at, self.options, volatile.memory[self.policy]))
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


def _lived(policy: str, services: int, samples: int) -> Fleet:
    fleet = Fleet(policy, services)
    for _ in range(samples):
        fleet.sample()
        fleet.ask()
    return fleet


def _aged(*, quick: bool) -> list[Figure]:
    """The default policy after a day, beside the control: what it keeps of a service, and how long it thinks."""
    samples = QUICK_AGED_SAMPLES if quick else AGED_SAMPLES
    asked, thought, kept = [], [], []
    for policy in COMPARED[:2]:
        fleet = _lived(policy, 2 if quick else AGED, samples)
        with _collected_as_in_a_member():
            for times, measured in ((asked, fleet.ask), (thought, fleet.think)):
                seconds = []
                for _ in range(AGED_ROUNDS):
                    fleet.sample()
                    seconds.append(measured())
                times.append(median(seconds) / len(fleet.facts) * 1e6)
        kept.append(_kept_kb(policy, 1 if quick else 2, samples))
    note = f"of services that have had a sample each {PERIOD_S:.0f} s for a day; the control is {COMPARED[1]}"
    return [
        Figure("quantile_headroom_kb", "KB", *kept, "ours <= 20", f"memory and live state {note}"),
        Figure("quantile_headroom_us", "us", *thought, "ours <= 50", f"processor time of propose {note}"),
        Figure(
            "policy_quantile_headroom_aged_us", "us", *asked, "ours <= 50",
            f"processor time of an evaluation through the plugin host, memory copied and judged, {note}",
        ),
    ]  # fmt: skip


@contextmanager
def _collected_as_in_a_member() -> Iterator[None]:
    """Garbage is collected as often as a member does it once its take-overs are done."""
    former = gc.get_threshold()
    set_aside()
    try:
        yield
    finally:
        gc.set_threshold(*former)
        gc.unfreeze()


def _kept_kb(policy: str, services: int, samples: int) -> float:
    """What is free again when all that a policy keeps of its services is forgotten."""
    live = getattr(import_module(f"autoscaler_plugins.{policy}"), "_live", {})
    live.clear()  # of other services, whose table is no part of what these take
    gc.collect()
    tracemalloc.start()
    fleet = _lived(policy, services, samples)
    gc.collect()
    held_then, _ = tracemalloc.get_traced_memory()
    for volatile in fleet.volatile:
        volatile.memory.clear()
    live.clear()
    gc.collect()
    held_now, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (held_then - held_now) / services / 1000


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
