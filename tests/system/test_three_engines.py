"""Three real engines, one of which hangs, dies or is cut off in the middle of an update: all ends right, and the
engines' own events agree with the trail."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import pytest

from autoscaler.core.facts import EventRef
from tests.parts.images import engine
from tests.system.engine_faults import cut, frozen, killed
from tests.system.grounds import DockerGround
from tests.system.installation import QUICK_UPDATE, Installation, ground_of
from tests.system.nemesis import Nemesis, least_demand, seeds
from tests.system.patience import eventually
from tests.system.promise import Away, Kept, Promise, judge_stops
from tests.system.trail import at_rest, judge, trail, verdict

Fault = Callable[[int], AbstractContextManager[None]]

DEMAND = 6
MIN_HEALTHY_S = 0.3
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


def stops_judged(ground: DockerGround, least: Callable[[float], int], away: Sequence[Away] = ()) -> Kept:
    """P9, and P3, by the engines' own events; no replica is to be spared, so that ``least`` is the demand."""
    serving = set[str]()
    with engine(ground.urls[0]) as client:
        for kind in ("one", "two"):
            serving |= {ground.images[kind], client.inspect_image(ground.images[kind])["Id"]}
    tagged = [e.name for e in ground.watch.of(ground.cluster, "create") if "sha256:" not in e.image]
    assert not tagged, f"made by a name that can move: {tagged}"
    events = ground.watch.of(ground.cluster, "start", "kill", "die")
    return judge_stops(events, Promise(frozenset(serving), MIN_HEALTHY_S, least), away)


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
        kept = stops_judged(ground, lambda _: DEMAND)
        assert not kept.broken
        assert kept.stops >= DEMAND
    finally:
        _remove(ground, foreign)


@pytest.mark.nightly
@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", seeds())
async def test_nemesis_of_a_night(shop: Installation, seed: int) -> None:
    """``AUTOSCALER_NEMESIS_S`` seconds (300) of everything at once for each of ``AUTOSCALER_NEMESIS_SEEDS`` (1,2,3);
    then calm, and all has to be right."""
    ground, nemesis = ground_of(shop), Nemesis(shop, "web", seed)
    foreign = _make_foreign(ground)
    try:
        await nemesis.rage(float(os.environ.get("AUTOSCALER_NEMESIS_S", "300")))
        await nemesis.calm(DEMAND)
        await judge(shop, *nemesis.events)
        assert _foreign_as_made(ground, foreign)
        kept = stops_judged(ground, least_demand(await trail(shop.client, "web"), DEMAND), nemesis.away)
        assert not kept.broken, "\n".join((*kept.broken, *nemesis.told))
        assert kept.stops >= DEMAND
    finally:
        _remove(ground, foreign)
