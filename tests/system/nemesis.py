"""All at once that can befall an installation on three engines, by seed: events, hosts, containers, the member."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from docker.errors import DockerException

from autoscaler.core.facts import EventRef
from autoscaler.simulator.chance import Chance
from tests.system.engine_faults import cut, frozen, killed
from tests.system.installation import Installation, ground_of
from tests.system.patience import eventually
from tests.system.promise import Away
from tests.system.trail import Recorded, at_rest, trail, verdicts

KINDS = [(4.0, "one"), (4.0, "two"), (1.0, "quits"), (1.0, "sick")]
LATE_S = 60.0
"""So long after a smaller demand was in force, a stop that it wanted may still be carried out on a host that hung."""


def seeds() -> list[int]:
    """Each is a night of its own."""
    return [int(seed) for seed in os.environ.get("AUTOSCALER_NEMESIS_SEEDS", "1,2,3").split(",")]


def least_demand(own: Sequence[Recorded], initial: int) -> Callable[[float], int]:
    """The smallest demand that a stop at a moment can have been decided for: P9's promise where none may be missing."""
    steps = [(0.0, initial), *((recorded.at, int(recorded.data["after"]["demand"])) for recorded in own)]

    def least(at: float) -> int:
        before = [demand for moment, demand in steps if moment <= at - LATE_S]
        return min([before[-1], *(demand for moment, demand in steps if at - LATE_S < moment <= at + 1.0)])

    return least


@dataclass
class Nemesis:
    """One service of an installation with three engines. ``events`` were sent, ``told`` says what was done and when,
    ``away`` which engines had been killed."""

    shop: Installation
    service: str
    seed: int
    events: list[EventRef] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    away: list[Away] = field(default_factory=list)

    async def rage(self, seconds: float) -> None:
        """Four hands at once, each with a chance of its own, until the time is over."""
        until = time.monotonic() + seconds
        hands = (self._event, self._host_fault, self._container, self._member)
        async with asyncio.TaskGroup() as group:
            for number, hand in enumerate(hands):
                group.create_task(self._go_on(hand, Chance(self.seed * len(hands) + number), until))

    async def calm(self, replicas: int) -> None:
        """All hosts are whole and in use; a last good revision and demand; every event has its verdict."""
        for host in ("h1", "h2", "h3"):
            await eventually(f"{host} in use", partial(self._hosts, "uncordon", host), bool, within_s=120.0)
        self.events += [
            await self.shop.command(self.service, "approve", "calm"),
            await self.shop.deploy(self.service, "one", "d-calm", labels={"n": "calm"}),
            await self.shop.command(self.service, "scale", "last", replicas=replicas),
        ]

        async def untold() -> list[str]:
            seen = await trail(self.shop.client)
            return [event.id for event in self.events if not verdicts(seen, event)]

        await eventually("a verdict of each event", untold, lambda ids: not ids, within_s=300.0)
        await at_rest(self.shop, self.service, within_s=180.0)

    async def _go_on(self, hand: Callable[[Chance], Awaitable[str]], chance: Chance, until: float) -> None:
        while time.monotonic() < until:
            self.told.append(f"{time.time():.3f} {await hand(chance)}")

    async def _event(self, chance: Chance) -> str:
        await asyncio.sleep(chance.within(0.5, 12.0))
        name = f"e-{len(self.events)}"
        what = chance.weighted([(5.0, "deploy"), (3.0, "scale"), (1.0, "abort"), (1.0, "rollback"), (1.0, "approve")])
        if what == "deploy":
            kind = chance.weighted(KINDS)
            what = f"deploy {kind}"
            event = await self.shop.deploy(self.service, kind, name, labels={"n": name})
        elif what == "scale":
            replicas = 3 + chance.below(5)
            what = f"scale {replicas}"
            event = await self.shop.command(self.service, "scale", name, replicas=replicas)
        else:
            event = await self.shop.command(self.service, what, name)
        self.events.append(event)
        return f"{name}: {what}"

    async def _host_fault(self, chance: Chance) -> str:
        await asyncio.sleep(chance.within(1.0, 8.0))
        number, seconds = 1 + chance.below(3), chance.within(0.5, 20.0)
        fault = chance.weighted([(2.0, "frozen"), (2.0, "killed"), (2.0, "cut"), (1.0, "drained")])
        if fault == "drained":
            await self._hosts("drain", f"h{number}")
            await asyncio.sleep(seconds)
            await self._hosts("uncordon", f"h{number}")
        else:
            since = time.time()
            async with _in_threads({"frozen": frozen, "killed": killed, "cut": cut}[fault](number)):
                await asyncio.sleep(seconds)
            if fault == "killed":
                self.away.append(Away(ground_of(self.shop).urls[number - 1], since, time.time()))
        return f"h{number} had been {fault} for {seconds:.1f} s"

    async def _container(self, chance: Chance) -> str:
        await asyncio.sleep(chance.within(2.0, 20.0))
        ground = ground_of(self.shop)
        deed = chance.pick([ground.kill, ground.remove])
        choice = chance.bits()

        def do() -> str:
            # A host that is in trouble answers nobody, and the victim may be gone already.
            with contextlib.suppress(OSError, DockerException, ValueError):
                standing = [replica for replica in ground.standing() if replica.running]
                if standing:
                    victim = standing[choice % len(standing)].name
                    deed(victim)
                    return f"{deed.__name__} {victim}"
            return f"no {deed.__name__}"

        return await asyncio.to_thread(do)

    async def _member(self, chance: Chance) -> str:
        await asyncio.sleep(chance.within(5.0, 30.0))
        member = self.shop.members[-1]
        if chance.happens(0.3):
            seconds = chance.within(1.0, 15.0)
            member.freeze()
            await asyncio.sleep(seconds)
            member.thaw()
            return f"the member had hung for {seconds:.1f} s"
        await asyncio.to_thread(member.kill)
        await asyncio.sleep(chance.within(0.0, 5.0))
        self.shop.start()
        return "the member was killed, another runs"

    async def _hosts(self, deed: str, host: str) -> bool:
        code, _, _ = await self.shop.call("hosts", deed, host, within_s=120.0)
        return code == 0


@contextlib.asynccontextmanager
async def _in_threads(fault: contextlib.AbstractContextManager[None]) -> AsyncIterator[None]:
    await asyncio.to_thread(fault.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(fault.__exit__, None, None, None)
