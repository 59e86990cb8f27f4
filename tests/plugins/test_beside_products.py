"""Policies that count as other products beside the loops of those products, look by look over loads of every kind."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from autoscaler import lab
from tests.plugins.products import PER_REPLICA, Hpa, Keda, Kpa, Nomad, Rule

Product = Callable[[float, float, int], int]
SEEDS = range(12)


def chance_of(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - loads, no secrets


def loads(chance: random.Random, looks: int, *, pauses: bool = False) -> Iterator[float]:
    """A walk with jumps; with ``pauses`` it is nothing at times."""
    load = 100.0
    for _ in range(looks):
        load *= math.exp(chance.gauss(0, 0.13))
        load = min(max(load + chance.choice([0] * 28 + [900, -500]), 0.0 if pauses else 20.0), 2500.0)
        if pauses and chance.random() < 0.01:
            load = 0.0
        elif load == 0 and chance.random() < 0.05:
            load = 100.0
        yield load


def compare(product: Product, drive: lab.Stepper, given: Iterator[float], every_s: float) -> None:
    """The same counts at each look, from two replicas on."""
    theirs = ours = 2
    for look, load in enumerate(given):
        theirs = product(look * every_s, load, theirs)
        ours = drive.step(look * every_s, load, ours, 0)
        assert ours == theirs, (look, load, drive.reason)


def rules(chance: random.Random) -> list[Rule]:
    return [
        (chance.choice(["Pods", "Percent"]), chance.choice([1, 2, 4, 10, 50, 100]), chance.choice([15, 30, 60, 120]))
        for _ in range(chance.randint(1, 2))
    ]


def written(given: list[Rule]) -> list[dict[str, Any]]:
    return [{"type": kind, "value": amount, "period": f"{period_s}s"} for kind, amount, period_s in given]


def test_hpa_with_the_usual_behavior() -> None:
    product = Hpa([("Pods", 4, 15), ("Percent", 100, 15)], [("Percent", 100, 15)])
    options = {"metrics": [{"metric": "requests_per_second", "target": PER_REPLICA}], "behavior": {}}
    drive = lab.stepper("hpa_v2", options, minimum=1, maximum=60)
    compare(product, drive, loads(chance_of(0), 600), 15.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_hpa_with_any_behavior(seed: int) -> None:
    chance = chance_of(seed)
    up, down = rules(chance), rules(chance)
    windows = chance.choice([0, 30, 60]), chance.choice([0, 60, 300])
    select = chance.choice(["Max", "Max", "Min", "Disabled"]), chance.choice(["Max", "Min", "Disabled"])
    behavior = {
        f"scale_{way}": {"window": f"{window_s}s", "select": how, "policies": written(of)}
        for way, window_s, how, of in zip(("up", "down"), windows, select, (up, down), strict=True)
    }
    options = {"metrics": [{"metric": "requests_per_second", "target": PER_REPLICA}], "behavior": behavior}
    drive = lab.stepper("hpa_v2", options, minimum=1, maximum=60)
    compare(Hpa(up, down, *windows, select), drive, loads(chance, 400), 15.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_keda(seed: int) -> None:
    chance = chance_of(seed)
    product = Keda(chance.choice([60, 300]), chance.choice([0.0, 50.0]))
    trigger = {"metric": "requests_per_second", "threshold": PER_REPLICA, "activation": product.activation}
    options: dict[str, Any] = {"triggers": [trigger], "cooldown": f"{product.cooldown_s}s"}
    if chance.random() < 0.4:
        product.idle, product.minimum = 0, 3
        options |= {"idle": 0, "minimum": 3}
    drive = lab.stepper("keda", options, minimum=0, maximum=product.maximum)
    compare(product, drive, loads(chance, 600, pauses=True), 15.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_nomad(seed: int) -> None:
    chance = chance_of(seed)
    most = chance.choice([None, 1, 3]), chance.choice([None, 1, 3])
    product = Nomad(chance.choice([30, 60, 300]), chance.choice([None, 20, 60]), chance.choice([0.01, 0.1]), most)
    options: dict[str, Any] = {"cooldown": f"{product.cooldown_s}s", "threshold": product.threshold}
    if product.cooldown_up_s is not None:
        options["cooldown_up"] = f"{product.cooldown_up_s}s"
    names = ("max_scale_up", "max_scale_down")
    options |= {name: of for name, of in zip(names, most, strict=True) if of is not None}
    drive = lab.stepper("nomad_target_value", options, minimum=1, maximum=40, period=10)
    compare(product, drive, loads(chance, 500), 10.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_knative(seed: int) -> None:
    chance = chance_of(seed)
    rates = chance.choice([2.0, 10.0, 1000.0]), chance.choice([1.5, 2.0])
    product = Kpa(chance.choice([30, 60, 120]), rates, chance.choice([1, 3]), chance.choice([0, 0, 90]))
    options = {
        "window": f"{product.window_s}s", "max_scale_up_rate": rates[0], "max_scale_down_rate": rates[1],
        "activation_scale": product.activation, "scale_down_delay": f"{product.delay_s}s",
    }  # fmt: skip
    drive = lab.stepper("kpa", options, minimum=1, maximum=40, period=1)
    compare(product, drive, loads(chance, 1200), 1.0)
