"""A cluster to measure: its configuration file, its topics, the state that it starts with, its events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

import autoscaler_plugins.target_value as policy
from autoscaler.adapters.kafka.admin import KafkaAdmin
from autoscaler.configuration.settings import StreamSettings
from autoscaler.core.rollout import Idle
from autoscaler.core.settings import Bounds, Scaling, ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.events.envelope import STRUCTURED_HEADERS
from autoscaler.ledger.state_codec import encode_state
from autoscaler.ports.stream import partition_of
from autoscaler.testing import Scenario
from bench.stage import IMAGE, Stage

PARTITIONS = 12
PER_REPLICA = 50
METRIC = "requests_per_second"
HEADERS = [(name, content) for name, content in STRUCTURED_HEADERS]
SEND_BATCH = 500_000

Row = tuple[str, bytes, list[tuple[str, bytes]], int]


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster on the stage's broker with ``services`` of one template."""

    name: str
    directory: Path
    brokers: str
    services: int

    @classmethod
    def on(cls, stage: Stage, name: str, services: int) -> Cluster:
        """A cluster with a directory and topics of its own."""
        name = f"{name}-{stage.token}"
        directory = stage.directory / name
        directory.mkdir(parents=True, exist_ok=True)
        return cls(name, directory, stage.brokers, services)

    @property
    def configuration(self) -> Path:
        return self.directory / "autoscaler.yaml"

    def topic(self, role: str, *, observe: bool = False) -> str:
        """The name of a topic; ``observe``: as `run --observe` writes it."""
        return f"{self.name}.observe.{role}" if observe else f"{self.name}.{role}"

    def names(self) -> list[str]:
        return [f"svc-{number:04d}" for number in range(self.services)]

    def write(self, url: str = "unix:///nowhere", **service: Any) -> None:
        """The configuration file; ``service`` replaces parts of the template."""
        template = {
            "names": [f"svc-[0000-{self.services - 1:04d}]"],
            "target": "edge",
            "replicas": {"min": 0, "max": 1000, "initial": 0},
            "policies": policies("20%"),
            "images": ["t/*"],
            "revision": {"image": IMAGE},
            **service,
        }
        document = {
            "cluster": self.name,
            "stream": {
                "kind": "kafka",
                "brokers": self.brokers.split(","),
                "prefix": self.name,
                "partitions": PARTITIONS,
            },
            "targets": {"edge": {"kind": "docker", "hosts": [{"name": "h1", "url": url}]}},
            "templates": {"web": template},
        }
        self.configuration.write_text(json.dumps(document, indent=1))

    async def create_topics(self, *, observe: bool = False) -> None:
        """Make the topics, and with ``observe`` those of an observer as well."""
        settings = StreamSettings(
            kind="kafka", brokers=tuple(self.brokers.split(",")), prefix=self.name, partitions=PARTITIONS
        )
        observed = replace(settings, prefix=f"{self.name}.observe")
        for each in (settings, observed) if observe else (settings,):
            admin = KafkaAdmin(each, self.name)
            await admin.create_topics()
            await admin.close()

    async def seed(self, state: ServiceState, checkpoint: Mapping[str, Any] | None, *, observe: bool = False) -> None:
        """Give every service the same state, as if it had been written by a former run."""
        rows: Iterable[Row] = (
            (name, encode_state(replace(state, service=name), checkpoint), [], int(state.updated_at * 1000))
            for name in self.names()
        )
        await self.publish(self.topic("state", observe=observe), rows)

    async def publish(self, topic: str, rows: Iterable[Row]) -> int:
        """Write many records fast, each to its key's partition: (key, value, headers, milliseconds)."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.brokers, max_batch_size=SEND_BATCH, max_request_size=4 * SEND_BATCH
        )
        await producer.start()
        batches: dict[int, Any] = {}
        homes: dict[str, tuple[bytes, int]] = {}
        sent = 0
        try:
            for name, value, headers, at_ms in rows:
                home = homes.get(name)
                if home is None:
                    home = homes[name] = (name.encode(), partition_of(name.encode(), PARTITIONS))
                key, partition = home
                batch = batches.get(partition) or producer.create_batch()
                if batch.append(key=key, value=value, timestamp=at_ms, headers=headers) is None:
                    await producer.send_batch(batch, topic, partition=partition)
                    batch = producer.create_batch()
                    batch.append(key=key, value=value, timestamp=at_ms, headers=headers)
                batches[partition] = batch
                sent += 1
            for partition, batch in batches.items():
                await producer.send_batch(batch, topic, partition=partition)
            await producer.flush()
        finally:
            await producer.stop()
        return sent


def policies(tolerance: str) -> list[dict[str, Any]]:
    """The one policy of every cluster here."""
    return [{"use": "target_value", "with": {"metric": METRIC, "per_replica": PER_REPLICA, "tolerance": tolerance}}]


def settled_state(demand: int) -> ServiceState:
    """The state of a service after its first deployment and a sample that asked for ``demand`` replicas.

    Made by the program's own shard, on virtual time.
    """
    settings = ServiceSettings(
        target="edge",
        target_kind="docker",
        bounds=Bounds(0, 1000, demand),
        scaling=Scaling(down_window_s=60.0),
    )
    options = {"metric": METRIC, "per_replica": float(PER_REPLICA), "tolerance": 0.2}
    scenario = Scenario(policy, options, settings=settings, service="svc")
    scenario.sample(requests_per_second=demand * PER_REPLICA)
    scenario.advance(settings.update.soak_s + settings.update.min_healthy_s)
    assert (scenario.demand, scenario.state.rollout) == (demand, Idle()), scenario.explain()
    return scenario.state
