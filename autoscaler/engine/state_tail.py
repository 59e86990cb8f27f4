"""Reads the state topic on and on, so that the budgets' books know services that other members own. No decision.

Started by the member where budgets are configured. Where the stream is away it begins again from where it stood.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from autoscaler.core.state import ServiceState
from autoscaler.engine.budgets_seen import BudgetsSeen
from autoscaler.errors import LedgerError, StreamError
from autoscaler.ledger.state_codec import decode_state
from autoscaler.ports.stream import Message, StreamClient, Topic

RETRY_S = 1.0

log = structlog.get_logger(__name__)


class StateTail:
    """Where one member's reading stands."""

    def __init__(self, client: StreamClient, budgets: BudgetsSeen) -> None:
        self._client = client
        self._budgets = budgets
        self._next: dict[int, int] = {}
        self._caught_up = False
        self._away = False
        self._keys: Mapping[bytes, str] = {service.encode(): service for service in budgets.services}

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                if not self._caught_up:
                    await self._read(follow=False)
                    self._caught_up = True
                    self._budgets.all_heard()
                await self._read(follow=True)
            except StreamError as error:
                if not self._away:
                    log.warning("what other members decide is not heard, trying again", error=str(error))
                self._away = True
                await asyncio.sleep(RETRY_S)

    async def _read(self, *, follow: bool) -> None:
        async for place, message in self._client.read(Topic.STATE, start=self._next, follow=follow):
            self._next[place.partition] = place.offset + 1
            self._away = False
            service = self._keys.get(message.key or b"")
            if service is not None:
                self._hear(service, message)

    def _hear(self, service: str, message: Message) -> None:
        if message.value is None:
            self._budgets.hear(ServiceState(service))
            return
        try:
            self._budgets.hear(decode_state(message.value).state)
        except LedgerError as error:
            log.error("a service's state cannot be read and counts as before", service=service, error=str(error))
