"""Publish an event and follow the trail to its verdict, for ``emit deployment --wait`` and operators' commands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autoscaler.cli.connecting import Sending, publish
from autoscaler.cli.context import EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, say
from autoscaler.cli.reading import Entry, entry_of, snapshot
from autoscaler.core.draft import known_event
from autoscaler.core.quantities import format_duration
from autoscaler.ports.stream import Place, StreamClient, Topic, partition_of

SILENCE_S = 4.0
"""After so long without any word about the event, a person is told that maybe nobody is there."""

DONE = frozenset({"applied", "unchanged"})


@dataclass(frozen=True, slots=True)
class Settled:
    """How an event ended: its verdict and reason, or an empty verdict where the time was over."""

    verdict: str
    code: str
    text: str
    record: str = ""
    generation: int | None = None
    after: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 for applied and unchanged, 3 for refused, 1 for everything else."""
        if self.verdict in DONE:
            return EXIT_DONE
        return EXIT_REFUSED if self.verdict == "refused" else EXIT_FAILED


async def publish_and_wait(
    client: StreamClient, sending: Sending, timeout_s: float, on_record: Callable[[Entry], None] | None = None
) -> tuple[Place, Settled]:
    """Publish, then follow the trail until the event has its verdict or the time is over.

    ``on_record`` is shown every record of the service meanwhile. The trail is followed from before the publication, so
    that no answer is missed.
    """
    partition = partition_of(sending.service.encode(), client.partitions)
    start = {partition: (await client.ends(Topic.AUDIT))[partition]}
    place = await publish(client, sending)
    wait = _Wait(client, sending, on_record)
    return place, await wait.run(partition, start, timeout_s)


class _Wait:
    def __init__(self, client: StreamClient, sending: Sending, on_record: Callable[[Entry], None] | None) -> None:
        self._client = client
        self._sending = sending
        self._on_record = on_record
        self._last: Entry | None = None
        self._heard = False

    async def run(self, partition: int, start: Mapping[int, int], timeout_s: float) -> Settled:
        trail = self._client.read(Topic.AUDIT, partition=partition, start=start, follow=True)
        begun = time.monotonic()
        told = False
        coming = asyncio.ensure_future(anext(trail))
        try:
            while True:
                spent = time.monotonic() - begun
                patience = timeout_s - spent
                if patience <= 0:
                    return self._given_up(timeout_s)
                if not self._heard and not told:
                    patience = min(patience, max(0.0, SILENCE_S - spent))
                done, _ = await asyncio.wait({coming}, timeout=patience)
                if done:
                    place, message = coming.result()
                    coming = asyncio.ensure_future(anext(trail))
                    settled = await self._take(entry_of(place, message))
                    if settled is not None:
                        return settled
                elif not self._heard and not told and time.monotonic() - begun < timeout_s:
                    told = True
                    say("no instance has answered yet; is `autoscaler run` up?")
        finally:
            coming.cancel()
            await asyncio.wait({coming})
            await trail.aclose()  # type: ignore[attr-defined]

    async def _take(self, entry: Entry) -> Settled | None:
        if entry.problem:
            return None
        ref = {"source": self._sending.ref.source, "id": self._sending.ref.id}
        data = entry.data
        about_it = data.get("event") == ref
        if entry.chain != self._sending.service and not about_it:
            return None
        self._heard = self._heard or about_it or ref in data.get("causes", ())
        self._last = entry
        if self._on_record is not None and not data["terminal"] and data["verdict"] != "duplicate":
            self._on_record(entry)
        if about_it and data["terminal"]:
            return _settled(entry, str(data["verdict"]))
        if about_it and data["verdict"] == "duplicate":
            verdict = await self._first_verdict()
            return _settled(entry, verdict) if verdict else None
        return None

    async def _first_verdict(self) -> str:
        """The verdict that a repeated event got when it came first; empty while it has none."""
        service = self._sending.service
        state = (await snapshot(self._client, service)).states.get(service)
        known = known_event(state, self._sending.ref) if state is not None else None
        return known.verdict if known is not None else ""

    def _given_up(self, timeout_s: float) -> Settled:
        waited = f"no verdict within {format_duration(timeout_s)}"
        if self._last is None:
            text = f"{waited}, and no instance has answered. The event stays on the stream: start `autoscaler run`"
        else:
            text = f"{waited}; last seen: {self._last.data['reason']['text']}"
        return Settled("", "timeout", text)


def _settled(entry: Entry, verdict: str) -> Settled:
    data = entry.data
    return Settled(
        verdict,
        data["reason"]["code"],
        data["reason"]["text"],
        str(entry.event["id"]),
        data["generation"],
        data["after"],
    )
