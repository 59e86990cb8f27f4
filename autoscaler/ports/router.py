"""The router port: what stands in front of a service's replicas, so that none is stopped with requests in flight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Backend:
    """A replica that may receive requests: its name, ``host:port``, and a weight of 0 to 100."""

    name: str
    address: str
    weight: int = 100


class Router(Protocol):
    """Routes requests of services to backends."""

    async def open(self) -> None:
        """Listen. Raises `TargetError` where a listen address is taken, naming it."""

    async def set_backends(self, service: str, backends: Sequence[Backend]) -> None:
        """New requests go to exactly these from now on; requests in flight on others end by themselves."""

    async def drained(self, service: str, name: str, timeout_s: float) -> bool:
        """True as soon as no request is in flight on that backend, False after ``timeout_s``."""

    async def close(self) -> None:
        """Stop listening; requests in flight get a short grace."""
