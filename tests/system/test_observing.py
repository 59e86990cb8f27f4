"""`run --observe` beside a live member decides and records the same, and touches nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaProducer

from autoscaler.adapters.streams import client_for
from autoscaler.core.facts import EventRef
from autoscaler.events.writing import deployment_event
from autoscaler.ports.stream import Message, StreamClient, Topic, partition_of
from tests.system.installation import SOURCE, STRUCTURED, Installation, Running
from tests.system.patience import eventually, throughout
from tests.system.trail import at_rest, judge, trail, verdict

pytestmark = pytest.mark.timeout(120)

PARTITIONS = 2


async def start_observer(installation: Installation) -> tuple[Running, StreamClient]:
    """The observing instance, and a client on its own topics."""
    code, _, said = await installation.call("topics", "create", "--observe")
    assert code == 0, said
    stream = installation.configuration.stream
    client = client_for(replace(stream, prefix=f"{stream.prefix}.observe"), f"{installation.cluster}-observe")
    await client.open()
    observer = installation.start("", "--observe")
    await eventually("the observer", lambda: observer.said("partition taken over"), lambda n: n == PARTITIONS)
    return observer, client


async def messages(client: StreamClient, topic: Topic) -> list[Message]:
    return [message async for _, message in client.read(topic)]


async def test_observer_records_beside_a_live_member_and_touches_neither_hosts_nor_inputs(
    served: Callable[..., Installation],
) -> None:
    installation = served(PARTITIONS)
    installation.services = {"web": installation.service(replicas=2)}
    await installation.open()
    installation.start()
    await at_rest(installation, "web")
    observer, observed = await start_observer(installation)
    try:
        await _misplaced_deployment(installation)
        told = [r for r in await trail(installation.client) if r.data["verdict"] == "applied"]
        assert told
        await installation.measure("web", 200)
        await installation.wanted("web", 4, revision=2)

        async def demands() -> list[dict[str, int]]:
            return [recorded.data["after"] for recorded in await trail(observed, "web")]

        await eventually("the same decision", demands, lambda seen: bool(seen) and seen[-1] == told_after(4, 2))
        assert observer.alive
        await at_rest(installation, "web")
        await judge(installation)
        forwarded = await messages(installation.client, Topic.DEPLOYMENTS)
        assert len(forwarded) == 2, "the misplaced event and its one copy"
        sources = {message.value.split(b'"source":"')[1].split(b'"')[0] for message in await _metrics(installation)}
        assert not [source for source in sources if b"observe" in source], sources
    finally:
        await observed.close()


def told_after(demand: int, revision: int) -> dict[str, int]:
    return {"revision": revision, "demand": demand}


async def _metrics(installation: Installation) -> list[Message]:
    return [message for message in await messages(installation.client, Topic.METRICS) if message.value]


async def _misplaced_deployment(installation: Installation) -> None:
    """A deployment on the partition that its key does not belong to."""
    value = deployment_event("web", installation.ground.revision("two"), SOURCE, id="d-1")
    producer = AIOKafkaProducer(bootstrap_servers=installation.stream["brokers"])
    await producer.start()
    try:
        wrong = (partition_of(b"web", PARTITIONS) + 1) % PARTITIONS
        topic = f"{installation.cluster}.deployments"
        await producer.send_and_wait(topic, value, key=b"web", partition=wrong, headers=list(STRUCTURED))
    finally:
        await producer.stop()

    await verdict(installation, EventRef(SOURCE, "d-1"))


async def test_observer_alone_changes_nothing_on_the_hosts(served: Callable[..., Installation]) -> None:
    installation = served(PARTITIONS)
    installation.services = {"web": installation.service(replicas=2)}
    await installation.open()
    live = installation.start()
    await at_rest(installation, "web")
    live.kill()
    _, observed = await start_observer(installation)
    try:
        before = installation.ground.standing()
        event = await installation.deploy("web", "two", "d-1")

        async def applied() -> list[str]:
            return [
                r.data["verdict"] for r in await trail(observed, "web") if (r.data["event"] or {}).get("id") == "d-1"
            ]

        await eventually("its own verdict", applied, lambda seen: "applied" in seen)
        await throughout("the same replicas", installation.ground.standing, lambda seen: seen == before, for_s=1.0)
    finally:
        await observed.close()
    installation.start()
    assert (await verdict(installation, event)).data["verdict"] == "applied"
    await at_rest(installation, "web")
    await judge(installation, event)
