"""A figure: what was measured, beside its control, and whether it reaches its target."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

_COMPARISONS = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}


@dataclass(frozen=True, slots=True)
class Figure:
    """``target``: None, or as ``"ours <= 2"`` or ``"ratio >= 0.5"``. ``note``: how it was measured, for the table."""

    name: str
    unit: str
    ours: float
    control: float | None = None
    target: str | None = None
    note: str = ""
    of: float | None = None
    """What the ratio compares with the control, where that is not ``ours``."""

    @property
    def ratio(self) -> float | None:
        """Ours over the control's."""
        if not self.control:
            return None
        return (self.ours if self.of is None else self.of) / self.control

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        subject, comparison, bound = self.target.split()
        value = {"ours": self.ours, "ratio": self.ratio}[subject]
        return value is not None and _COMPARISONS[comparison](value, float(bound))

    def entry(self) -> dict[str, Any]:
        """The figure as it stands in build/bench.json."""
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": rounded(self.ours),
            "control": rounded(self.control),
            "ratio": rounded(self.ratio),
            "target": self.target,
            "met": self.met,
        }


def rounded(value: float | None) -> float | None:
    """Four significant digits; None of what is no number."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.4g}")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def difference(ours: Sequence[float], control: Sequence[float]) -> float:
    """The median of what ours adds to the control's, run by run."""
    return median(one - other for one, other in zip(ours, control, strict=True))
