"""Two members, a budget over services that each of them owns one of, and nothing between them but the state topic: the
one of higher priority takes what the other has and gives it back, over the death of the member that owns the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from autoscaler.ports.stream import partition_of
from tests.system.installation import QUICK_UPDATE, Installation
from tests.system.patience import eventually
from tests.system.trail import at_rest, judge, owners, states, trail

pytestmark = pytest.mark.timeout(150)

LIMIT = 6


async def demands(installation: Installation, web: tuple[int, int], job: tuple[int, int]) -> None:
    """Wait until both have so many, and ask for so many."""

    async def look() -> dict[str, tuple[int, int]]:
        return {name: (state.demand, state.asking) for name, state in (await states(installation.client)).items()}

    try:
        await eventually(f"web {web} and job {job}", look, lambda seen: seen == {"web": web, "job": job})
    except AssertionError as error:
        raise AssertionError(f"{error}\n{installation.logs()}") from None


async def test_a_budget_holds_between_members_and_over_the_death_of_one(
    served: Callable[..., Installation],
) -> None:
    shop = served(partitions=2)
    assert partition_of(b"job", 2) != partition_of(b"web", 2), "each member is to own one of the services"
    shop.extra = {"budgets": {"shop": {"replicas": LIMIT, "cost_per_hour": 6, "prices": {"replica": 1}}}}
    scaling = {"down_window": "0s"}
    shop.services = {
        "web": shop.service(1, priority=80, scaling=scaling, update=QUICK_UPDATE),
        "job": shop.service(1, priority=20, scaling=scaling, update=QUICK_UPDATE),
    }
    await shop.open()
    first = shop.start(AUTOSCALER_STREAM__MEMBER="m-0")
    for name in ("web", "job"):
        await at_rest(shop, name)
    second = shop.start(AUTOSCALER_STREAM__MEMBER="m-1")

    async def who() -> dict[int, str]:
        return {partition: record.member for partition, record in (await owners(shop.client)).items()}

    owned = await eventually("one partition each", who, lambda seen: set(seen.values()) == {"m-0", "m-1"})
    await shop.measure("job", 50 * 5)
    await demands(shop, (1, 1), (5, 5))
    await shop.measure("web", 50 * 4)
    await demands(shop, (4, 4), (2, 5))
    for name, count in (("web", 4), ("job", 2)):
        await shop.wanted(name, count, revision=1)

    dying = {"m-0": first, "m-1": second}[owned[partition_of(b"job", 2)]]
    dying.kill()
    event = await shop.command("web", "scale", "fewer", replicas=2)
    await demands(shop, (2, 2), (4, 5))
    for name, count in (("web", 2), ("job", 4)):
        await shop.wanted(name, count, revision=1)
    await judge(shop, event)

    records = await trail(shop.client, "job")
    clamps = [clamp for record in records for clamp in record.data["clamps"] if clamp["guard"] == "budget"]
    assert (clamps[0]["before"], clamps[0]["after"]) == (5, 2), clamps
    assert "budget shop" in clamps[0]["text"]
    assert "web (priority 80)" in clamps[0]["text"]
    most = await _most_at_once(shop)
    assert most <= LIMIT, "nobody grew before the other had given way"


async def _most_at_once(installation: Installation) -> int:
    """The highest sum of both demands, by the order of the records on one broker's clock."""
    records = sorted(await trail(installation.client), key=lambda record: record.at)
    now: dict[str, int] = {}
    most = 0
    for chain, demand in ((record.chain, record.data["after"]["demand"]) for record in records):
        now[chain] = demand
        most = max(most, sum(now.values()))
    return most
