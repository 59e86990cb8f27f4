"""Members at work in this process, on a stream in memory and a target that pretends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from autoscaler.adapters.pretend.target import PretendTarget
from autoscaler.configuration.settings import Configuration, StreamSettings
from autoscaler.core.budgets import Budget
from autoscaler.core.settings import Bounds, ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.engine.clock import SystemClock
from autoscaler.engine.face import MemberFace
from autoscaler.engine.member import Member, MemberParts
from autoscaler.errors import TargetError
from autoscaler.events.writing import control_event, deployment_event, message_of, metric_event
from autoscaler.ledger.audit import read_audit
from autoscaler.ledger.partition_record import PartitionRecord, decode_partition, encode_partition, partition_key
from autoscaler.ledger.state_codec import decode_state, encode_state
from autoscaler.plugin_host import PluginHost
from autoscaler.ports.router import Backend, Counts, Router
from autoscaler.ports.stream import Outgoing, Topic, partition_of
from autoscaler.ports.target import Target
from tests.core.builders import some_rules, some_settings
from tests.engine.streams import MemoryClient, MemoryLog, MemoryStream

PATIENCE_S = 15.0


def quick_settings(**changes: Any) -> ServiceSettings:
    """A service of at most three replicas whose updates are over at once."""
    given: dict[str, Any] = {
        "bounds": Bounds(0, 3, 1),
        "update": some_rules(min_healthy_s=0.0, soak_s=0.0, monitor_s=0.0),
    }
    return some_settings(**(given | changes))


def a_configuration(services: Mapping[str, ServiceSettings], partitions: int = 1) -> Configuration:
    """Everything else as it is by default."""
    stream = StreamSettings(partitions=partitions)
    return Configuration("shop", Path(), stream, {}, services)


def deployment(service: str = "web", version: str = "1", identity: str = "d-1", **fields: Any) -> Outgoing:
    """A deployment of a command, another for each version; ``fields`` of its revision."""
    revision = {"command": ["serve", version], **fields}
    return message_of(Topic.DEPLOYMENTS, service, deployment_event(service, revision, "/ci", id=identity))


def command(service: str, name: str, identity: str, **fields: Any) -> Outgoing:
    """An operator's command."""
    return message_of(Topic.CONTROL, service, control_event(service, name, "/ops", fields, id=identity))


def sample(service: str = "web", *, source: str = "/test", at: float | None = None, **values: float) -> Outgoing:
    """A metric event."""
    return message_of(Topic.METRICS, service, metric_event(service, values, source, at=at))


@dataclass
class RecordingRouter:
    """Remembers what it was told; the first call takes as long as ``slow`` says."""

    told: list[tuple[str, list[Backend]]] = field(default_factory=list)
    drains: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    slow: asyncio.Event | None = None
    failing: TargetError | None = None
    heard: Callable[[str, int], None] | None = None
    carried: dict[str, Counts] = field(default_factory=dict)

    async def open(self) -> None:
        """Nothing to open."""

    async def set_backends(self, service: str, backends: Sequence[Backend]) -> None:
        waits, self.slow = self.slow, None
        if waits is not None:
            await waits.wait()
        self.told.append((service, list(backends)))
        if self.failing is not None:
            raise self.failing

    async def drained(self, service: str, name: str, timeout_s: float) -> bool:
        self.drains.append(name)
        return True

    async def forget(self, service: str) -> None:
        self.forgotten.append(service)

    def hear_demand(self, heard: Callable[[str, int], None]) -> None:
        self.heard = heard

    def counts(self) -> Mapping[str, Counts]:
        return self.carried

    async def close(self) -> None:
        """Nothing to close."""


@dataclass
class AtWork:
    """A member at work, and what it works on."""

    member: Member
    stream: MemoryStream
    client: MemoryClient
    log: MemoryLog
    target: Any
    stop: asyncio.Event
    face: MemberFace

    def state(self, service: str = "web") -> ServiceState:
        """The service's state as the stream has it."""
        partition = partition_of(service.encode(), self.log.partitions)
        return stored_state(self.log, service, partition)

    async def rests(self) -> None:
        """All partitions are taken over and nothing is left to do."""
        await eventually(lambda: self.face.unready() == "" and not any(s.has_work for s in self.member.shards()))


@asynccontextmanager
async def at_work(
    log: MemoryLog,
    services: Mapping[str, ServiceSettings] | None = None,
    *,
    target: Target | None = None,
    stream: MemoryStream | None = None,
    member_id: str = "m1",
    router: Router | None = None,
    plugins: PluginHost | None = None,
    clock: SystemClock | None = None,
    budgets: Iterable[Budget] = (),
    fails: bool = False,
) -> AsyncIterator[AtWork]:
    """A member, ended in order; ``fails``: something of it dies."""
    configuration = a_configuration(services or {"web": quick_settings()}, log.partitions)
    configuration = replace(configuration, budgets={budget.name: budget for budget in budgets})
    stream, client = stream or MemoryStream(log), MemoryClient(log)
    target = target or PretendTarget("edge", ["h1", "h2"])
    parts = MemberParts(
        configuration=configuration,
        member_id=member_id,
        stream=stream,
        client=client,
        targets={"edge": target},
        plugins=plugins or PluginHost.of_modules(),
        router=router,
        clock=clock or SystemClock(),
    )
    member, stop = Member(parts), asyncio.Event()
    running = asyncio.create_task(member.run(stop))
    try:
        yield AtWork(member, stream, client, log, target, stop, MemberFace(member))
    finally:
        stop.set()
        await asyncio.wait_for(running, PATIENCE_S)
    assert member.failed is fails


async def eventually(holds: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Wait until ``holds`` answers something true."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + seconds
    while not holds():
        if loop.time() > give_up_at:
            pytest.fail(f"not within {seconds:.0f} s: {getattr(holds, '__name__', holds)}")
        await asyncio.sleep(0.01)


# What the stream holds.


def audit(log: MemoryLog, partition: int = 0) -> list[dict[str, Any]]:
    """The partition's audit events, oldest first."""
    return [read_audit(message.value or b"") for message in log.topics[Topic.AUDIT, partition]]


def verdicts(log: MemoryLog, partition: int = 0) -> list[tuple[str, str, bool]]:
    """(event's id, verdict, terminal) of each record with a verdict, in order."""
    data = [event["data"] for event in audit(log, partition)]
    return [(d["event"]["id"], d["verdict"], d["terminal"]) for d in data if d["event"] and d["verdict"]]


def stored_state(log: MemoryLog, service: str = "web", partition: int = 0) -> ServiceState:
    """The service's newest state on the partition; an empty one where it has none."""
    values = [m.value for m in log.topics[Topic.STATE, partition] if m.key == service.encode()]
    return decode_state(values[-1]).state if values and values[-1] else ServiceState(service)


def stored_record(log: MemoryLog, partition: int = 0) -> PartitionRecord:
    """The newest partition record."""
    values = [m.value for m in log.topics[Topic.STATE, partition] if m.key == partition_key(partition)]
    return decode_partition(values[-1] or b"")


def store(log: MemoryLog, state: ServiceState, checkpoint: Mapping[str, Any] | None = None) -> None:
    """A state that a former owner wrote."""
    partition = partition_of(state.service.encode(), log.partitions)
    log.put(Topic.STATE, partition, state.service.encode(), encode_state(state, checkpoint))


def store_record(log: MemoryLog, **changes: Any) -> None:
    """The partition record of a former owner."""
    record = replace(PartitionRecord(0, 1, member="former"), **changes)
    written = encode_partition(record)
    log.put(Topic.STATE, record.partition, written.key, written.value)


def dead_letters(log: MemoryLog, partition: int = 0) -> list[str]:
    """The reasons of the partition's dead letters."""
    letters = log.topics[Topic.DLQ, partition]
    return [dict(letter.headers)["eventscaler-dlq-reason"].decode() for letter in letters]


def as_json(value: object) -> bytes:
    """JSON in bytes."""
    return json.dumps(value).encode()
