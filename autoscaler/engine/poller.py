"""Polls the configured metrics sources for the services that this member owns, and publishes what they say.

What is polled goes onto the metrics topic like anybody's event, so that a value is never used which others cannot see.
Knows the port, no source.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from autoscaler.errors import EventRejected, StreamError, TargetError
from autoscaler.ports.metrics import MetricsSource, PolledSample

BACKOFF_MAX_S = 60.0
TEXT_CHARS_MAX = 300

Publish = Callable[[str, Sequence[PolledSample]], Awaitable[None]]
"""Puts samples of one service onto the metrics topic; raises `StreamError` where it cannot."""


@dataclass(slots=True)
class SourceCounts:
    """What one source gave; ``answered_at`` in seconds since the epoch, 0 where it never did."""

    polls: int = 0
    failures: int = 0
    samples: int = 0
    unpublished: int = 0
    failures_in_a_row: int = 0
    answered_at: float = 0.0
    last_error: str = ""


class Poller:
    """Polls each source every ``every_s``; after failures in a row the wait doubles, up to a minute.

    ``owned`` gives the services of this member now: they are asked for at each poll, and again before publishing, as
    ownership may have gone meanwhile. ``clock``: seconds since the epoch.
    """

    def __init__(
        self,
        sources: Sequence[MetricsSource],
        publish: Publish,
        owned: Callable[[], frozenset[str]],
        clock: Callable[[], float],
    ) -> None:
        self._sources = tuple(sources)
        self._publish = publish
        self._owned = owned
        self._clock = clock
        self._counts = {source.name: SourceCounts() for source in sources}

    @property
    def counts(self) -> Mapping[str, SourceCounts]:
        """By source name."""
        return self._counts

    async def run(self) -> None:
        """Polls for ever; cancel it to end it. Closes no source."""
        async with asyncio.TaskGroup() as group:
            for source in self._sources:
                group.create_task(self._follow(source))

    async def _follow(self, source: MetricsSource) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self.poll_once(source)
            wait_s = backoff_s(source.every_s, self._counts[source.name].failures_in_a_row)
            await asyncio.sleep(max(0.0, began + wait_s - loop.time()))

    async def poll_once(self, source: MetricsSource) -> None:
        """One poll of one source; failures are counted, never raised."""
        services = self._owned() & source.services()
        if not services:
            return
        counts = self._counts[source.name]
        counts.polls += 1
        try:
            samples = await source.poll(services)
        except TargetError as error:
            counts.failures += 1
            counts.failures_in_a_row += 1
            counts.last_error = str(error)[:TEXT_CHARS_MAX]
            return
        counts.failures_in_a_row = 0
        counts.answered_at = self._clock()
        counts.last_error = ""
        await self._publish_by_service(samples, counts)

    async def _publish_by_service(self, samples: Sequence[PolledSample], counts: SourceCounts) -> None:
        grouped: dict[str, list[PolledSample]] = {}
        for sample in samples:
            grouped.setdefault(sample.service, []).append(sample)
        for service, of_service in grouped.items():
            if service not in self._owned():
                continue
            try:
                await self._publish(service, of_service)
            except (StreamError, EventRejected) as error:
                # Not kept for later: the next poll brings newer ones.
                counts.unpublished += len(of_service)
                counts.last_error = str(error)[:TEXT_CHARS_MAX]
            else:
                counts.samples += len(of_service)


def backoff_s(every_s: float, failures_in_a_row: int) -> float:
    """The wait before the next poll: ``every_s`` doubled by each failure in a row, at most a minute or ``every_s``."""
    return min(every_s * 2.0 ** min(failures_in_a_row, 10), max(every_s, BACKOFF_MAX_S))
