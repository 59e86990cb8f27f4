"""Ours beside Docker Swarm, which ships in the engine: the same images on one engine in one run, in turns.

The engine is started here, in a network namespace of its own, so that nobody's Swarm is touched; it ends with all that
runs on it, however this ends. What serves is asked inside the containers' own networks (`bench.lives`): nobody's load
balancer counts. What fails is counted by a client (`bench.asking`): of ours through the embedded router, of Swarm
through its name server.

Settings, as a user of each would choose them for the same service (`bench.contest`): two replicas replaced at a time,
started before the old ones are stopped, no delay between; a new replica is watched for one second; the first failure
takes the update back, two at a time; a check every second, three failures; ten seconds to stop; dead replicas are
replaced at once. Swarm: `--update-parallelism 2 --update-order start-first --update-monitor 1s --update-failure-action
rollback --update-max-failure-ratio 0 --restart-delay 0s --health-interval 1s`. Ours: `max_surge: 2, first_batch: 2,
max_unavailable: 0, monitor: 1s, soak: 1s, min_healthy: 0s, restart: {delay: 0s}`. What differs is each one's own:
Docker asks a container for its health by a process inside it, for the first time after one interval; ours over the
network, and at once.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

from bench import shop_images
from bench.contest import SETTINGS, Side
from bench.figure import Figure
from bench.lives import Lives
from bench.own_side import OwnSide
from bench.scenes import RATE, Contest, Sizes
from bench.stage import Stage
from bench.swarm_side import SwarmSide
from tests.parts import hosts

SITE = hosts.Site(
    Path("/run/eventscaler-contest.json"),
    "10.79.0",
    {
        "CONTAINER_HOSTS_ROOT": "/var/lib/container-contest",
        "CONTAINER_HOSTS_TAG": "c",
        "CONTAINER_HOSTS_NET": "10.79.0",
    },
)
"""An engine beside those of the tests, so that neither waits for the other."""

FULL, QUICK = Sizes(20, 6, 8), Sizes(3, 2, 3)
ROUNDS_MAX = 3
PLAY_S, SLACK = 310.0, 1.2
"""A part is played again where so much time is left for it: as long as it took before, and some more."""

WHOLE_S = 350.0


async def measure(stage: Stage, profile: str | None = None) -> list[Figure]:
    """Every scene by both sides, in turns."""
    del profile  # of the rates alone
    (url,) = hosts.start(1, owner=os.getpid(), site=SITE)["urls"]
    stage.closing.callback(hosts.stop, SITE)
    await asyncio.to_thread(shop_images.make, url)
    lives = Lives(url)
    async with asyncio.timeout(WHOLE_S), AsyncExitStack() as stack:
        stack.callback(lives.close)
        sides: list[Side] = [
            OwnSide(stage, url),
            SwarmSide(url, f"{SITE.network}.11", stage.directory / "swarm-client.log"),
        ]
        for side in sides:
            stack.push_async_callback(side.close)
            await side.open()
        contest = Contest(lives, sides, QUICK if stage.quick else FULL)
        # One service of each is enough to show that everything works.
        parts = (contest.plain,) if stage.quick else (contest.plain, contest.shop)
        await play(contest, parts, 1 if stage.quick else ROUNDS_MAX)
    return figures(contest)


async def play(contest: Contest, parts: Sequence[Callable[[Side], Awaitable[None]]], rounds: int) -> None:
    """Each part once, and again while there is time; who begins takes turns."""
    begun = time.monotonic()
    took_s: dict[int, float] = {}
    for number in range(rounds):
        sides = contest.sides if number % 2 == 0 else contest.sides[::-1]
        for place, part in enumerate(parts):
            at = time.monotonic()
            if at + SLACK * took_s.get(place, 0.0) > begun + PLAY_S:
                continue
            for side in sides:
                await part(side)
            took_s[place] = time.monotonic() - at


def figures(contest: Contest) -> list[Figure]:
    """The rows of what was played: the median of the rounds; of failures and of what was kept, the worst round."""

    def row(name: str, key: str, unit: str, target: str, note: str, of: Callable[[list[float]], float]) -> list[Figure]:
        ours, swarm = (contest.values[key, side.name] for side in contest.sides)
        return [Figure(f"swarm_{name}", unit, of(ours), of(swarm), target, note)] if ours and swarm else []

    def failed(scene: str, target: str | None, note: str = "") -> list[Figure]:
        ours, swarm = (contest.failed[scene, side.name] for side in contest.sides)
        asked, other = (contest.asked[scene, side.name] for side in contest.sides)
        told, name = f"worst round; {asked} asked, of Swarm {other}{note}", f"swarm_failed_requests_in_{scene}"
        return [Figure(name, "requests", max(ours), max(swarm), target, told)] if ours and swarm else []

    def times(key: str) -> str:
        count = len(contest.values[key, "ours"])
        return "once" if count == 1 else f"{count} times"

    def ended(key: str) -> str:
        return ", ".join(f"{side.name} {'/'.join(sorted(contest.ends[key, side.name]))}" for side in contest.sides)

    sizes = contest.sizes
    some, more = sizes.some, sizes.more
    how = f"Docker Swarm is the control, {times('scale_up_s')} in turns; {SETTINGS}"
    rows = [
        row("scale_up_s", "scale_up_s", "s", "ratio <= 1", f"1 -> {sizes.many}: asked -> all serve; {how}", median),
        row("killed_detected_s", "killed_to_created_s", "s", "ours < 1", "killed -> successor created", max),
        row("killed_replaced_s", "killed_to_serves_s", "s", "ratio <= 1", "killed -> successor serves", median),
        row(
            "rolling_update_s", "update_s", "s", "ratio <= 1",
            f"of {some}: asked -> all new serve; {times('update_s')}", median,
        ),
        row("rolling_update_told_s", "update_told_s", "s", "ratio <= 1", f"asked -> {ended('update')}", median),
        row(
            "bad_version_taken_back_s", "taken_back_s", "s", "ratio <= 1",
            f"asked -> told, and {some} good ones alone; {ended('bad')}", median,
        ),
        row(
            "right_after_scale_in_bad_update", "right_after_scale", "replicas", f"ours >= {more}",
            f"{some} -> {more} asked in a bad update: good ones after it, least round; {ended('scaled')}", min,
        ),
        failed("scale_up", "ours <= 0", f"; {RATE:g}/s in all scenes, one in 8 takes 1 to 5 s"),
        failed("update", "ours <= 0"),
        failed("rollback", "ours <= 0"),
        failed("scale_in_bad_update", "ours <= 0"),
        failed("kill", None, "; those that the dead one was answering"),
    ]  # fmt: skip
    return [figure for found in rows for figure in found]
