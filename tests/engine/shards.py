"""Shards driven by hand, on virtual time."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from autoscaler.core.records import Record
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.state import ServiceState
from autoscaler.core.world import ObservedReplica, World
from autoscaler.engine.shard import Shard, ShardSetup
from autoscaler.engine.takeover import TakenOver, rebuild
from autoscaler.ledger.partition_record import PartitionRecord
from autoscaler.ports.stream import INPUTS, Append, Batch, Outgoing, Restored, StoredMessage, Topic
from autoscaler.simulator.owner import SimVoter
from tests.core.builders import NOW, a_host, some_settings


def running(state: ServiceState) -> tuple[ObservedReplica, ...]:
    """What hosts show where everything wanted runs and is healthy."""
    return tuple(
        ObservedReplica(
            f"c{r.attempt}",
            f"shop.{state.service}.s{r.slot}.r{r.revision}.{r.attempt}",
            state.service,
            r.slot,
            r.revision,
            r.attempt,
            r.host,
            "running",
            healthy=True,
            healthy_since=NOW - 800,
            started_at=NOW - 850,
            generation=1,
            token=1,
        )
        for r in state.replicas
    )


def a_setup(
    services: Mapping[str, ServiceSettings] | None = None,
    *,
    partitions: int = 1,
    member: str = "m1",
    shown: Sequence[ObservedReplica] = (),
) -> ShardSetup:
    """`load` wishes the newest value over ten; hosts show ``shown`` of each service."""

    def look(
        service: str, target: str, now: float, token: int, uncertain: frozenset[str], watched_since: float
    ) -> World:
        replicas = tuple(replica for replica in shown if replica.service == service)
        return World(now, replicas, (a_host("h1"), a_host("h2")), token, uncertain, watched_since)

    return ShardSetup("shop", member, partitions, services or {"web": some_settings()}, SimVoter(), look)


class Driven:
    """A shard, its clock, and what it has appended."""

    def __init__(self, shard: Shard, now: float = NOW) -> None:
        self.shard = shard
        self.now = now
        self.appends: list[Append] = []
        self.records: list[Record] = []
        self._next: dict[Topic, int] = defaultdict(int)

    @property
    def state(self) -> ServiceState:
        """The state of web."""
        return self.shard.states.get("web") or ServiceState("web")

    @property
    def verdicts(self) -> list[tuple[str, str, bool]]:
        """(event's id, verdict, terminal) of each audit event with a verdict."""
        found = []
        for append in self.appends:
            for record in append.records:
                data = json.loads(record.value or b"{}")["data"] if record.topic is Topic.AUDIT else {"verdict": None}
                if data["verdict"]:
                    found.append((data["event"]["id"], data["verdict"], data["terminal"]))
        return found

    def take(self, *sent: Outgoing, at: float | None = None) -> None:
        """These messages are read; the broker got them ``at``."""
        for one in sent:
            offset = self._next[one.topic]
            self._next[one.topic] += 1
            timestamp = int((self.now if at is None else at) * 1000)
            message = StoredMessage(offset, timestamp, one.key, one.value, one.headers)
            self.shard.take(Batch(one.topic, self.shard.partition, [message]), self.now)

    def turn(self, now: float | None = None) -> list[Record]:
        """Decide until nothing is left to decide, at ``now``; nothing is done to a host."""
        self.now = self.now if now is None else now
        new: list[Record] = []
        self.shard.due(self.now)
        append = self.shard.conclude(self.now)
        if append is not None:
            self.appends.append(append)
            new = self.shard.committed(self.now)
        self.records += new
        return new


def a_shard(setup: ShardSetup, *states: ServiceState, partition: int = 0, at: float = NOW) -> Driven:
    """A shard that has taken everything over at ``at``."""
    record = PartitionRecord(partition, 1, at=at)
    shard = Shard(partition, setup, record, {state.service: state for state in states})
    shard.warming = False
    return Driven(shard, at)


def restored(*written: Outgoing, ends: Mapping[Topic, int] | None = None, **beginnings: int) -> Restored:
    """What a take-over finds: state records, and the inputs' ranges."""
    latest = {one.key: one for one in written if one.topic is Topic.STATE}
    messages = [StoredMessage(n, 0, one.key, one.value) for n, one in enumerate(latest.values())]
    begin = {Topic(name): offset for name, offset in beginnings.items()}
    given = dict.fromkeys(INPUTS, 0)
    return Restored(messages, given | begin, given | begin | dict(ends or {}))


def taken_over(setup: ShardSetup, found: Restored, now: float = NOW, partition: int = 0) -> TakenOver:
    """The shard that the next owner begins with."""
    return rebuild(partition, setup, found, now)


def a_record(**changes: Any) -> PartitionRecord:
    """What a former owner wrote last."""
    return replace(PartitionRecord(0, 4, member="former", at=NOW - 60), **changes)
