"""From an event published to its decision committed and readable, beside a bare consume -> transactional produce loop.

`autoscaler run --observe` decides on pretended hosts, so that no container costs time; both sides are measured by the
same publisher and the same read-committed reader, in turns.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from statistics import median

from bench.child import Child
from bench.cluster import PARTITIONS, PER_REPLICA, Cluster, policies, settled_state
from bench.figure import Figure, difference, percentile
from bench.program import Program
from bench.sightings import Publisher, Watch
from bench.stage import Stage

EVENTS, QUICK_EVENTS = 200, 20
EVERY_S = 0.05
DECIDED_S = 30.0
SERVICES = 200
"""So many that none gets more than a few replicas: a decision is as large in the last run as in the first."""

WARM_UP = 50
DEMAND = 0


class Turns:
    """Latencies in milliseconds of ours and of the control, run by run."""

    def __init__(self, cluster: Cluster, publisher: Publisher, watch: Watch) -> None:
        self._cluster = cluster
        self._publisher = publisher
        self._watch = watch
        self._sent = 0
        self.ours: list[list[float]] = []
        self.control: list[list[float]] = []

    async def run(self, topic: str, count: int, name_of: Callable[[bytes], str]) -> list[float]:
        """Publish at a steady rate, every event one that changes a demand; how long each took to be seen decided."""
        names, first = [], len(self._watch.seen)
        services = self._cluster.names()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for number in range(count):
            await asyncio.sleep(max(0.0, begun + number * EVERY_S - loop.time()))
            step = self._sent // SERVICES + DEMAND + 1
            service = services[self._sent % SERVICES]
            self._sent += 1
            names.append(f"{service}/{step}")
            await self._publisher.sample(topic, service, step * PER_REPLICA, names[-1])
        seen = await self._decided(names, first, name_of)
        return [1000 * (seen[name] - self._publisher.sent_at[name]) for name in names]

    async def _decided(self, names: list[str], first: int, name_of: Callable[[bytes], str]) -> dict[str, float]:
        """When the decision of each event was seen."""
        seen: dict[str, float] = {}
        give_up_at = asyncio.get_running_loop().time() + DECIDED_S
        while missing := [name for name in names if name not in seen]:
            assert asyncio.get_running_loop().time() < give_up_at, (
                f"no decision was seen for {len(missing)} of {len(names)} events: {', '.join(missing[:5])}"
            )
            await asyncio.sleep(0.1)
            for at, _, value in self._watch.seen[first:]:
                seen.setdefault(name_of(value), at)
            first = len(self._watch.seen)
        return seen


def decided_for(value: bytes) -> str:
    """The id of the event that a record decides, "" where it is no audit event of scaling."""
    if b'"specversion"' not in value or b'"kind":"scale"' not in value:
        return ""
    data = json.loads(value)["data"]
    # By what was decided: a sample of another metric, such as of the replicas' own use, may be named as the cause.
    return f"{data['service']}/{data['after']['demand']}"


def copied_from(value: bytes) -> str:
    """The id of the event that the control has copied."""
    return str(json.loads(value)["id"])


def sizes_of(watch: Watch) -> tuple[list[int], list[int]]:
    """How large the records are that ours writes for the newest decision: audit, state."""
    audits = [(value, json.loads(value)) for _, topic, value in watch.seen if topic.endswith(".audit")]
    states = [(value, json.loads(value)) for _, topic, value in watch.seen if topic.endswith(".state")]
    scale = next(event for _, event in reversed(audits) if event["data"]["kind"] == "scale")
    service, cause = scale["subject"], scale["causationid"]
    decision = [len(value) for value, event in audits if event.get("causationid") == cause]
    state = next(len(value) for value, record in reversed(states) if record.get("service") == service)
    partition = next(len(value) for value, record in reversed(states) if "service" not in record)
    return decision, [state, partition]


async def measure(stage: Stage, profile: str | None = None) -> list[Figure]:
    """The decision's latency and what we add to the control's."""
    cluster = Cluster.on(stage, "latency", SERVICES)
    cluster.write(policies=policies("0%"))
    await cluster.create_topics(observe=True)
    control = Cluster.on(stage, "bare", SERVICES)
    await control.create_topics()
    del profile  # of the rates alone
    count = QUICK_EVENTS if stage.quick else EVENTS
    audit = cluster.topic("audit", observe=True)
    async with AsyncExitStack() as stack:
        await cluster.seed(settled_state(0), None, observe=True)
        await stack.enter_async_context(Program(cluster, "--observe"))
        watch = await stack.enter_async_context(Watch(stage.brokers, audit, cluster.topic("state", observe=True)))
        publisher = await stack.enter_async_context(Publisher(stage.brokers))
        ours = Turns(cluster, publisher, watch)
        await ours.run(cluster.topic("metrics"), WARM_UP, decided_for)
        audits, states = sizes_of(watch)
        bare_watch = await stack.enter_async_context(Watch(stage.brokers, control.topic("audit")))
        settings = {
            "brokers": stage.brokers,
            "group": control.name,
            "inputs": [control.topic(role) for role in ("deployments", "control", "metrics")],
            "partitions": PARTITIONS,
            "audit": control.topic("audit"),
            "state": control.topic("state"),
            "audit_bytes": audits,
            "state_bytes": states,
        }
        await stack.enter_async_context(Child("plain_loop", settings, control.directory / "log"))
        bare = Turns(control, publisher, bare_watch)
        await bare.run(control.topic("metrics"), WARM_UP, copied_from)
        for _ in range(stage.repeats):
            ours.ours.append(await ours.run(cluster.topic("metrics"), count, decided_for))
            ours.control.append(await bare.run(control.topic("metrics"), count, copied_from))
    note = f"{len(audits)} audit and {len(states)} state records in a transaction, {sum(audits) + sum(states)} bytes"
    return [figure for share, bound in ((0.5, 2), (0.99, 10)) for figure in _figures(ours, share, bound, note)]


def _figures(turns: Turns, share: float, bound: int, note: str) -> list[Figure]:
    ours = [percentile(run, share) for run in turns.ours]
    control = [percentile(run, share) for run in turns.control]
    added, at = difference(ours, control), f"p{share * 100:.0f}"
    whole = f"event published -> decision readable, {len(turns.ours)} runs of {len(turns.ours[0])}; {note}"
    return [
        Figure(f"event_to_decision_{at}", "ms", median(ours), median(control), None, whole),
        Figure(
            f"event_to_decision_added_{at}", "ms", added, median(control), f"ours <= {bound}",
            "what ours adds to the bare loop; the ratio is that of the whole", of=median(ours),
        ),
    ]  # fmt: skip
