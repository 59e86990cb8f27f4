"""What a process has used: the meter that ours and every control are read by."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Reading:
    """Time on the wall and on processors (all threads) so far."""

    wall_s: float
    cpu_s: float

    @classmethod
    def now(cls) -> Reading:
        return cls(time.perf_counter(), time.process_time())

    def since(self, earlier: Reading) -> Reading:
        return Reading(self.wall_s - earlier.wall_s, self.cpu_s - earlier.cpu_s)


def peak_mb(pid: int) -> float:
    """The most memory that the process ever had resident, in megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def resident_kb(pid: int) -> float:
    """Resident memory now."""
    return psutil.Process(pid).memory_info().rss / 1024


def cpu_s(pid: int) -> float:
    """Processor time of the process, all threads."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
