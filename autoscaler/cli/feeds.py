"""What a member feeds the stream with while it runs: polled metrics and its own replicas' usage. Started by `run`."""

from __future__ import annotations

from autoscaler.configuration.settings import Configuration
from autoscaler.engine.member import Member


class Feeds:
    """The pollers of one member."""

    def __init__(self, configuration: Configuration, member: Member) -> None:
        self._configuration = configuration
        self._member = member

    def start(self) -> None:
        """Begin to poll."""

    async def stop(self) -> None:
        """Poll no more."""
