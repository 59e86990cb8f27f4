"""What the story is played on: local processes or Docker hosts, seen and touched without the product's own adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from autoscaler.cli.demo.board import Seen
from autoscaler.errors import AutoscalerError

SERVICE = "shop"


class DemoFailed(AutoscalerError):
    """The demo cannot go on, or saw something else than it promised; the text says what, and what it saw."""


class Stage(Protocol):
    """Where replicas run. Every call may block and is made in a thread."""

    parts: str

    def prepare(self) -> None:
        """Make what the replicas are made of. Raises `DemoFailed` where something is missing, with the remedy."""

    def target(self) -> dict[str, Any]:
        """The target's block of the configuration."""

    def service(self) -> dict[str, Any]:
        """What the service's block needs beyond the common part: what events may deploy, and the first revision."""

    def revision(self, version: str, *, broken: bool = False) -> dict[str, Any]:
        """The revision block of a version, for the configuration or a deployment event."""

    def look(self) -> Sequence[Seen]:
        """The replicas that exist now, found from outside; whether they answer is asked by the census."""

    def identity(self, answer: Mapping[str, Any]) -> str:
        """The `Seen.id` of the replica that gave an answer, empty where the answer does not say."""

    def shortened(self, text: str) -> str:
        """A line of the trail without what is the same in all of them."""

    def kill(self, replica: Seen) -> None:
        """End it as a crash would, behind the autoscaler's back."""

    def clear(self) -> list[str]:
        """Take away everything that was made; what could not be, in words."""
