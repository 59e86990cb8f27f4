"""A broker that is away at the start, dies, or hangs: nothing is done without it, and everything once it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.parts.kafka import Kafka
from tests.system.conftest import new_cluster, on_kafka
from tests.system.engine_faults import frozen
from tests.system.engine_watch import EngineWatch
from tests.system.grounds import DockerGround, Ground, ProcessGround
from tests.system.installation import QUICK_UPDATE, Installation
from tests.system.patience import eventually, throughout
from tests.system.trail import at_rest, judge, verdict

pytestmark = pytest.mark.timeout(180)

PATIENT = QUICK_UPDATE | {"deadline": "60s"}
LEASE_S = 10.0


@pytest.fixture
def broker(start_kafka: Callable[..., Kafka]) -> Kafka:
    return start_kafka()


@pytest.fixture
async def alone(tmp_path: Path, broker: Kafka) -> AsyncIterator[Callable[..., Installation]]:
    """Make an installation on a broker of the test's own, by default with processes."""
    made: list[Installation] = []

    def make(ground: Callable[[str], Ground] | None = None) -> Installation:
        cluster = new_cluster()
        here = ground(cluster) if ground else ProcessGround(cluster, tmp_path / "replicas")
        made.append(Installation(tmp_path, cluster, on_kafka(broker.bootstrap, cluster), here))
        return made[-1]

    yield make
    broker.resume()
    for installation in made:
        await installation.close()


async def test_instance_that_starts_before_its_broker_works_as_soon_as_it_is_there(
    alone: Callable[..., Installation], broker: Kafka
) -> None:
    installation = alone()
    installation.services = {"web": installation.service(replicas=2)}
    await installation.open()
    await asyncio.to_thread(broker.kill)
    member = installation.start()
    await eventually("the first complaint", lambda: member.said("the stream is away"), bool)
    assert installation.ground.standing() == []
    await asyncio.to_thread(broker.restart)
    await installation.wanted("web", 2, revision=1)
    await at_rest(installation, "web")
    await judge(installation)


@pytest.mark.parametrize("how", ["killed", "hanging"])
async def test_broker_that_is_away_in_the_middle_of_an_update_delays_it_and_nothing_more(
    alone: Callable[..., Installation], broker: Kafka, how: str
) -> None:
    installation = alone()
    installation.services = {"web": installation.service(replicas=3, update=PATIENT)}
    await installation.open()
    member = installation.start()
    await at_rest(installation, "web")
    event = await installation.deploy("web", "two", "d-1")
    await eventually(
        "the first new replica", installation.ground.made, lambda made: any(".r2." in m.name for m in made)
    )
    await asyncio.to_thread(broker.kill if how == "killed" else broker.pause)
    await asyncio.sleep(LEASE_S)  # by now nobody may act on what was decided before
    made = len(installation.ground.made())
    await throughout("no further action", installation.ground.made, lambda seen: len(seen) == made, for_s=3.0)
    assert member.alive
    await asyncio.to_thread(broker.restart if how == "killed" else broker.resume)
    told = await verdict(installation, event, within_s=60.0)
    assert told.data["verdict"] == "applied", str(told)
    await installation.wanted("web", 3, revision=2)
    await at_rest(installation, "web")
    await judge(installation, event)


async def test_request_to_end_is_met_in_twenty_seconds_though_broker_and_engine_hang(
    alone: Callable[..., Installation], broker: Kafka, pool: tuple[list[str], EngineWatch]
) -> None:
    urls, watch = pool
    installation = alone(lambda cluster: DockerGround(cluster, urls[:1], watch))
    installation.services = {"web": installation.service(replicas=2, update=PATIENT)}
    await installation.open()
    member = installation.start()
    await at_rest(installation, "web")
    event = await installation.deploy("web", "two", "d-1")
    await eventually(
        "the first new replica", installation.ground.made, lambda made: any(".r2." in m.name for m in made)
    )
    with frozen(1):
        await asyncio.to_thread(broker.pause)
        assert await member.terminated(within_s=20.0) == 0
        await asyncio.to_thread(broker.resume)
    assert len(await asyncio.to_thread(installation.ground.standing)) >= 2, "the replicas go on"
    installation.start()
    told = await verdict(installation, event, within_s=60.0)
    assert told.data["verdict"] == "applied", str(told)
    await at_rest(installation, "web")
    await judge(installation, event)
