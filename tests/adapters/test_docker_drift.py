"""What a hand changes on a container is heard of through the engine's events, named, and never the container's end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core.world import ObservedReplica
from tests.contract.arena_docker import DockerArena
from tests.contract.replicas import Asks, Listener
from tests.parts import images

pytestmark = pytest.mark.timeout(90)

TOLD_S = 1.0
"""Longest time from a change by hand to the change that tells of it."""

Hand = Callable[[Any, ObservedReplica], object]


HANDS: list[tuple[str, Hand, str]] = [
    ("renamed", lambda client, replica: client.rename(replica.id, f"{replica.name}-old"), "it is called "),
    (
        "restarted by the engine",
        lambda client, replica: client.update_container(replica.id, restart_policy={"Name": "always"}),
        "its restart policy is always",
    ),
    (
        "more memory",
        lambda client, replica: client.update_container(replica.id, mem_limit=2**26, memswap_limit=2**27),
        "its memory limit is another",
    ),
    (
        "half a processor",
        lambda client, replica: _update(client, replica.id, NanoCpus=500_000_000),
        "its cpu limit is another",
    ),
    ("paused", lambda client, replica: client.pause(replica.id), "it is paused"),
]


def _update(client: Any, container: str, **limits: int) -> None:
    """What the SDK's own call cannot say."""
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/update"
    client.post(url, json=limits, timeout=60).raise_for_status()


@pytest.mark.parametrize(("hand", "drift"), [pytest.param(*entry[1:], id=entry[0]) for entry in HANDS])
async def test_what_a_hand_changes_is_told_within_a_second(
    arena: DockerArena, asks: Asks, hand: Hand, drift: str
) -> None:
    running = await asks.run(arena.serves())
    assert running.drift == ""
    async with Listener(asks.target) as listener:
        with images.engine(arena.url) as client:
            hand(client, running)
        told = await listener.until(lambda c: c.replica is not None and bool(c.replica.drift), within_s=TOLD_S)
    assert told.replica is not None
    assert told.replica.id == running.id
    assert told.replica.drift.startswith(drift)
    (listed,) = await asks.replicas()
    assert (listed.drift, listed.condition) == (told.replica.drift, "running")


async def test_a_paused_replica_is_sick_until_it_goes_on_and_can_be_stopped_as_it_is(
    arena: DockerArena, asks: Asks
) -> None:
    running = await asks.run(arena.serves())
    with images.engine(arena.url) as client:
        client.pause(running.id)
        assert (await asks.shown(running.name)).healthy is False
        client.unpause(running.id)
        assert replace(await asks.shown(running.name), address={}) == replace(running, address={})
        client.pause(running.id)
    paused = await asks.shown(running.name)
    assert (await asks.stop(paused, grace_s=1.0)).result == "done"
    assert (await asks.ended(running.name)).condition == "exited"


async def test_a_copy_with_our_labels_is_told_from_the_replica_by_its_name(arena: DockerArena, asks: Asks) -> None:
    running = await asks.run(arena.serves())
    with images.engine(arena.url) as client:
        labels = client.inspect_container(running.id)["Config"]["Labels"]
        client.start(client.create_container("t/httpd:1", name=f"{arena.cluster}-copy", labels=labels)["Id"])
    drifts = {replica.name: replica.drift for replica in await asks.replicas()}
    assert drifts[running.name] == ""
    assert drifts[f"{arena.cluster}-copy"].startswith(f"it is called {arena.cluster}-copy")
