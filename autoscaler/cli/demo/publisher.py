"""What the demo puts on the stream: the customers' rate as a monitor would, and deployments as CI would."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from autoscaler.cli.demo.board import Board
from autoscaler.cli.demo.stage import SERVICE
from autoscaler.cli.demo.traffic import Traffic
from autoscaler.events.writing import deployment_event, message_of, metric_event
from autoscaler.ports.stream import StreamClient, Topic

EVERY_S = 0.5
METRIC = "requests_per_second"


class Publisher:
    """Publishes events and counts them. While ``measuring``, the measured rate goes out twice a second."""

    def __init__(self, client: StreamClient, traffic: Traffic, board: Board) -> None:
        self._client = client
        self._traffic = traffic
        self._board = board
        self.measuring = False
        self.published = 0

    async def run(self) -> None:
        """Measure and publish until cancelled."""
        while True:
            rate = self._traffic.offered()
            self._board.rates.append(rate)
            self._board.counts.append(len(self._board.replicas))
            if self.measuring:
                await self.load(rate)
            await asyncio.sleep(EVERY_S)

    async def load(self, rate: float) -> None:
        """One metric event."""
        await self._publish(Topic.METRICS, metric_event(SERVICE, {METRIC: round(rate, 2)}, "/demo/monitor"))

    async def deploy(self, version: str, revision: Mapping[str, Any]) -> str:
        """One deployment event; its id."""
        event_id = f"release-{version}"
        event = deployment_event(SERVICE, revision, "/demo/ci", version=version, id=event_id)
        await self._publish(Topic.DEPLOYMENTS, event)
        return event_id

    async def _publish(self, topic: Topic, event: bytes) -> None:
        outgoing = message_of(topic, SERVICE, event)
        await self._client.publish(topic, outgoing.key, event, outgoing.headers)
        self.published += 1
