"""`autoscaler run` with two real engines and a real broker: what a user does, and what happens to engines meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from autoscaler.core.facts import EventRef
from autoscaler.ports.stream import Topic
from tests.parts.images import engine
from tests.system.engine_faults import frozen, killed
from tests.system.grounds import DockerGround, Standing
from tests.system.installation import QUICK_UPDATE, Installation, ground_of
from tests.system.patience import eventually, throughout
from tests.system.trail import at_rest, judge, trail, verdict

pytestmark = pytest.mark.timeout(150)


@pytest.fixture
async def shop(pooled: Callable[..., Installation]) -> Installation:
    """A service with two replicas, one on each host, at rest."""
    installation = pooled()
    installation.services = {"web": installation.service(replicas=2, update=QUICK_UPDATE | {"deadline": "60s"})}
    await installation.open()
    installation.start()
    await at_rest(installation, "web")
    return installation


def other_host(installation: Installation) -> DockerGround:
    """What runs on h2 alone, to be asked while h1 does not answer."""
    ground = ground_of(installation)
    return DockerGround(installation.cluster, ground.urls[1:], ground.watch)


def by_host(standing: list[Standing]) -> dict[str, int]:
    return {host: sum(1 for s in standing if s.host == host and s.running) for host in ("h1", "h2")}


async def test_metric_scales_a_deployment_updates_and_a_bad_one_is_rolled_back(shop: Installation) -> None:
    assert by_host(shop.ground.standing()) == {"h1": 1, "h2": 1}
    code, _, said = await shop.call("emit", "metric", "web", "load=200")
    assert code == 0, said
    await shop.wanted("web", 4, revision=1)
    assert by_host(shop.ground.standing()) == {"h1": 2, "h2": 2}

    emit = ("emit", "deployment", "web", "--wait", "--timeout", "60s")
    code, out, said = await shop.call(*emit, "--image", "t/httpd:2", "--id", "good", within_s=70.0)
    assert (code, out.splitlines()[1][:8]) == (0, "applied:"), said
    await shop.wanted("web", 4, revision=2)
    assert by_host(shop.ground.standing()) == {"h1": 2, "h2": 2}

    code, out, said = await shop.call(*emit, "--image", "t/quits:1", "--id", "bad", within_s=70.0)
    assert code == 1, said
    assert out.splitlines()[1].startswith("rolled_back: 1 of 4 new replicas failed"), out
    assert "exited with code 3" in out
    await shop.wanted("web", 4, revision=2)

    code, out, said = await shop.call("explain", "web", "--json")
    assert code == 0, said
    code, out, said = await shop.call("audit", "web", "--verify")
    assert code == 0, said
    state = (await judge(shop, *await _deployed(shop)))["web"]
    assert (state.demand, state.revision) == (4, 2)


async def _deployed(installation: Installation) -> list[EventRef]:
    found = []
    async for _, message in installation.client.read(Topic.DEPLOYMENTS):
        event = json.loads(message.value or b"")
        found.append(EventRef(event["source"], event["id"]))
    return found


async def test_revision_that_never_becomes_healthy_is_rolled_back_with_the_reason(shop: Installation) -> None:
    event = await shop.deploy("web", "sick", "d-sick")
    told = await verdict(shop, event)
    assert told.data["verdict"] == "rolled_back"
    assert "404" in told.data["reason"]["text"] or "healthy" in told.data["reason"]["text"]
    assert told.data["after"] == {"revision": 1, "demand": 2}
    await shop.wanted("web", 2, revision=1)
    await judge(shop, event)


async def test_killed_container_is_replaced_within_two_seconds_and_a_removed_one_as_well(shop: Installation) -> None:
    ground = ground_of(shop)
    foreign = _make_foreign(ground)
    try:
        for harm in (ground.kill, ground.remove):
            before = {made.name for made in ground.made()}
            victim = ground.standing()[0].name
            harmed_at = time.time()
            harm(victim)
            made = await eventually(
                "a successor", lambda before=before: [m for m in ground.made() if m.name not in before], bool
            )
            assert made[0].at - harmed_at < 2.0
            await shop.wanted("web", 2, revision=1)
            await at_rest(shop, "web")
        await judge(shop)
        with engine(ground.urls[0]) as client:
            assert client.inspect_container(foreign)["State"]["Running"]
    finally:
        with engine(ground.urls[0]) as client:
            client.remove_container(foreign, force=True)


def _make_foreign(ground: DockerGround) -> str:
    """A container that is named like one of ours and carries no label."""
    with engine(ground.urls[0]) as client:
        made = client.create_container("t/stubborn:1", name=f"{ground.cluster}.web.s0.r9.1")
        client.start(made["Id"])
        return str(made["Id"])


async def test_while_one_engine_hangs_the_other_goes_on_and_afterwards_all_is_right(shop: Installation) -> None:
    only = other_host(shop)
    event = await shop.deploy("web", "two", "d-two")
    await eventually("the first new replica", shop.ground.made, lambda made: any(".r2." in m.name for m in made))
    with frozen(1):
        await eventually("the silence of h1", lambda: shop.members[0].said("does not answer", '"h1"'), bool)
        await shop.measure("web", 300)
        await eventually("more on h2", only.standing, lambda seen: sum(s.running for s in seen) >= 4, within_s=40.0)
    told = await verdict(shop, event, within_s=60.0)
    assert told.data["verdict"] == "applied", str(told)
    await shop.wanted("web", 6, revision=2)
    await at_rest(shop, "web")
    await judge(shop, event)


async def test_engine_that_is_killed_in_the_middle_of_an_update_and_comes_back_ends_it_right(
    shop: Installation,
) -> None:
    await shop.measure("web", 200)
    await shop.wanted("web", 4, revision=1)
    await at_rest(shop, "web")
    event = await shop.deploy("web", "two", "d-two")
    await eventually("the first new replica", shop.ground.made, lambda made: any(".r2." in m.name for m in made))
    with killed(1):
        await eventually("the loss of h1", lambda: shop.members[0].said("does not answer", '"h1"'), bool)
    told = await verdict(shop, event, within_s=80.0)
    assert told.data["verdict"] == "applied", str(told)
    await shop.wanted("web", 4, revision=2)
    await at_rest(shop, "web")
    await judge(shop, event)


async def test_engine_that_is_down_at_the_start_is_used_when_it_comes(pooled: Callable[..., Installation]) -> None:
    installation = pooled()
    installation.services = {"web": installation.service(replicas=2)}
    await installation.open()
    only = other_host(installation)
    with killed(1):
        member = installation.start()
        await eventually("replicas on the other", only.standing, lambda seen: sum(s.running for s in seen) == 2)
    await eventually("h1 in sight", lambda: member.said("a host answers", '"h1"'), bool)
    await at_rest(installation, "web")
    await installation.measure("web", 200)
    await installation.wanted("web", 4, revision=1)
    assert by_host(installation.ground.standing()) == {"h1": 2, "h2": 2}
    await judge(installation)


async def test_port_that_something_else_holds_on_one_host_is_used_on_the_other(
    pooled: Callable[..., Installation],
) -> None:
    installation = pooled()
    ground = ground_of(installation)
    revision = ground.revision("one") | {"ports": {"http": {"container": 8080, "host": 18080}}}
    installation.services = {"web": installation.service(replicas=1, revision=revision)}
    await installation.open()
    with engine(ground.urls[0]) as client:
        config = client.create_host_config(port_bindings={8080: 18080})
        foreign = client.create_container("t/httpd:1", host_config=config, ports=[8080])["Id"]
        client.start(foreign)
    try:
        installation.start()
        await installation.wanted("web", 1, revision=1)
        assert by_host(ground.standing()) == {"h1": 0, "h2": 1}
        await at_rest(installation, "web")
        await judge(installation)
    finally:
        with engine(ground.urls[0]) as client:
            client.remove_container(foreign, force=True)


async def test_first_revision_that_exits_at_once_halts_without_a_storm_of_containers(
    pooled: Callable[..., Installation],
) -> None:
    installation = pooled()
    installation.services = {"web": installation.service(replicas=2, revision=installation.ground.revision("quits"))}
    await installation.open()
    installation.start()

    async def halted() -> list[str]:
        return [str(r) for r in await trail(installation.client) if r.data["verdict"] == "failed"]

    await eventually("a verdict", halted, bool)
    count = len(installation.ground.made())
    await throughout("no further container", installation.ground.made, lambda made: len(made) == count, for_s=3.0)
    assert count <= 3
