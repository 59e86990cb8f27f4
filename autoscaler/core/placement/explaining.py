"""Why a host is not the one: the filter that refuses it, or the part of the rank that puts another before it. Pure.

Worked out anew whenever somebody asks, by the code that places; nothing of it is kept with a replica.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoscaler.core.placement.filters import told
from autoscaler.core.placement.ranking import Choice
from autoscaler.core.settings import PlacementRules


@dataclass(frozen=True, slots=True)
class Verdict:
    """What stands against a host as the place of one more replica. ``code``: a filter, a part of the rank, or nothing
    where it would be taken; ``place`` among ``of`` hosts that would do, 0 where it would not."""

    code: str
    text: str
    place: int
    of: int


def parts_of(rules: PlacementRules) -> tuple[str, ...]:
    """The parts of a rank, in their order."""
    spread = tuple(f"spread.{key}" for key in rules.spread) if rules.strategy == "spread" else ()
    return ("failed_here", "failures", *spread, "score", "replicas", "hash")


def verdict_on(host: str, choices: Sequence[Choice], rules: PlacementRules) -> Verdict | None:
    """What stands against the host, from the whole ranking; None where the pool has no such host."""
    will_do = [choice for choice in choices if choice.refusal is None]
    found = next((choice for choice in choices if choice.host == host), None)
    if found is None:
        return None
    if found.refusal is not None:
        return Verdict(found.refusal.code, told(found.refusal), 0, len(will_do))
    place, best = will_do.index(found) + 1, will_do[0]
    if found is best:
        return Verdict("", f"it would be taken, before {len(will_do) - 1} others", 1, len(will_do))
    parts = zip(parts_of(rules), found.rank, best.rank, strict=True)
    part, ours, other = next(one for one in parts if one[1] != one[2])
    return Verdict(part, _comparison(part, found, best, ours, other), place, len(will_do))


def _comparison(part: str, found: Choice, best: Choice, ours: int, other: int) -> str:
    match part:
        case "failed_here":
            return f"the slot's last replica failed here, so that {best.host} comes first"
        case "failures":
            return f"{ours} failures of this revision here lately, {other} on {best.host}"
        case "score":
            return f"score {_shown(found.score)}, {best.host} has {_shown(best.score)} ({_apart(found, best)})"
        case "replicas":
            return f"as good as {best.host} by score, and has {ours} replicas in all, that one {other}"
        case "hash":
            return f"as good as {best.host} in all; the hash decides"
        case _:
            key = part.removeprefix("spread.")
            return f"{ours} of the service on its {key}, {other} on that of {best.host}"


def _apart(found: Choice, best: Choice) -> str:
    """The scorers, the one that costs it most first."""
    ours, theirs = found.scores or {}, best.scores or {}
    names = sorted(ours, key=lambda name: (ours[name] - theirs.get(name, 0), name))
    return ", ".join(f"{name} {_shown(ours[name])} to {_shown(theirs.get(name, 0))}" for name in names)


def _shown(value: int) -> str:
    return f"{value / 1_000_000:.3f}"
