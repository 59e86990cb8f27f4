"""The one source of randomness of a simulated world: the same seed gives the same choices, on every machine and
version.

Own generator, as the product draws nothing at random and the standard library's may change between versions.
Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (SplitMix64), 2014.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
_MASK = (1 << 64) - 1
_UNIT = 1 << 53


class Chance:
    """A stream of choices."""

    def __init__(self, seed: int) -> None:
        self._state = (seed * 0x9E3779B97F4A7C15 + 0x1234567) & _MASK

    def bits(self) -> int:
        """The next 64 bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def share(self) -> float:
        """A number from 0 up to 1, 1 excluded."""
        return (self.bits() >> 11) / _UNIT

    def happens(self, probability: float) -> bool:
        """Whether something of that probability happens."""
        return self.share() < probability

    def below(self, limit: int) -> int:
        """A whole number from 0 up to ``limit``, ``limit`` excluded."""
        return self.bits() % limit

    def within(self, low: float, high: float) -> float:
        """A number from ``low`` up to ``high``."""
        return low + (high - low) * self.share()

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices, all alike."""
        return choices[self.below(len(choices))]

    def weighted(self, choices: Sequence[tuple[float, T]]) -> T:
        """One of the choices by weight."""
        point = self.share() * sum(weight for weight, _ in choices)
        for weight, choice in choices:
            point -= weight
            if point < 0:
                return choice
        return choices[-1][1]
