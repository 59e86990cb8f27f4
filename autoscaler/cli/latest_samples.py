"""The newest sample of each metric of a service, read from the end of the metrics topic; for `explain`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autoscaler.errors import EventRejected
from autoscaler.events.samples import read_samples
from autoscaler.ports.stream import StreamClient, Topic, partition_of

LOOK_BACK_MAX = 5_000
"""Messages of the partition that are looked at: what came before them is as good as never seen here."""


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest sample of a metric; ``value`` and ``at`` are None where there is none."""

    name: str
    value: float | None = None
    at: float | None = None


async def latest_samples(client: StreamClient, service: str, names: Iterable[str]) -> list[Latest]:
    """Of each of ``names``, and of whatever else is sent for the service, by name. What a decoder of a plugin would
    read is not seen."""
    key = service.encode()
    partition = partition_of(key, client.partitions)
    end = (await client.ends(Topic.METRICS)).get(partition, 0)
    found = {name: Latest(name) for name in names}
    async for _, message in client.read(
        Topic.METRICS, partition=partition, start={partition: max(0, end - LOOK_BACK_MAX)}
    ):
        if message.key != key:
            continue
        try:
            reading = read_samples(message)
        except EventRejected:
            continue
        for sample in reading.samples:
            known = found.get(sample.name)
            if known is None or known.at is None or known.at <= sample.at:
                found[sample.name] = Latest(sample.name, sample.value, sample.at)
    return [found[name] for name in sorted(found)]
