"""What both sides of the comparison are asked to do, and with which settings: the same for both.

`Side` is implemented by `bench.swarm_side` (Docker's own orchestrator) and `bench.own_side` (ours).
"""

from __future__ import annotations

from typing import Any, Protocol

from bench.child import Child

PARALLELISM = 2
"""Replicas replaced at a time; started before the old ones are stopped, without a delay between."""

MONITOR_S = 1.0
"""How long a new replica is judged after it came up."""

CHECK_EVERY_S = 1.0
CHECK_FAILURES = 3
GRACE_S = 10.0

DECIDED_S = 30.0
"""How long the end of a deployment is waited for."""

PLAIN, SHOP = "plain", "shop"
"""A service whose replicas count once they run, and one that is checked for its health."""

SETTINGS = (
    f"{PARALLELISM} at a time, start-first, no delay, monitor {MONITOR_S:g} s, failure ratio 0, rollback, "
    f"restart at once, checked every {CHECK_EVERY_S:g} s, {CHECK_FAILURES} failures, grace {GRACE_S:g} s"
)


class Side(Protocol):
    """One orchestrator with both services, at rest with no replicas after `open`."""

    name: str

    def label(self, service: str) -> tuple[str, str]:
        """The label that tells a service's containers."""

    async def open(self) -> None:
        """Begin."""

    async def close(self) -> None:
        """End, whatever the state; containers may be left to the engine's end."""

    async def scale(self, service: str, replicas: int) -> None:
        """Ask for so many replicas; returns when that is accepted."""

    async def deploy(self, service: str, image: str) -> None:
        """Ask for another image; returns when that is accepted."""

    async def verdict(self, service: str) -> str:
        """Wait for the end of the last deployment; what came of it."""

    def client(self, service: str) -> Child:
        """A client of the service, not yet entered."""


Settings = dict[str, Any]
