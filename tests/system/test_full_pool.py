"""Two members, an engine that is full, and services of different priority that each of them owns one of: one gives way
to the other and comes back, with nothing between the members but what the engine shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from autoscaler.core.state import ServiceState
from autoscaler.ports.stream import partition_of
from tests.system.grounds import DockerGround
from tests.system.installation import QUICK_UPDATE, Installation, ground_of
from tests.system.patience import eventually
from tests.system.trail import at_rest, judge, noted, owners, states

pytestmark = pytest.mark.timeout(150)


def crowded(installation: Installation) -> None:
    """An engine that holds two replicas; ``job``, of low priority, has both, and keeps one; ``web`` has none."""
    target = installation.ground.target()
    target["hosts"][0]["capacity"] = {"cpu": 1}
    installation.extra = {"targets": {"here": target}}
    revision = installation.ground.revision("one") | {"resources": {"cpu": "500m"}}

    def service(least: int, first: int, priority: int) -> dict[str, Any]:
        replicas = {"min": least, "max": 4, "initial": first}
        return installation.service(priority=priority, revision=revision, update=QUICK_UPDATE) | {"replicas": replicas}

    installation.services = {"job": service(1, 2, 20), "web": service(0, 0, 80)}


def held_at_once(ground: DockerGround) -> int:
    """The most containers that ever ran at once, by the engine's own events."""
    happened = [(e.at, 1) for e in ground.watch.of(ground.cluster, "start")]
    happened += [(e.at, -1) for e in ground.watch.of(ground.cluster, "die")]
    running = most = 0
    for _, step in sorted(happened):
        running += step
        most = max(most, running)
    return most


async def test_service_of_lower_priority_gives_way_on_a_full_engine_and_comes_back(
    served: Callable[..., Installation],
) -> None:
    shop = served(partitions=2)
    assert partition_of(b"job", 2) != partition_of(b"web", 2), "each member is to own one of the services"
    crowded(shop)
    await shop.open()
    shop.start(AUTOSCALER_STREAM__MEMBER="m-0")
    await at_rest(shop, "job")
    shop.start(AUTOSCALER_STREAM__MEMBER="m-1")

    async def who() -> set[str]:
        return {record.member for record in (await owners(shop.client)).values()}

    await eventually("one partition for each member", who, lambda members: members == {"m-0", "m-1"})

    code, _, said = await shop.call("scale", "web", "2")
    assert code == 0, said

    async def both() -> dict[str, ServiceState]:
        return await states(shop.client)

    def settled(seen: dict[str, ServiceState]) -> bool:
        web = [r for r in seen["web"].replicas if r.available_at is not None]
        return len(web) == 1 and len(seen["job"].replicas) == 1

    seen = await eventually("one of each", both, settled)
    told = json.loads((await shop.call("status", "job", "--json"))[1])
    assert told["pending"].startswith("s1 displaced by web; no host: 1 lack cpu"), told
    assert (told["desired"], told["actual"]) == (2, 1)
    assert seen["web"].pending is not None, "job keeps its least number"
    claim = await noted(shop, "the claim", lambda r: "in place of job.s1.r1.2 (priority 20), by priority 80" in str(r))
    way = await noted(shop, "the way given", lambda r: "s1 gives way to web (priority 80 over 20)" in str(r))
    assert claim.at <= way.at

    code, _, said = await shop.call("scale", "web", "0")
    assert code == 0, said
    back = await at_rest(shop, "job", within_s=12.0)
    assert (len(back.replicas), back.pending, back.displaced) == (2, None, ())
    ground = ground_of(shop)
    assert held_at_once(ground) == 2
    await eventually("web is gone", both, lambda now: now["web"].replicas == ())
    await judge(shop)
