"""What budgets grant one service, as the core sees it while it decides. Pure; who works it out is `core.books`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from autoscaler.core.state import ServiceState


@dataclass(frozen=True, slots=True)
class Grant:
    """The most replicas that ``budget`` grants a service now, and why."""

    budget: str
    most: int
    text: str


class Grants(Protocol):
    """What budgets say of one service. Read only where a demand is about to be decided."""

    def granted(self, state: ServiceState, asking: int) -> Grant | None:
        """The tightest word on the service in this state, if it asks for so many; None where it may have them."""


@dataclass(frozen=True, slots=True)
class Unlimited:
    """No budget counts the service."""

    def granted(self, state: ServiceState, asking: int) -> Grant | None:
        """All of it."""
        del state, asking
        return None


UNLIMITED = Unlimited()
