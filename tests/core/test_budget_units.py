"""Amounts of budgets as people read them, and as plain numbers."""

from __future__ import annotations

import pytest

from autoscaler.core.budget_units import amount_text, plain_amount
from autoscaler.core.budgets import GIB, Kind


@pytest.mark.parametrize(
    ("kind", "amount", "text", "plain"),
    [
        ("replicas", 1200, "1200", 1200),
        ("cpu", 2500, "2.5", 2.5),
        ("cpu", 1, "0.001", 0.001),
        ("cpu", 40_000, "40", 40),
        ("memory", 3 * GIB // 2, "1.5", 3 * GIB // 2),
        ("memory", 100 << 20, "0.098", 100 << 20),
        ("memory", 1000, "0.001", 1000),
        ("memory", 0, "0", 0),
        ("cost_per_hour", 1_500_000, "1.5", 1.5),
        ("cost_per_hour", 1, "0.000001", 0.000001),
    ],
)
def test_amounts_are_in_the_units_of_people(kind: Kind, amount: int, text: str, plain: float) -> None:
    assert (amount_text(kind, amount), plain_amount(kind, amount)) == (text, plain)
