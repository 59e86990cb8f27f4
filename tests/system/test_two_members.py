"""Two members on one broker share the services; whatever ends one of them, nothing is lost or done twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import count

import httpx
import psutil
import pytest

from autoscaler.core.facts import EventRef
from autoscaler.ports.stream import partition_of
from tests.parts.processes import free_ports
from tests.system.grounds import DockerGround
from tests.system.installation import QUICK_UPDATE, Installation, Running
from tests.system.patience import eventually
from tests.system.trail import at_rest, judge, owners, verdict

pytestmark = pytest.mark.timeout(150)

PARTITIONS = 4
SESSION_S = 6.0


def one_service_each() -> list[str]:
    """The name of a service for each partition, by partition."""
    named: dict[int, str] = {}
    for number in count():
        named.setdefault(partition_of(f"web{number}".encode(), PARTITIONS), f"web{number}")
        if len(named) == PARTITIONS:
            return [named[partition] for partition in range(PARTITIONS)]
    raise AssertionError


SERVICES = one_service_each()


async def shared_out(installation: Installation, *members: Running) -> dict[int, str]:
    """Who owns which partition, once every member has some and all are taken over."""

    async def look() -> dict[int, str]:
        return {partition: record.member for partition, record in (await owners(installation.client)).items()}

    def holds(seen: dict[int, str]) -> bool:
        return len(seen) == PARTITIONS and len(set(seen.values())) == len(members)

    assert all(member.alive for member in members)
    return await eventually(f"{PARTITIONS} partitions shared by {len(members)}", look, holds)


@pytest.fixture
async def pair(served: Callable[..., Installation]) -> tuple[Installation, Running, Running]:
    """An installation at rest with two members, the first named m-0 and the second m-1, each of which listens for the
    services that it owns."""
    installation = served(PARTITIONS)
    update = QUICK_UPDATE | {"deadline": "60s"}
    listen = dict(zip(SERVICES, (f"127.0.0.1:{port}" for port in free_ports(len(SERVICES))), strict=True))
    installation.services = {
        name: installation.service(replicas=1, update=update, route={"listen": listen[name], "port": "http"})
        for name in SERVICES
    }
    await installation.open()
    first = installation.start(AUTOSCALER_STREAM__MEMBER="m-0")
    for name in SERVICES:
        await at_rest(installation, name)
    second = installation.start(AUTOSCALER_STREAM__MEMBER="m-1")
    await shared_out(installation, first, second)
    for name in SERVICES:
        await eventually(f"an answer of {name}", partial(answer, listen[name]), lambda text: text == "version 1\n")
    return installation, first, second


async def answer(address: str) -> str:
    """What the router there says, or why nobody does."""
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        try:
            return (await client.get(f"http://{address}")).text
        except httpx.HTTPError as error:
            return repr(error)


async def deploy_all(installation: Installation, kind: str, stem: str) -> list[EventRef]:
    return [await installation.deploy(name, kind, f"{stem}-{name}") for name in SERVICES]


async def begun(installation: Installation) -> None:
    """Wait until an update has made its first replicas."""
    await eventually(
        "the first new replicas", installation.ground.made, lambda made: any(".r2." in m.name for m in made)
    )


async def all_applied(installation: Installation, events: list[EventRef], revision: int = 2) -> None:
    """Every deployment is applied, and everything is as if nothing had happened."""
    for event in events:
        told = await verdict(installation, event, within_s=60.0)
        assert told.data["verdict"] == "applied", str(told)
    for name in SERVICES:
        await installation.wanted(name, 1, revision)
        await at_rest(installation, name)
    await judge(installation, *events)
    ground = installation.ground
    assert isinstance(ground, DockerGround)
    for name in SERVICES:
        made = [e.token for e in ground.watch.of(ground.cluster, "create") if f".{name}." in e.name]
        assert made == sorted(made), f"{name}: a former owner made a container after a later one: tokens {made}"


async def test_services_of_a_killed_member_are_handed_over_in_the_middle_of_their_deployment(
    pair: tuple[Installation, Running, Running],
) -> None:
    installation, first, second = pair
    events = await deploy_all(installation, "two", "d")
    await begun(installation)
    second.kill()
    await all_applied(installation, events)
    assert set((await shared_out(installation, first)).values()) == {"m-0"}


async def test_member_that_stood_still_longer_than_its_session_is_fenced_and_does_nothing_more(
    pair: tuple[Installation, Running, Running],
) -> None:
    installation, first, second = pair
    before = await owners(installation.client)
    events = await deploy_all(installation, "two", "d")
    await begun(installation)
    second.freeze()
    frozen_at = time.monotonic()
    await shared_out(installation, first)
    assert time.monotonic() - frozen_at < 3 * SESSION_S
    second.thaw()
    await all_applied(installation, events)
    after = await shared_out(installation, first, second)
    assert set(after.values()) == {"m-0", "m-1"}
    tokens = {partition: record.token for partition, record in (await owners(installation.client)).items()}
    assert all(tokens[partition] > before[partition].token for partition in tokens)


async def test_member_that_stood_still_right_before_a_call_finds_it_done_by_its_successor(
    served: Callable[..., Installation],
) -> None:
    installation = served(1)
    installation.services = {"web": installation.service(replicas=2, update=QUICK_UPDATE | {"deadline": "60s"})}
    await installation.open()
    first = installation.start(AUTOSCALER_STREAM__MEMBER="m-0")
    await at_rest(installation, "web")
    first.kill()
    event = await installation.deploy("web", "two", "d-1")
    stopped = installation.start("after_lease_check:2=stop", AUTOSCALER_STREAM__MEMBER="m-0")
    await eventually("the stop", lambda: psutil.Process(stopped.process.pid).status(), lambda s: s == "stopped")
    installation.start(AUTOSCALER_STREAM__MEMBER="m-1")
    told = await verdict(installation, event, within_s=60.0)
    assert told.data["verdict"] == "applied", str(told)
    stopped.thaw()
    await eventually("the former owner's fencing", lambda: stopped.said("another member"), bool)
    await installation.wanted("web", 2, revision=2)
    await at_rest(installation, "web")
    await judge(installation, event)


async def test_member_that_is_asked_to_end_hands_over_at_once(pair: tuple[Installation, Running, Running]) -> None:
    installation, first, second = pair
    events = await deploy_all(installation, "two", "d")
    await begun(installation)
    asked_at = time.monotonic()
    assert await second.terminated() == 0
    assert set((await shared_out(installation, first)).values()) == {"m-0"}
    assert time.monotonic() - asked_at < SESSION_S, "quicker than a session's end"
    await all_applied(installation, events)


async def test_rolling_restart_of_all_members_in_the_middle_of_deployments_loses_nothing(
    pair: tuple[Installation, Running, Running],
) -> None:
    installation, first, second = pair
    events = await deploy_all(installation, "two", "d")
    await begun(installation)
    assert await first.terminated() == 0
    third = installation.start(AUTOSCALER_STREAM__MEMBER="m-0")
    await eventually("the first one's return", lambda: third.said("partition taken over"), bool)
    assert await second.terminated() == 0
    fourth = installation.start(AUTOSCALER_STREAM__MEMBER="m-1")
    await shared_out(installation, third, fourth)
    await all_applied(installation, events)


async def test_metric_for_each_service_reaches_its_owner(pair: tuple[Installation, Running, Running]) -> None:
    installation, _, _ = pair
    for name in SERVICES:
        await installation.measure(name, 100)
    for name in SERVICES:
        await installation.wanted(name, 2, revision=1)
        await at_rest(installation, name)
    await judge(installation)
