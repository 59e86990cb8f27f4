"""The router port: what stands in front of a service's replicas, so that none is stopped with requests in flight."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

WEIGHT_MAX = 256
ACTIVATOR = "activator"
"""The backend of a service at zero: it holds requests until there is a replica. No replica has a name without dots."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A replica that may receive requests: its name, ``host:port``, and a weight of 0 to 256 (HAProxy's range)."""

    name: str
    address: str
    weight: int = 100


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests of one service since the start. ``held``: waited for a first replica; ``refused``: answered 503 by the
    router itself, for want of a replica; ``failed``: 502 or 504, as no replica could be reached or answered;
    ``in_flight``: now."""

    requests: int
    held: int
    refused: int
    failed: int
    in_flight: int


class Router(Protocol):
    """Routes requests of services to backends, those of a service from the first `set_backends` to `forget`. All raise
    `TargetError` and nothing else."""

    async def open(self) -> None:
        """Ready for backends. Raises ``refused`` where a listen address is taken, or what is configured is not there,
        naming it; that a router of its own cannot be reached now is no reason to raise."""

    async def set_backends(self, service: str, backends: Sequence[Backend]) -> None:
        """New requests go to exactly these from now on; requests in flight on others end by themselves.

        Where it raises, the backends are kept in mind and become true as soon as the router can be reached. A service
        without a route is left alone.
        """

    async def drained(self, service: str, name: str, timeout_s: float) -> bool:
        """True as soon as that backend gets no new request and none is in flight on it, False after ``timeout_s``."""

    async def forget(self, service: str) -> None:
        """The service is another member's now: its backends are left as they are, and what listens inside this process
        makes room where that member is on this machine."""

    def hear_demand(self, heard: Callable[[str, int], None]) -> None:
        """``heard(service, waiting)`` is told how many requests of a service wait for a first replica, whenever that
        changes, 0 included; it must not raise."""

    def counts(self) -> Mapping[str, Counts]:
        """What this process has carried itself, by service; those without a request are left out."""

    async def close(self) -> None:
        """Let go: what runs inside this process stops listening and gives requests in flight a short grace, a router
        of its own goes on."""
