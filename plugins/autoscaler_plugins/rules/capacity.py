"""What one replica carries, learnt from loads that it carried and from loads that it did not. Pure; JSON values.

A load is a *share* of what was configured that a replica carries. Shares are counted by level, each level a twentieth
above the one before; a level forgets slowly what newer loads at the same level contradict, and wholly after a day, so
that a fault elsewhere is not held against the revision for ever. What a replica carries is the level that tells both
kinds apart with the fewest errors (a decision stump), the lowest such: what it was seen to carry, not what it may.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

STEP = 1.05
LEVEL_MAX = 14
"""Loads beyond 1.05^14, about half or double of what is configured, count at that level."""

FADE = 0.95
"""What a level keeps of its counts at each new load: about the last twenty count."""

FORGET_S = 86_400.0
EVIDENCE_MIN = 3.0
"""Fewer loads of either kind tell nothing; of those that were carried, unless more were not."""

BROKE_MIN = 4.0
"""With so many loads that were not carried, fewer that were will do, or none: less is carried than the least of
them."""

ERROR_MAX = 0.25
"""More of the rarer kind at the wrong side: what makes it fail is not the load."""

REVISIONS_MAX = 4

Levels = MutableMapping[str, list[float]]
"""Level -> how many loads were carried, how many were not, when the newest came."""


@dataclass(frozen=True, slots=True)
class Carried:
    """The share that a replica carries, and how many loads (faded) say so."""

    share: float
    held: float
    broke: float


def note(levels: Levels, share: float, now: float, *, broke: bool) -> None:
    """Count one load; forget levels of which nothing was heard for a day."""
    for level in [name for name, counts in levels.items() if now - counts[2] > FORGET_S]:
        del levels[level]
    name = str(_level(share))
    held, broken, _ = levels.get(name, (0.0, 0.0, now))
    levels[name] = [
        round(held * FADE + (0.0 if broke else 1.0), 4),
        round(broken * FADE + (1.0 if broke else 0.0), 4),
        now,
    ]


def carried(levels: Mapping[str, Any], now: float) -> Carried | None:
    """What a replica carries, or None where the loads do not tell."""
    counts = {int(name): of for name, of in levels.items() if now - of[2] <= FORGET_S}
    held, broke = sum(of[0] for of in counts.values()), sum(of[1] for of in counts.values())
    if broke < EVIDENCE_MIN or (held < EVIDENCE_MIN and broke < BROKE_MIN):
        return None
    costs = {
        edge: sum(of[1] if level <= edge else of[0] for level, of in counts.items())
        for edge in (min(counts) - 1, *sorted(counts))
    }
    edge = min(costs, key=lambda each: (costs[each], each))
    if costs[edge] > ERROR_MAX * min(held, broke):
        return None
    return Carried(STEP**edge, held, broke)


def levels_of(memory: MutableMapping[str, Any], revision: int) -> Levels:
    """The levels of a revision, made where there are none; of the revisions heard of last, few are kept."""
    known: dict[str, Levels] = memory.setdefault("levels", {})
    found = known.setdefault(str(revision), {})
    while len(known) > REVISIONS_MAX:
        del known[min((name for name in known if name != str(revision)), key=lambda name: _heard_at(known[name]))]
    return found


def _heard_at(levels: Levels) -> float:
    return max((counts[2] for counts in levels.values()), default=-math.inf)


def _level(share: float) -> int:
    if share <= 0:
        return -LEVEL_MAX
    return max(-LEVEL_MAX, min(LEVEL_MAX, round(math.log(share) / math.log(STEP))))
