"""The scenes of the comparison with Docker Swarm, each played by both sides; what was measured of each.

A side's service gets requests at a constant rate through all of its scenes, some of them long; a failed one counts for
the scene in which it began.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bench.child import Child
from bench.contest import PLAIN, SHOP, Side
from bench.lives import Life, Lives, kill
from bench.shop_images import GOOD, QUITS, SICK

RATE = 20.0
REST_S = 2.0
"""Between two scenes."""

COUNT_S = 10.0
"""How long after the end of a bad update the replicas may still take to be what was asked for."""

VERSIONS = ("version 1", "version 2")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Replicas: of the scale-up, of the updates, and what is asked for in the middle of a bad one."""

    many: int
    some: int
    more: int


@dataclass
class Contest:
    """Both sides and what was measured: (figure, side) -> a value a round."""

    lives: Lives
    sides: Sequence[Side]
    sizes: Sizes
    values: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    ends: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    failed: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    _good: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    async def plain(self, side: Side) -> None:
        """From one to many, and one of them killed."""
        await side.scale(PLAIN, 1)
        await self._serve(side, PLAIN, 1)
        async with self._traffic(side, PLAIN) as client:
            await self._scale_up(side, client)
            await self._kill_one(side, client)
        await self._clear(side, PLAIN)

    async def shop(self, side: Side) -> None:
        """A good update, a bad one, and a bad one in the middle of which more are asked for."""
        await side.scale(SHOP, self.sizes.some)
        await self._serve(side, SHOP, self.sizes.some)
        async with self._traffic(side, SHOP) as client:
            await self._update(side, client)
            await self._roll_back(side, client)
            await self._scale_meanwhile(side, client)
        await side.deploy(SHOP, self._other(side))
        await self._clear(side, SHOP)

    async def _scale_up(self, side: Side, client: Child) -> None:
        many = self.sizes.many
        async with self._scene(client, "scale_up"):
            begun = time.time()
            await side.scale(PLAIN, many)
            at = await self._until(side, PLAIN, f"{many} serve", lambda: self._serving(side, PLAIN) == many)
            self._note("scale_up_s", side, at - begun)

    async def _kill_one(self, side: Side, client: Child) -> None:
        async with self._scene(client, "kill"):
            known = {life.id for life in self._lives(side, PLAIN)}
            victim = next(life for life in self._lives(side, PLAIN) if life.serves)
            killed_at = kill(self.lives.url, victim.id)

            def successors() -> list[Life]:
                return [life for life in self._lives(side, PLAIN) if life.id not in known and life.serves]

            await self._until(side, PLAIN, "a successor serves", lambda: bool(successors()))
            successor = successors()[0]
            assert successor.serves_at is not None
            self._note("killed_to_created_s", side, successor.created_at - killed_at)
            self._note("killed_to_serves_s", side, successor.serves_at - killed_at)

    async def _update(self, side: Side, client: Child) -> None:
        some = self.sizes.some
        async with self._scene(client, "update"):
            begun = time.time()
            await side.deploy(SHOP, self._other(side))
            at = await self._until(side, SHOP, f"{some} new", lambda: self._serving(side, SHOP) == some)
            self._note("update_s", side, at - begun)
            self.ends["update", side.name].add(await side.verdict(SHOP))
            self._note("update_told_s", side, time.time() - begun)
            await self._serve(side, SHOP, some)

    async def _roll_back(self, side: Side, client: Child) -> None:
        """To a version that ends at once."""
        async with self._scene(client, "rollback"):
            begun = time.time()
            await side.deploy(SHOP, QUITS)
            self.ends["bad", side.name].add(await side.verdict(SHOP))
            at = await self._serve(side, SHOP, self.sizes.some)
            self._note("taken_back_s", side, at - begun)

    async def _scale_meanwhile(self, side: Side, client: Child) -> None:
        """To a version that never gets healthy; as soon as one of it is there, more replicas are asked for."""
        async with self._scene(client, "scale_in_bad_update"):
            known = {life.id for life in self._lives(side, SHOP)}
            await side.deploy(SHOP, SICK)
            bad = "one of the bad version"
            await self._until(side, SHOP, bad, lambda: any(x.id not in known for x in self._lives(side, SHOP)))
            await side.scale(SHOP, self.sizes.more)
            self.ends["scaled", side.name].add(await side.verdict(SHOP))
            with contextlib.suppress(TimeoutError):  # what is there instead is the figure
                await self._serve(side, SHOP, self.sizes.more, COUNT_S)
            self._note("right_after_scale", side, self._serving(side, SHOP))

    @asynccontextmanager
    async def _traffic(self, side: Side, service: str) -> AsyncIterator[Child]:
        """A client, from before the first scene until after the last long request."""
        async with side.client(service) as client:
            yield client
            for scene, told in (await client.ask()).items():
                self.failed[scene, side.name].append(told["failed"])
                self.asked[scene, side.name] += told["asked"]
                sys.stderr.write(
                    f"  {scene:22} {side.name:6} failed {told['failed']} of {told['asked']} {told['how']}\n"
                )

    @asynccontextmanager
    async def _scene(self, client: Child, name: str) -> AsyncIterator[None]:
        """Requests count for the scene from a little before it to a little after it."""
        await client.ask(scene=name, rate=RATE)
        await asyncio.sleep(REST_S / 2)
        yield
        await asyncio.sleep(REST_S / 2)

    async def _clear(self, side: Side, service: str) -> None:
        """No replica any more: what stands idle costs the other side time."""
        await side.scale(service, 0)
        await self._until(side, service, "none", lambda: self.lives.standing(side.label(service)) == 0)

    async def _serve(self, side: Side, service: str, count: int, seconds: float = 60.0) -> float:
        """When so many serve the wanted version and nothing else is there."""

        def holds() -> bool:
            return self._serving(side, service) == count == self.lives.standing(side.label(service))

        return await self._until(side, service, f"{count} alone", holds, seconds)

    async def _until(
        self, side: Side, service: str, what: str, holds: Callable[[], bool], seconds: float = 60.0
    ) -> float:
        try:
            return await self.lives.until(holds, seconds)
        except TimeoutError:
            there = dict(self.lives.serving(side.label(service)))
            message = f"{side.name}, {service}: not within {seconds:g} s: {what}; there serve {there}"
            raise TimeoutError(message) from None

    def _lives(self, side: Side, service: str) -> list[Life]:
        return self.lives.of(side.label(service))

    def _serving(self, side: Side, service: str) -> int:
        """How many serve the wanted version."""
        wanted = VERSIONS[self._good[side.name]] if service == SHOP else VERSIONS[0]
        return self.lives.serving(side.label(service))[wanted]

    def _other(self, side: Side) -> str:
        """The good image that does not run now, which from here on is the wanted one."""
        self._good[side.name] ^= 1
        return GOOD[self._good[side.name]]

    def _note(self, figure: str, side: Side, value: float) -> None:
        self.values[figure, side.name].append(value)
        sys.stderr.write(f"  {figure:22} {side.name:6} {value:8.2f}\n")
