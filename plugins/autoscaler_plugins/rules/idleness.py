"""How long a service without load is kept: as long as its pauses mostly last, where that is known. Pure; JSON values.

A pause is a run of known zeros between two loads. What pauses at most lasted 99 times of 100 is worth waiting for; a
service that is silent for longer has mostly gone to sleep. Pauses longer than the cap tell nothing of the others and
are left out, as no waiting would have bridged them. Source: Shahrad et al., Serverless in the Wild (USENIX ATC 2020).
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NamedTuple

from autoscaler_plugins.rules.headroom import rank

PAUSES_MIN = 20
PAUSES_MAX = 100
Q = 0.99
LEAST_S = 60.0
"""Shorter is not worth what a start costs."""


class Idleness(NamedTuple):
    """Known zeros that stop the last replica, and of how many pauses that was learnt; 0: it is configured."""

    seconds: float
    pauses: int


def note_load(memory: MutableMapping[str, Any], now: float, cap_s: float | None) -> None:
    """A load was seen: if known zeros came before, their pause is over; kept where there is a cap."""
    since = memory.pop("zero", None)
    if since is None or cap_s is None or now - since > cap_s:
        return
    pauses: list[float] = memory.setdefault("pauses", [])
    pauses.append(round(now - since, 1))
    del pauses[:-PAUSES_MAX]


def idle_time(memory: MutableMapping[str, Any], configured_s: float, cap_s: float | None) -> Idleness:
    """The idle time that 99 of 100 pauses kept; as configured until some are known, and without a cap."""
    if cap_s is None:
        return Idleness(configured_s, 0)
    pauses = [pause for pause in memory.get("pauses", ()) if pause <= cap_s]
    if len(pauses) < PAUSES_MIN:
        return Idleness(configured_s, 0)
    learnt_s = sorted(pauses)[rank(Q, len(pauses)) - 1]
    return Idleness(min(cap_s, max(LEAST_S, learnt_s)), len(pauses))
