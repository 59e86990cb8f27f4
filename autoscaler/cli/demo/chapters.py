"""The six chapters. Each makes something happen, watches the replicas themselves until it has, and says what was seen.

A chapter returns its finding in a line and leaves facts in its `Chapter`. It raises `DemoFailed` where it sees
something else in the end. The autoscaler's word alone counts for nothing: counts and versions come from the census and
from the answers.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autoscaler.cli.demo.board import Board, Chapter, Seen
from autoscaler.cli.demo.census import PATIENCE_S, Census, described
from autoscaler.cli.demo.publisher import Publisher
from autoscaler.cli.demo.stage import DemoFailed, Stage
from autoscaler.cli.demo.traffic import Traffic
from autoscaler.cli.demo.trail import Trail

PER_REPLICA = 5
"""Requests per second that one replica is meant to carry, as configured."""
FIRST_RATE, HIGH_RATE, STEADY_RATE = 3.0, 23.0, 13.0
LEGS = ((STEADY_RATE, 3.0), (HIGH_RATE, 3.0), (STEADY_RATE, 3.0))
"""The load trace: rate, and the seconds of the way there. It rests in the middle of a replica's share, so that the
number of replicas that carries it is not a matter of measuring."""
REST_S = 1.5
STEADY = math.ceil(STEADY_RATE / PER_REPLICA)
HIGHEST = math.ceil(HIGH_RATE / PER_REPLICA)
"""Also the bound of the service: a margin for what may come would now and then be a replica more."""
UNAVAILABLE = 503
OK = 200
OF_NEW = 10
"""Answers of the new version that an update wants to have seen."""


@dataclass(slots=True)
class Scene:
    """What a chapter works with."""

    stage: Stage
    board: Board
    census: Census
    traffic: Traffic
    publisher: Publisher
    trail: Trail


Tell = Callable[[Scene, Chapter], Awaitable[str]]


async def from_zero(scene: Scene, chapter: Chapter) -> str:
    """Nothing runs and the router has nobody; one metric event brings the first replica, and a request is answered."""
    census, traffic, clock = scene.census, scene.traffic, asyncio.get_running_loop()
    await census.until("the first count of the replicas", lambda: census.counts > 0)
    status = await traffic.knock()
    if census.replicas or status != UNAVAILABLE:
        raise DemoFailed(f"the service is not at zero: the router says {status}; seen: {described(census.replicas)}")
    scene.board.say("No replica exists, and the router answers 503. Now a single metric event is published.")
    began_at = clock.time()
    await scene.publisher.load(FIRST_RATE)
    while (status := await traffic.knock()) != OK:
        if clock.time() - began_at > PATIENCE_S:
            raise DemoFailed(f"no request is answered {PATIENCE_S:.0f} s after the event; the router says {status}")
        await asyncio.sleep(0.05)
    first_s = clock.time() - began_at
    traffic.rate = FIRST_RATE
    scene.publisher.measuring = True
    await census.until("one replica that answers", lambda: census.all_answer_as("1.0", 1))
    await census.until("the first customers are served", lambda: traffic.by_version["1.0"] >= OF_NEW)
    chapter.facts.update(replicas=1, first_answer_seconds=round(first_s, 2))
    return f"the first answer came {first_s:.1f} s after the first event"


async def follow(scene: Scene, chapter: Chapter) -> str:
    """The load goes up and down again, and the replicas with it; every one of them is given work."""
    census, traffic = scene.census, scene.traffic
    peak = 0
    for rate, seconds in LEGS:
        wanted = math.ceil(rate / PER_REPLICA)
        way = "up" if rate > traffic.rate else "down"
        scene.board.say(f"The load goes {way} to {rate:.0f} requests/s: {wanted} replicas' work.")
        await traffic.ramp(rate, seconds)
        await census.until(f"{wanted} replicas that answer", lambda n=wanted: census.all_answer_as("1.0", n))  # type: ignore[misc]
        peak = max(peak, len(census.answering))
        await _each_is_used(scene)
        await asyncio.sleep(REST_S)
    chapter.facts.update(replicas_peak=peak, replicas_end=len(census.answering), rate_peak=HIGH_RATE)
    return f"1 to {peak} to {len(census.answering)} replicas, up to {HIGH_RATE:.0f} requests/s"


async def update(scene: Scene, chapter: Chapter) -> str:
    """A good version takes the place of the old one, replica by replica, under traffic."""
    census, traffic, board = scene.census, scene.traffic, scene.board
    board.say("Version 2.0 is deployed while customers are being served.")
    event_id = await scene.publisher.deploy("2.0", scene.stage.revision("2.0"))
    await census.until(f"{STEADY} replicas of version 2.0, no other", lambda: census.all_answer_as("2.0", STEADY))
    await _verdict(scene, event_id, "applied")
    await _each_is_used(scene)
    await census.until("customers served by 2.0", lambda: traffic.by_version["2.0"] >= OF_NEW)
    if not census.all_answer_as("2.0", STEADY):
        raise DemoFailed(f"the update did not last; seen: {described(census.replicas)}")
    chapter.facts.update(verdict="applied", replicas=STEADY, answers=dict(traffic.by_version))
    return f"{STEADY} of {STEADY} replicas run 2.0, verdict applied"


async def rollback(scene: Scene, chapter: Chapter) -> str:
    """A version that answers with errors never becomes healthy, never gets a customer, and is taken back by itself."""
    census, traffic, board = scene.census, scene.traffic, scene.board
    board.say("Version 3.0 is deployed. It is broken: it answers every request with an error.")
    event_id = await scene.publisher.deploy("3.0", scene.stage.revision("3.0", broken=True))
    await census.until("a replica of version 3.0", lambda: any(r.version == "3.0" for r in census.ever.values()))
    await _verdict(scene, event_id, "rolled_back")
    await census.until(f"{STEADY} replicas of version 2.0, no other", lambda: census.all_answer_as("2.0", STEADY))
    if traffic.by_version["3.0"]:
        raise DemoFailed(f"{traffic.by_version['3.0']} customers were sent to version 3.0")
    verdict = scene.trail.verdict(event_id) or {}
    reason = verdict["reason"]
    chapter.facts.update(verdict="rolled_back", reason=reason, answers_by_broken=0, replicas=STEADY)
    return f"3.0 taken back by itself: {reason['text']}"


async def heal(scene: Scene, chapter: Chapter) -> str:
    """A replica dies without warning and another takes its place."""
    census, clock = scene.census, asyncio.get_running_loop()
    known = {replica.id for replica in census.replicas}
    victim = census.answering[0]
    scene.board.say(f"{victim.name} ({victim.id}) is killed with SIGKILL.")
    killed_at = clock.time()
    await asyncio.to_thread(scene.stage.kill, victim)

    def healed() -> bool:
        gone = all(replica.id != victim.id for replica in census.replicas)
        fresh = any(replica.id not in known for replica in census.answering)
        return gone and fresh and census.all_answer_as("2.0", STEADY)

    await census.until("another replica in its place", healed)
    healed_s = clock.time() - killed_at
    await _each_is_used(scene)
    await asyncio.sleep(REST_S)
    chapter.facts.update(killed=victim.name, healed_seconds=round(healed_s, 2), replicas=STEADY)
    return f"{victim.name} was replaced {healed_s:.1f} s after its death"


async def to_zero(scene: Scene, chapter: Chapter) -> str:
    """The customers leave; once the silence is known for long enough, nothing runs any more."""
    census, traffic, clock = scene.census, scene.traffic, asyncio.get_running_loop()
    scene.board.say("The last customer leaves.")
    began_at = clock.time()
    await traffic.silence()
    await census.until("no replica at all", lambda: not census.replicas)
    zero_s = clock.time() - began_at
    scene.publisher.measuring = False
    status = await traffic.knock()
    if status != UNAVAILABLE:
        raise DemoFailed(f"no replica is left, and the router still answers {status}")
    chapter.facts.update(replicas=0, zero_seconds=round(zero_s, 2))
    return f"nothing runs {zero_s:.1f} s after the last request"


TOLD: Mapping[str, tuple[str, Tell]] = {
    "from_zero": ("the first event brings the first replica", from_zero),
    "follow": ("replicas follow the load up and down", follow),
    "update": ("a new version under traffic, no request fails", update),
    "rollback": ("a broken version is taken back by itself", rollback),
    "heal": ("a killed replica is replaced", heal),
    "to_zero": ("no load, no replica", to_zero),
}
"""The chapters in order."""

UNHARMED = frozenset({"follow", "update", "rollback"})
"""In these no request may fail."""


async def _verdict(scene: Scene, event_id: str, wanted: str) -> None:
    """The deployment's own verdict is in the trail."""
    await scene.census.until(
        f"the verdict {wanted} in the audit trail", lambda: scene.trail.verdict(event_id) is not None
    )
    found: Mapping[str, Any] = scene.trail.verdict(event_id) or {}
    if found["verdict"] != wanted:
        raise DemoFailed(f"the verdict is {found['verdict']}, not {wanted}: {found['reason']['text']}")


async def _each_is_used(scene: Scene) -> None:
    """Every replica that answers is given customers by the router, as far as an answer tells who gave it."""
    census, traffic = scene.census, scene.traffic
    if "" in traffic.by_replica:
        return
    before = dict(traffic.by_replica)

    def used(replica: Seen) -> bool:
        return traffic.by_replica[replica.id] > before.get(replica.id, 0)

    await census.until("customers at every replica", lambda: all(used(replica) for replica in census.answering))
