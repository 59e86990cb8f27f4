"""A connection to the stream for one command, and one event put on it. Nothing here needs a running instance."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from autoscaler.adapters.streams import client_for
from autoscaler.cli.context import CommandError
from autoscaler.configuration.settings import Configuration
from autoscaler.core.facts import EventRef
from autoscaler.ports.stream import Place, StreamClient, Topic


def client_of(configuration: Configuration) -> StreamClient:
    """A client for commands that look or publish."""
    return client_for(configuration.stream, configuration.cluster)


@asynccontextmanager
async def opened_client(configuration: Configuration, *, looks: bool = True) -> AsyncIterator[StreamClient]:
    """A connected client. ``looks``: it only reads, so a stream that does not exist yet is an error, not made."""
    stream = configuration.stream
    if looks and stream.kind == "embedded" and stream.path is not None and not stream.path.exists():
        raise CommandError(
            f"there is no stream yet at {stream.path}", "Start `autoscaler run`, or correct stream.path.", "stream.path"
        )
    client = client_of(configuration)
    try:
        await client.open()
        yield client
    finally:
        await client.close()


@dataclass(frozen=True, slots=True)
class Sending:
    """An event to publish: where to, its identity and its bytes."""

    topic: Topic
    service: str
    ref: EventRef
    value: bytes


async def publish(client: StreamClient, sending: Sending) -> Place:
    """Put the event on the stream; returns when it is durable."""
    from autoscaler.events.envelope import STRUCTURED_HEADERS

    return await client.publish(sending.topic, sending.service.encode(), sending.value, STRUCTURED_HEADERS)
