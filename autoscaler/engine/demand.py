"""Requests that are held at the router become samples on the metrics topic: what brings a service up from zero.

The first one is published at once; while some wait, their number again every `REPEAT_S`, so that it stays known and a
failed publication is made good; and a zero when none is left. A service nobody waits for costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from autoscaler.core.activation import METRIC
from autoscaler.engine.supervision import Supervision
from autoscaler.errors import EventRejected, StreamError
from autoscaler.events.envelope import STRUCTURED_HEADERS
from autoscaler.events.writing import metric_event
from autoscaler.ports.stream import Headers, Topic

REPEAT_S = 10.0
RETRY_S = 1.0

Publish = Callable[[Topic, bytes, bytes, Headers], Awaitable[None]]

log = structlog.get_logger(__name__)


class Demand:
    """``source``: this member as the samples' source. ``publish`` raises `StreamError` where it cannot."""

    def __init__(self, source: str, publish: Publish, supervision: Supervision) -> None:
        self._source = source
        self._publish = publish
        self._supervision = supervision
        self._waiting: dict[str, int] = {}
        self._ended: dict[str, asyncio.Event] = {}

    def heard(self, service: str, waiting: int) -> None:
        """So many requests of the service are held now."""
        self._waiting[service] = waiting
        ended = self._ended.get(service)
        if ended is None:
            if waiting:
                self._ended[service] = asyncio.Event()
                self._supervision.start(self._tell(service), f"demand of {service}")
        elif not waiting:
            ended.set()

    async def _tell(self, service: str) -> None:
        ended = self._ended[service]
        try:
            while waiting := self._waiting[service]:
                ended.clear()
                pause_s = REPEAT_S if await self._say(service, waiting) else RETRY_S
                try:
                    async with asyncio.timeout(pause_s):
                        await ended.wait()
                except TimeoutError:
                    continue
            await self._say(service, 0)
        finally:
            del self._ended[service], self._waiting[service]

    async def _say(self, service: str, waiting: int) -> bool:
        value = metric_event(service, {METRIC: waiting}, self._source)
        try:
            await self._publish(Topic.METRICS, service.encode(), value, STRUCTURED_HEADERS)
        except (StreamError, EventRejected) as error:
            log.warning("held requests could not be told", service=service, error=str(error))
            return False
        return True
