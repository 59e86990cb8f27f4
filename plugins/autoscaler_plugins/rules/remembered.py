"""What the policies keep in their ``memory``: counts with their times, as few as the windows need. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Entries = list[list[Any]]
"""[time, count], oldest first."""


def young(entries: Iterable[list[Any]], now: float, keep_s: float) -> Entries:
    """Those no older than ``keep_s``."""
    return [entry for entry in entries if now - entry[0] <= keep_s]


def aged(entries: Iterable[list[Any]], now: float) -> list[tuple[float, int]]:
    """(Age in seconds, count)."""
    return [(now - at, count) for at, count in entries]


def with_newest(entries: Entries, now: float, count: int, keep_s: float) -> Entries:
    """The entries and the newest. What a newer one reaches upward, and a newer one reaches downward, is dropped: it
    can be the highest or lowest of no window any more."""
    kept: Entries = [[now, count]]
    low = high = count
    for at, old in reversed(young(entries, now, keep_s)):
        if old > high or old < low:
            kept.append([at, old])
            low, high = min(low, old), max(high, old)
    kept.reverse()
    return kept


def note_wish(memory: dict[str, Any], now: float, demand: int, wish: int) -> None:
    """Keep when another count than today's was wished, under ``wished``: a demand that has changed by the next look
    did so then, and not when it is seen."""
    if wish == demand:
        memory.pop("wished", None)
    else:
        memory["wished"] = [now, wish]


def moved_at(memory: dict[str, Any], now: float, before: int, demand: int) -> float:
    """When the demand became what it is, from ``before``: at the last look where that wished at least as much of a
    change, else by somebody else, and as far as is known now. What was wished is forgotten."""
    at, wish = memory.pop("wished", None) or (now, before)
    return float(at) if before < demand <= wish or wish <= demand < before else now


def note_demand(memory: dict[str, Any], now: float, demand: int, keep_s: float) -> None:
    """Keep when and by how much the demand changed, whoever changed it: under ``added``, ``removed`` and ``demand``."""
    before = memory.get("demand", demand)
    at = moved_at(memory, now, before, demand)
    for name, change in (("added", demand - before), ("removed", before - demand)):
        entries = young(memory.get(name, ()), now, keep_s)
        if change > 0:
            entries.append([at, change])
        memory[name] = entries
    memory["demand"] = demand


def changed_at(memory: dict[str, Any], now: float, demand: int) -> tuple[float | None, float | None]:
    """When the demand last went (up, down), as far as it was seen; keeps it under ``up_at``, ``down_at``."""
    before = memory.get("demand", demand)
    at = moved_at(memory, now, before, demand)
    if demand != before:
        memory["up_at" if demand > before else "down_at"] = at
    memory["demand"] = demand
    return memory.get("up_at"), memory.get("down_at")
