"""Services within a budget: of one member's shards, of several members that hear each other, and before they do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core.budgets import Budget, Kind
from autoscaler.core.facts import EventRef
from autoscaler.core.records import Record
from autoscaler.core.revision import Resources
from autoscaler.core.settings import Bounds, Scaling, ServiceSettings
from autoscaler.core.state import Freeze, Scheduled, ServiceState
from autoscaler.core.stimuli import Configured
from autoscaler.engine import state_tail
from autoscaler.engine.budgets_seen import BudgetsSeen
from autoscaler.engine.state_tail import StateTail
from autoscaler.errors import StreamError
from autoscaler.ledger.state_codec import decode_state, encode_state
from autoscaler.ports.stream import Message, Outgoing, Place, Topic, partition_of
from tests.core.builders import NOW, a_revision, a_service, a_spec, some_settings
from tests.engine.instances import command, deployment, sample
from tests.engine.shards import Driven, a_setup, a_shard
from tests.engine.streams import MemoryClient, MemoryLog

PARTITIONS = 2
SERVICES = {
    "web": some_settings(priority=80, bounds=Bounds(1, 20, 1), scaling=Scaling(down_window_s=0.0)),
    "job": some_settings(priority=20, bounds=Bounds(1, 20, 1), scaling=Scaling(down_window_s=0.0)),
}


def a_budget(services: Mapping[str, ServiceSettings] = SERVICES, **limits: int) -> Budget:
    """Of all the services."""
    named: tuple[tuple[Kind, int], ...] = tuple(limits.items())  # type: ignore[assignment]
    return Budget("all", frozenset(services), named)


def books(*budgets: Budget, services: Mapping[str, ServiceSettings] = SERVICES, known: bool = True) -> BudgetsSeen:
    """One member's."""
    return BudgetsSeen(budgets, services, known=known)


def a_state(service: str, demand: int, **changes: Any) -> ServiceState:
    """So many replicas wanted, of one stable revision; none placed."""
    return replace(a_service(0), service=service, demand=demand, **changes)


def shard_of(seen: BudgetsSeen, *states: ServiceState, services: Mapping[str, ServiceSettings] = SERVICES) -> Driven:
    """The shard of the states' partition."""
    partition = partition_of(states[0].service.encode(), PARTITIONS)
    setup = replace(a_setup(services, partitions=PARTITIONS), budgets=seen)
    return a_shard(setup, *states, partition=partition)


def turns(*driven: Driven) -> None:
    """Until nobody has anything to decide."""
    for _ in range(20):
        busy = [one for one in driven if one.shard.has_work]
        for one in busy:
            one.turn()
            one.shard.actions(one.now)
        if not busy:
            return
    pytest.fail("no rest")


def clamped(driven: Driven) -> list[Record]:
    """Its records in which a budget had a word."""
    return [record for record in driven.records if any(clamp.guard == "budget" for clamp in record.clamps)]


def of(driven: Driven, service: str) -> tuple[int, int]:
    """Its demand, and what it asks for."""
    state = driven.shard.states[service]
    return state.demand, state.asking


def test_higher_priority_takes_from_lower_and_gives_it_back() -> None:
    """What is not granted is kept, and had as soon as there is room; each step has its record."""
    seen = books(a_budget(replicas=10))
    web, job = shard_of(seen, a_state("web", 2)), shard_of(seen, a_state("job", 8))
    turns(web, job)
    web.take(sample("web", load=60))
    web.turn()
    assert of(web, "web") == (2, 6), "no room before the other has given way"
    assert clamped(web)[-1].kind == "hold", "the demand is what it was"
    turns(web, job)
    assert (of(web, "web"), of(job, "job")) == ((6, 6), (4, 8))
    cut = next(record for record in job.records if record.reason.code == "budget")
    assert (cut.before.demand, cut.after.demand) == (8, 4)
    assert "web (priority 80) has 2 and asks for 6" in cut.reason.text
    web.take(sample("web", load=30, at=NOW + 1))
    turns(web, job)
    assert (of(web, "web"), of(job, "job")) == ((3, 3), (7, 8))
    web.take(sample("web", load=10, at=NOW + 2))
    turns(web, job)
    assert (of(web, "web"), of(job, "job")) == ((1, 1), (8, 8))
    assert job.shard.states["job"].asked is None


def test_two_members_come_to_their_shares_by_the_state_topic_alone() -> None:
    """Each spends the same room before it hears of the other; both go back once they do."""
    mine, theirs = books(a_budget(replicas=10)), books(a_budget(replicas=10))
    web, job = shard_of(mine, a_state("web", 2)), shard_of(theirs, a_state("job", 2))

    def heard() -> None:
        for driven, other in ((web, theirs), (job, mine)):
            for state in driven.shard.states.values():
                other.hear(decode_state(encode_state(state)).state)

    heard()
    web.take(sample("web", load=80))
    job.take(sample("job", load=80))
    turns(web)
    turns(job)
    assert (of(web, "web"), of(job, "job")) == ((8, 8), (8, 8)), "more than the budget, for as long as nobody knows"
    for _ in range(5):
        heard()
        turns(web, job)
    assert (of(web, "web"), of(job, "job")) == ((8, 8), (2, 8))


def test_nobody_grows_before_all_is_heard_and_all_do_after() -> None:
    """A member that has just begun does not know what others have."""
    seen = books(a_budget(replicas=10), known=False)
    web = shard_of(seen, a_state("web", 2))
    web.take(sample("web", load=40))
    turns(web)
    assert of(web, "web") == (2, 4)
    assert "not known yet" in clamped(web)[-1].reason.text
    seen.hear(a_state("job", 7))
    seen.all_heard()
    turns(web)
    assert of(web, "web") == (3, 4), "until job gives way"


def test_an_override_is_held_within_the_budget() -> None:
    """It is in force, and the operator reads why it is not all there."""
    seen = books(a_budget(replicas=10))
    web, job = shard_of(seen, a_state("web", 2)), shard_of(seen, a_state("job", 8))
    job.take(command("job", "scale", "c-1", replicas=9))
    turns(web, job)
    assert of(job, "job") == (8, 9)
    assert ("c-1", "applied", True) in job.verdicts
    assert clamped(job)[-1].reason.text.startswith("9 -> 8 of 9 replicas: of budget all the replicas are spent")


@pytest.mark.parametrize(("replicas", "moved"), [(9, (True, False)), (6, (False, True)), (8, (False, False))])
def test_an_override_goes_up_or_down_from_what_was_asked_for(replicas: int, moved: tuple[bool, bool]) -> None:
    """Cooldowns are about that, whatever budgets allow of it."""
    seen = books(a_budget(replicas=5))
    job = shard_of(seen, a_state("job", 5, asked=8, last_up_at=None, last_down_at=None))
    job.take(command("job", "scale", "c-1", replicas=replicas))
    turns(job)
    state = job.shard.states["job"]
    assert of(job, "job") == (5, replicas)
    assert (state.last_up_at == job.now, state.last_down_at == job.now) == moved


def test_an_override_that_was_planned_begins_from_what_was_asked_for() -> None:
    """As one that begins at once does."""
    seen = books(a_budget(replicas=5))
    planned = Scheduled(6, NOW, None, EventRef("/ops", "c-1"))
    job = shard_of(seen, a_state("job", 5, asked=8, scheduled=(planned,)))
    job.shard.observed("job", NOW)
    turns(job)
    assert of(job, "job") == (5, 6)
    begun = next(record for record in job.records if record.reason.code == "scheduled")
    assert begun.reason.text == "8 -> 6 replicas, as scheduled by /ops"


def test_a_freeze_of_all_holds_the_demand_and_others_grow_only_into_what_is_free() -> None:
    """The one that would have to give way is frozen."""
    seen = books(a_budget(replicas=10))
    frozen = a_state("job", 8, freeze=Freeze("all", None, EventRef("/ops", "c-1")))
    web, job = shard_of(seen, a_state("web", 1)), shard_of(seen, frozen)
    web.take(sample("web", load=60))
    turns(web, job)
    assert (of(web, "web"), of(job, "job")) == ((2, 6), (8, 8))
    job.take(command("job", "unfreeze", "c-2"))
    turns(web, job)
    assert (of(web, "web"), of(job, "job")) == ((6, 6), (4, 8))


def test_nobody_gives_way_for_what_a_frozen_service_asks_for() -> None:
    """It could not have it; at the end of the freeze it has its share."""
    seen = books(a_budget(replicas=10))
    frozen = a_state("web", 2, asked=6, freeze=Freeze("all", NOW + 60, EventRef("/ops", "c-1")))
    web, job = shard_of(seen, frozen), shard_of(seen, a_state("job", 7))
    turns(web, job)
    assert (of(web, "web"), of(job, "job")) == ((2, 6), (7, 7))
    web.shard.observed("web", NOW + 61)
    web.turn(NOW + 61)
    assert of(web, "web") == (3, 6), "what is free, and no more before the other has given way"
    turns(web, job)
    assert (of(web, "web"), of(job, "job")) == ((6, 6), (4, 7))


@pytest.mark.parametrize(("bounds", "comes_to"), [((1, 8), (4, 8)), ((1, 3), (3, 3)), ((5, 20), (5, 12))])
def test_new_bounds_give_nothing_that_a_budget_withholds(bounds: tuple[int, int], comes_to: tuple[int, int]) -> None:
    """While all is frozen the demand changes as far as bounds ask for, and nobody gives way to it for more."""
    services = SERVICES | {"web": replace(SERVICES["web"], bounds=Bounds(*bounds, 1))}
    seen = books(a_budget(services, replicas=10), services=services)
    short = a_state("web", 4, asked=12, freeze=Freeze("all", None, EventRef("/ops", "c-1")))
    web, job = shard_of(seen, short, services=services), shard_of(seen, a_state("job", 4), services=services)
    web.shard.tell("web", Configured(NOW))
    turns(web, job)
    assert (of(web, "web"), of(job, "job")) == (comes_to, (4, 4))


def test_a_first_deployment_counts_by_what_it_reserves() -> None:
    """In the very decision that accepts it."""
    services = {"web": replace(SERVICES["web"], bounds=Bounds(0, 20, 6)), "job": SERVICES["job"]}
    seen = books(a_budget(services, cpu=3000), services=services)
    job = shard_of(seen, a_state("job", 2, revisions=(a_revision(1, spec=heavy()),)), services=services)
    web = shard_of(seen, ServiceState("web"), services=services)
    turns(job, web)
    web.take(deployment("web"))
    turns(web, job)
    assert of(web, "web") == (6, 6), "it reserves nothing"
    assert (of(job, "job"), seen.books["all"].used) == ((2, 2), (1000,))


@pytest.mark.parametrize("known", [True, False], ids=["known", "before all is heard"])
def test_a_first_demand_is_granted_in_the_decision_that_brings_it(*, known: bool) -> None:
    """What a first deployment begins with is a demand like any other."""
    services = {"web": replace(SERVICES["web"], bounds=Bounds(1, 20, 6)), "job": SERVICES["job"]}
    seen = books(a_budget(services, replicas=10), services=services, known=known)
    job = shard_of(seen, a_state("job", 8), services=services)
    web = shard_of(seen, ServiceState("web"), services=services)
    web.take(deployment("web"))
    web.turn()
    assert of(web, "web") == (2 if known else 1, 6)
    assert clamped(web)[-1].kind == "scale"
    turns(web, job)
    assert (of(web, "web"), of(job, "job")) == (((6, 6), (4, 8)) if known else ((1, 6), (8, 8)))


def test_a_larger_revision_is_granted_in_the_decision_that_launches_it() -> None:
    """What it takes more gives way."""
    services = {"web": replace(SERVICES["web"], revision=heavy()), "job": SERVICES["job"]}
    seen = books(a_budget(services, cpu=2000), services=services)
    web = shard_of(seen, a_state("web", 6), services=services)
    turns(web)
    web.take(deployment("web", "2", "d-2", resources={"cpu": "500m"}))
    web.turn()
    assert of(web, "web") == (4, 6)
    assert web.shard.states["web"].revision == 2


def heavy() -> Any:
    """A revision that reserves half a core."""
    return a_spec(resources=Resources(500, 0))


def test_a_retired_service_counts_nothing() -> None:
    """What it had is had by others."""
    seen = books(a_budget(replicas=10))
    web, job = shard_of(seen, a_state("web", 6)), shard_of(seen, a_state("job", 4, asked=8))
    turns(web, job)
    assert of(job, "job") == (4, 8)
    web.take(command("web", "retire", "c-3"))
    turns(web, job)
    assert of(job, "job") == (8, 8)


def test_what_is_taken_for_others_has_a_record_without_votes() -> None:
    """A policy that knows nothing has no part in it."""
    seen = books(a_budget(replicas=10))
    job = shard_of(seen, a_state("job", 8))
    seen.hear(a_state("web", 2, asked=6))
    job.take(sample("job", load=90))
    turns(job)
    assert of(job, "job") == (4, 9)
    moved = [record for record in job.records if record.after.demand != record.before.demand]
    assert [(record.kind, record.proposals) for record in moved] == [("scale", ())]


def test_a_budget_with_room_wakes_nobody() -> None:
    """Each commit is news to the book, and none to other shards."""
    seen = books(a_budget(replicas=10))
    woken: list[bool] = []
    web, job = shard_of(seen, a_state("web", 2)), shard_of(seen, a_state("job", 2))
    turns(web, job)
    seen.changed = lambda: woken.append(True)
    web.take(sample("web", load=40))
    web.turn()
    assert of(web, "web") == (4, 4)
    assert (woken, job.shard.has_work) == ([], False)


def test_a_service_that_is_let_go_counts_as_the_state_topic_has_it() -> None:
    """What its former owner was about to decide is forgotten."""
    seen = books(a_budget(replicas=10))
    seen.hear(a_state("web", 3))
    seen.note(a_state("web", 7))
    assert seen.books["all"].used == (7,)
    seen.let_go(["web", "job"])
    assert seen.books["all"].used == (3,)
    seen.hear(a_state("web", 4))
    assert seen.books["all"].used == (4,)


def test_what_was_written_counts_for_a_service_that_is_let_go_before_it_is_heard() -> None:
    """The state topic is read late; a member does not forget what it wrote itself, nor what it took over."""
    seen = books(a_budget(replicas=10))
    seen.hear(a_state("job", 1, seq=1))
    web, job = shard_of(seen, a_state("web", 2, seq=5)), shard_of(seen, a_state("job", 3, seq=4))
    seen.let_go(["job"])
    assert seen.books["all"].used == (5,), "as it was taken over"
    web.take(sample("web", load=60))
    web.turn()
    written = web.shard.states["web"]
    seen.hear(a_state("web", 2, seq=5))
    seen.let_go(["web"])
    assert seen.books["all"].used == (9,), "as it was written"
    seen.hear(a_state("web", 2, seq=5))
    assert seen.books["all"].used == (9,), "what is read late is older"
    seen.hear(a_state("web", 4, seq=written.seq + 1))
    assert seen.books["all"].used == (7,)
    seen.hear(ServiceState("web"))
    assert seen.books["all"].used == (3,), "nothing is left of it"
    assert not job.shard.has_work


def test_the_tightest_of_several_budgets_holds() -> None:
    """A service may be in more than one."""
    narrow = Budget("narrow", frozenset({"web"}), (("replicas", 4),))
    seen = books(a_budget(replicas=10), narrow)
    web = shard_of(seen, a_state("web", 2))
    web.take(sample("web", load=80))
    turns(web)
    assert of(web, "web") == (4, 8)
    assert "budget narrow" in clamped(web)[-1].reason.text
    assert (seen.books["narrow"].short, seen.books["all"].short) == (4, 0), "the other one withholds nothing"


# The tail of the state topic.


class Interrupted(MemoryClient):
    """Its first reading ends in the middle."""

    failed = False

    async def read(self, topic: Topic, **asked: Any) -> AsyncIterator[tuple[Place, Message]]:
        async for place, message in super().read(topic, **asked):
            if not self.failed:
                self.failed = True
                raise StreamError("gone")
            yield place, message


async def test_the_tail_reads_all_first_and_follows_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over an interruption, a tombstone and a record that nobody can read."""
    monkeypatch.setattr(state_tail, "RETRY_S", 0.01)
    log = MemoryLog(PARTITIONS)
    seen = books(a_budget(replicas=10), known=False)

    def write(service: str, value: bytes | None) -> None:
        log.send(Outgoing(Topic.STATE, service.encode(), value))

    write("web", encode_state(a_state("web", 3)))
    write("other", encode_state(a_state("other", 30)))
    write("job", b"no state")
    reading = asyncio.create_task(StateTail(Interrupted(log), seen).run())
    try:
        await until(lambda: seen.books["all"].known)
        assert seen.books["all"].used == (3,)
        write("job", encode_state(a_state("job", 4)))
        await until(lambda: seen.books["all"].used == (7,))
        write("web", None)
        await until(lambda: seen.books["all"].used == (4,))
    finally:
        reading.cancel()


async def until(holds: Any) -> None:
    """Within the patience of a test."""
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)
