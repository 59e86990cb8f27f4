"""The metrics port: a source that is asked for values and whose answers are published on the metrics topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

OWN_METRICS = frozenset({"cpu_cores", "memory_bytes", "replicas_ready", "replicas_restarts_total", "requests_held"})
"""What members publish by themselves: of the replicas that run, and of requests that wait for one."""


@dataclass(frozen=True, slots=True)
class PolledSample:
    """One value of one metric of a service; ``at`` seconds since the epoch; ``id`` the same for the same query and
    time."""

    service: str
    name: str
    value: float
    at: float
    id: str


class MetricsSource(Protocol):
    """Something that is polled by the owner of a service."""

    name: str
    every_s: float

    def services(self) -> frozenset[str]:
        """The services it has queries for."""

    async def poll(self, services: frozenset[str]) -> Sequence[PolledSample]:
        """Values of those services; a value that is not a finite number, or a missing series, yields no sample. Raises
        `TargetError` (unavailable or unknown) where the source does not answer in time."""

    async def close(self) -> None:
        """Let go."""
