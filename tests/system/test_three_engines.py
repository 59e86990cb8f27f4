"""Three real engines, one of which hangs, dies or is cut off in the middle of an update: all ends right, and the
engines' own events agree with the trail."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from autoscaler.core.facts import EventRef
from autoscaler.simulator.chance import Chance
from tests.parts.images import engine
from tests.system.engine_faults import cut, frozen, killed
from tests.system.grounds import DockerGround
from tests.system.installation import QUICK_UPDATE, Installation, ground_of
from tests.system.patience import eventually
from tests.system.trail import at_rest, judge, trail, verdict, verdicts

Fault = Callable[[int], AbstractContextManager[None]]

DEMAND = 6
SURGE = 2
PATIENT = QUICK_UPDATE | {"deadline": "60s", "startup_deadline": "8s", "max_surge": SURGE, "max_unavailable": 0}


@pytest.fixture
async def shop(pooled: Callable[..., Installation]) -> Installation:
    """Six replicas on three hosts, at rest."""
    installation = pooled(engines=3)
    installation.services = {"web": installation.service(replicas=DEMAND, update=PATIENT)}
    await installation.open()
    installation.start()
    await at_rest(installation, "web")
    return installation


def _make_foreign(ground: DockerGround) -> list[str]:
    """On each engine a container that is named like one of ours and carries no label."""
    made = []
    for url in ground.urls:
        with engine(url) as client:
            made.append(str(client.create_container("t/stubborn:1", name=f"{ground.cluster}.web.s0.r99.1")["Id"]))
    return made


def _foreign_as_made(ground: DockerGround, made: list[str]) -> bool:
    """Never started, never removed: not even an engine's own restart moves what was only created."""
    for url, container in zip(ground.urls, made, strict=True):
        with engine(url) as client:
            if client.inspect_container(container)["State"]["Status"] != "created":
                return False
    return True


def _remove(ground: DockerGround, made: list[str]) -> None:
    for url, container in zip(ground.urls, made, strict=True):
        with engine(url) as client:
            client.remove_container(container, force=True)


def most_at_once(ground: DockerGround, since: float) -> int:
    """The most replicas that ran at the same time, by the engines' own events."""
    running: set[str] = set()
    most = 0
    for event in ground.watch.of(ground.cluster, "start", "die"):
        (running.add if event.action == "start" else running.discard)(f"{event.engine} {event.name}")
        if event.at >= since:
            most = max(most, len(running))
    return most


@pytest.mark.timeout(240)
async def test_update_of_six_ends_right_whatever_befalls_one_of_three_hosts_in_its_middle(shop: Installation) -> None:
    ground = ground_of(shop)
    foreign = _make_foreign(ground)
    events: list[EventRef] = []
    faults: list[tuple[str, Fault, int]] = [("hang", frozen, 1), ("death", killed, 2), ("cut", cut, 3)]
    try:
        assert Counter(replica.host for replica in ground.standing()) == {"h1": 2, "h2": 2, "h3": 2}
        for number, (name, fault, host) in enumerate(faults, start=2):
            began = time.time()
            event = await shop.deploy(
                "web", "two" if number % 2 == 0 else "one", f"d-{name}", labels={"n": str(number)}
            )
            events.append(event)
            made = f".r{number}."
            await eventually(
                "the first new replica", ground.made, lambda seen, made=made: any(made in m.name for m in seen)
            )
            silences = shop.members[0].said("does not answer", f'"h{host}"')
            with fault(host):
                await eventually(
                    f"the silence of h{host}",
                    lambda host=host, silences=silences: (
                        shop.members[0].said("does not answer", f'"h{host}"') > silences
                    ),
                    bool,
                )
                await asyncio.sleep(1.0)
            told = await verdict(shop, event, within_s=90.0)
            assert told.data["verdict"] == "applied", f"{name}: {told}"
            await shop.wanted("web", DEMAND, revision=number)
            await at_rest(shop, "web")
            # What ran on the host that fell silent may run beside its successors until the host is back.
            assert most_at_once(ground, began) <= DEMAND + SURGE + DEMAND // 3, name
        await judge(shop, *events)
        assert _foreign_as_made(ground, foreign)
    finally:
        _remove(ground, foreign)


@pytest.mark.nightly
@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", range(int(os.environ.get("AUTOSCALER_SOAK_ROUNDS", "3"))))
async def test_nemesis_of_a_night(shop: Installation, seed: int) -> None:
    """Faults of hosts and of the member, one after another while events come; then calm, and all has to be right."""
    chance, ground = Chance(seed), ground_of(shop)
    foreign = _make_foreign(ground)
    events: list[EventRef] = []
    try:
        for number in range(20):
            kind = chance.pick(["two", "one", "two", "quits", "sick"])
            event = await shop.deploy("web", kind, f"d-{number}", labels={"n": str(number)})
            events.append(event)
            if chance.happens(0.5):
                events.append(await shop.command("web", "scale", f"c-{number}", replicas=3 + chance.below(5)))
            await asyncio.sleep(chance.within(0.0, 4.0))
            if chance.happens(0.3):
                shop.members[-1].kill()
                shop.start()
            with chance.pick([frozen, killed, cut])(1 + chance.below(3)):
                await asyncio.sleep(chance.within(1.0, 25.0))
            if chance.happens(0.5):
                await verdict(shop, event, within_s=180.0)
        events.append(await shop.command("web", "approve", "c-calm"))
        events.append(await shop.deploy("web", "one", "d-calm", labels={"n": "calm"}))
        events.append(await shop.command("web", "scale", "c-last", replicas=DEMAND))

        async def all_told() -> bool:
            seen = await trail(shop.client)
            return all(verdicts(seen, event) for event in events)

        await eventually("a verdict of each event", all_told, bool, within_s=300.0)
        await at_rest(shop, "web", within_s=180.0)
        await judge(shop, *events)
        assert _foreign_as_made(ground, foreign)
    finally:
        _remove(ground, foreign)
