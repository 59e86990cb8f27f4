"""How far rises go on, as `quantile_headroom` has seen it of late. Pure.

A line through the newest samples says where a rise leads if it goes on until a replica ordered now serves. Mostly it
does not: a jump is over within a sample or two, and a wave turns. So a rise is shown before it is trusted, and only as
far as rises of late went on. Source: damped trends, Gardner and McKenzie (Management Science, 1985).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

PARTS = (0.0, 0.125, 0.25, 0.5, 1.0)
"""Of the way to where a line leads."""
_PLACES = tuple(enumerate(PARTS))
FORGET = 0.98
TRUSTED = 0.8
"""How much nearer the mark a rise that goes on has to be than one that stays: noise looks a little like it, too."""


class Rises:
    """``off``: by how many replicas loads were off each part of the way, of late."""

    __slots__ = ("off",)

    def __init__(self) -> None:
        self.off = array("d", bytes(8 * len(PARTS)))

    @classmethod
    def restored(cls, stays: float, goes_on: float, between: Sequence[float]) -> Rises:
        """What was kept; of the parts ``between`` nothing may be, and then they are not better than the ends."""
        it = cls()
        it.off = array("d", (stays, *(between or [max(stays, goes_on)] * (len(PARTS) - 2)), goes_on))
        return it

    def note(self, now: float, line: float, seen: float) -> None:
        """Learn from a rise: the load then, where it led, and the highest that came; in replicas."""
        rise, more = line - now, seen - now
        off = self.off
        for place, part in _PLACES:
            off[place] = FORGET * off[place] + abs(more - part * rise)

    def trend(self, now: float, line: float) -> float:
        """As far as a load is reckoned to rise on its way to ``line``."""
        if not line > now:  # there may be no line
            return now
        off = self.off
        least = min(off)
        return now + PARTS[off.index(least)] * (line - now) if least < TRUSTED * off[0] else now
