"""Counts that may be given as a share: ``25%`` of the demand or a plain number.

Integers and rationals only: a decision never depends on float dust.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Amount:
    """Either ``count`` replicas or ``percent`` of a number of replicas; exactly one of them is set."""

    count: int | None = None
    percent: int | None = None

    def up(self, of: int) -> int:
        """The amount of ``of`` replicas, rounded up (Kubernetes rounds surge up)."""
        return self.count if self.count is not None else -(-of * (self.percent or 0) // 100)

    def down(self, of: int) -> int:
        """The amount of ``of`` replicas, rounded down (Kubernetes rounds unavailability down)."""
        return self.count if self.count is not None else of * (self.percent or 0) // 100

    @property
    def is_zero(self) -> bool:
        """Whether the amount is nothing whatever it is taken of."""
        return not (self.count or self.percent)
