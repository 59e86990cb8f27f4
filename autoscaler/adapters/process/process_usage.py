"""CPU and memory of replicas, from one pass over the machine's processes.

A process belongs to a replica whose main process leads its session, or is among its ancestors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Consumption:
    """What one replica's processes use: cores since the look before (or since they began), bytes resident now."""

    cpu_cores: float
    memory_bytes: int


class UsageMeter:
    """Remembers the processor time of the look before. Not safe between threads: one look at a time."""

    def __init__(self) -> None:
        self._cpu_s: dict[tuple[int, float], float] = {}
        self._looked_at = 0.0

    def look(self, mains: Mapping[str, int], now: float) -> dict[str, Consumption]:
        """Consumption by key of ``mains`` (key -> pid of the main process); ``now`` in seconds since the epoch."""
        owners = {pid: key for key, pid in mains.items()}
        processes = list(psutil.process_iter(["pid", "ppid", "cpu_times", "memory_info", "create_time"]))
        parents = {process.pid: process.info["ppid"] for process in processes}
        cores: dict[str, float] = dict.fromkeys(mains, 0.0)
        memory: dict[str, int] = dict.fromkeys(mains, 0)
        cpu_now: dict[tuple[int, float], float] = {}
        for process in processes:
            key = _owner(process.pid, owners, parents)
            times, resident = process.info["cpu_times"], process.info["memory_info"]
            if key is None or times is None or resident is None:
                continue
            identity = (process.pid, process.info["create_time"])
            used_s = times.user + times.system
            cpu_now[identity] = used_s
            since = self._looked_at if identity in self._cpu_s else identity[1]
            cores[key] += max(0.0, used_s - self._cpu_s.get(identity, 0.0)) / max(now - since, 0.01)
            memory[key] += resident.rss
        self._cpu_s, self._looked_at = cpu_now, now
        return {key: Consumption(cores[key], memory[key]) for key in mains}


def _owner(pid: int, owners: Mapping[int, str], parents: Mapping[int, int]) -> str | None:
    try:
        session = os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None
    if session in owners:
        return owners[session]
    ancestor: int | None = pid
    seen: set[int] = set()
    while ancestor and ancestor not in seen:
        if ancestor in owners:
            return owners[ancestor]
        seen.add(ancestor)
        ancestor = parents.get(ancestor)
    return None
