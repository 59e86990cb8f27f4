"""What one decision about a service costs on a shard that holds many: from a command to the planned action."""

from __future__ import annotations

import time
from statistics import median

from autoscaler.core.facts import EventRef
from autoscaler.core.revision import Resources, Revision, RevisionSpec, content_hash
from autoscaler.core.settings import Bounds, EventRules, ServiceSettings
from autoscaler.core.state import Replica, ServiceState
from autoscaler.core.world import Hosts, HostView, ObservedReplica, World
from autoscaler.engine.shard import Shard, ShardSetup
from autoscaler.events.envelope import STRUCTURED_HEADERS
from autoscaler.events.writing import control_event
from autoscaler.ledger.partition_record import PartitionRecord
from autoscaler.ports.stream import Batch, StoredMessage, Topic
from autoscaler.simulator.owner import SimVoter

AT = 1_800_000_000.0
HOSTS, REPLICAS, DECISIONS = 100, 4, 200
SPEC = RevisionSpec(command=("serve",), resources=Resources(100, 2**27))


def _state(service: str) -> ServiceState:
    revision = Revision(1, SPEC, content_hash(SPEC), AT - 1000, standing="stable", event=EventRef("/bench", "d"))
    replicas = tuple(Replica(slot, 1, slot + 1, f"h{slot}", AT - 900, AT - 900, AT - 800) for slot in range(REPLICAS))
    return ServiceState(
        service, 1, 1, "", REPLICAS, initialised=True, revision=1, revisions=(revision,), replicas=replicas, attempts=4
    )


def _seen(service: str) -> tuple[ObservedReplica, ...]:
    return tuple(
        ObservedReplica(
            f"{service}-{slot}", f"shop.{service}.s{slot}.r1.{slot + 1}", service, slot, 1, slot + 1, f"h{slot}",
            "running", healthy=True, healthy_since=AT - 850, started_at=AT - 880,
        )
        for slot in range(REPLICAS)
    )  # fmt: skip


def decision_ms(services: int) -> float:
    """The median of many: a service among so many is scaled up by one, each time another."""
    settings = ServiceSettings("edge", "process", bounds=Bounds(0, 10), events=EventRules(commands=("**",)))
    names = [f"s{number}" for number in range(services)]
    hosts = Hosts(
        HostView(f"h{n}", labels={"zone": f"z{n % 5}"}, cpu_millis=10**7, memory_bytes=2**44, replicas=services)
        for n in range(HOSTS)
    )
    seen = {name: _seen(name) for name in names}

    def look(service: str, _target: str, now: float, token: int, uncertain: frozenset[str], since: float) -> World:
        return World(now, seen[service], hosts, token, uncertain, since)

    setup = ShardSetup("shop", "bench", 1, dict.fromkeys(names, settings), SimVoter(), look)
    shard = Shard(0, setup, PartitionRecord(0, 1), {name: _state(name) for name in names})
    shard.warming = False
    shard.replan()
    shard.actions(AT)
    times = []
    for number in range(DECISIONS):
        name = names[number * 7919 % services]
        wanted = len(shard.states[name].replicas) + 1
        event = control_event(name, "scale", "/bench", {"replicas": min(wanted, 10)})
        message = StoredMessage(number, int(AT * 1000) + number, name.encode(), event, STRUCTURED_HEADERS)
        began = time.perf_counter()
        shard.take(Batch(Topic.CONTROL, 0, [message]), AT)
        assert shard.conclude(AT) is not None
        shard.committed(AT)
        shard.actions(AT)
        times.append(time.perf_counter() - began)
    return 1000 * median(times)
