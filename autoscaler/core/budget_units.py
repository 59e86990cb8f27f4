"""What budgets limit, in the units of people and in those of metrics and documents. Called by what shows them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from autoscaler.core.budgets import GIB, Kind

MILLIONTHS = 1_000_000


@dataclass(frozen=True, slots=True)
class Unit:
    """``name`` and ``unit`` are words; ``key`` names the plain number. So many of the core's own make one of people's
    (``shown``), and one of the plain numbers (``plain``)."""

    name: str
    unit: str
    key: str
    shown: int
    plain: int


UNITS: Mapping[Kind, Unit] = {
    "replicas": Unit("replicas", "", "replicas", 1, 1),
    "cpu": Unit("cpu", "cores", "cpu_cores", 1000, 1000),
    "memory": Unit("memory", "GiB", "memory_bytes", GIB, 1),
    "cost_per_hour": Unit("cost per hour", "", "cost_per_hour", MILLIONTHS, MILLIONTHS),
}

_FINEST = Decimal("0.001")


def amount_text(kind: Kind, amount: int) -> str:
    """``2.5`` cores, GiB or whatever the operator pays in; memory to a thousandth of a GiB, and never nothing."""
    number = Decimal(amount) / UNITS[kind].shown
    if kind == "memory" and amount:
        number = max(number.quantize(_FINEST), _FINEST)
    return f"{number:f}".rstrip("0").rstrip(".") if number % 1 else f"{number:.0f}"


def plain_amount(kind: Kind, amount: int) -> int | float:
    """Replicas, cores, bytes, money."""
    plain = UNITS[kind].plain
    return amount if plain == 1 else amount / plain
