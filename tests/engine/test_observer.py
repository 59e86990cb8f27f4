"""The observer's cache: what counts when a host's list, its events and our own outcomes come in any order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from autoscaler.core.actions import Create, Outcome, Remove, Start, StopReplica
from autoscaler.core.revision import Health, RevisionSpec
from autoscaler.core.world import HostView
from autoscaler.engine.observer import ROOM_TOLD_AFTER_S
from autoscaler.ports.target import HostChange
from tests.engine.scripted_target import ScriptedTarget, Watched, ended, observing, seen, settle

pytestmark = pytest.mark.timeout(30)


@asynccontextmanager
async def at_work(target: ScriptedTarget, *, whole: bool = False) -> AsyncIterator[Watched]:
    """An open observer; nothing of it crashes."""
    watched = observing(target, whole=whole)
    await watched.observer.open()
    watched.changes.clear()
    try:
        yield watched
    finally:
        for gate in target.held.values():
            gate.set()
        await watched.observer.close()
    assert watched.crashes == []


def two_hosts() -> ScriptedTarget:
    return ScriptedTarget(hosts={"h1": HostView("h1"), "h2": HostView("h2")})


def created(replica_id: str, host: str = "h1") -> Outcome:
    action = Create("web", 0, 1, 1, host, RevisionSpec(command=("serve",)), 1, 1, "content", f"shop.web.{replica_id}")
    return Outcome(action, "done", id=replica_id)


def removed(replica_id: str) -> Outcome:
    return Outcome(Remove("web", "h1", replica_id, f"shop.web.{replica_id}"), "done")


def stopped(replica_id: str) -> Outcome:
    return Outcome(StopReplica("web", "h1", replica_id, f"shop.web.{replica_id}", "TERM", 1.0, 0.0), "done")


async def test_what_somebody_starts_again_by_hand_is_seen_to_run() -> None:
    async with at_work(ScriptedTarget(replicas={"c1": seen()})) as watched:
        await watched.target.tell(ended(seen(), started_at=100.0))
        assert watched.shown() == {"c1": "exited"}
        await watched.target.tell(seen(started_at=200.0))
        assert watched.shown() == {"c1": "running"}


async def test_an_event_of_a_step_that_is_over_changes_nothing() -> None:
    async with at_work(ScriptedTarget(replicas={"c1": seen()})) as watched:
        watched.observer.note_done("edge", stopped("c1"))
        await watched.target.tell(seen(healthy=True))
        assert watched.shown() == {"c1": "exited"}
        await watched.target.tell(seen(condition="created", started_at=None))
        assert watched.shown() == {"c1": "exited"}
        assert watched.changes == []


async def test_a_list_that_began_after_the_end_was_noted_has_the_last_word() -> None:
    async with at_work(ScriptedTarget(replicas={"c1": seen()})) as watched:
        watched.observer.note_done("edge", stopped("c1"))
        await watched.observer.look("edge")
        assert watched.shown() == {"c1": "running"}


async def test_a_list_forgets_nothing_that_came_after_it_began() -> None:
    target = two_hosts()
    target.held["h1"] = asyncio.Event()
    watched = observing(target)
    looking = asyncio.create_task(watched.observer.look("edge"))
    await settle()
    watched.observer.note_done("edge", created("c1"))
    target.held["h1"].set()
    await looking
    assert watched.shown() == {"c1": "created"}
    await watched.observer.look("edge")
    assert watched.shown() == {}


@pytest.mark.parametrize("whole", [False, True])
async def test_a_late_list_overwrites_and_revives_nothing_that_is_newer(*, whole: bool) -> None:
    target = ScriptedTarget(replicas={"c1": seen("c1"), "c2": seen("c2")})
    async with at_work(target, whole=whole) as watched:
        target.held["h1"] = asyncio.Event()
        looking = asyncio.create_task(watched.observer.look("edge", "h1"))
        await settle()
        await target.tell(ended(seen("c1")))
        watched.observer.note_done("edge", stopped("c2"))
        watched.observer.note_done("edge", removed("c2"))
        target.held["h1"].set()
        await looking
        assert watched.shown() == {"c1": "exited"}


async def test_a_host_that_hangs_delays_no_other_hosts_list() -> None:
    target = two_hosts()
    async with at_work(target) as watched:
        target.held["h2"] = asyncio.Event()
        target.replicas["c1"] = seen()
        looking = asyncio.create_task(watched.observer.look("edge"))
        await settle()
        assert watched.shown() == {"c1": "running"}
        assert not looking.done()
        target.held["h2"].set()
        await looking


async def test_many_looks_at_once_share_one_that_begins_after_them() -> None:
    target = ScriptedTarget()
    async with at_work(target) as watched:
        target.held["h1"] = asyncio.Event()
        first = asyncio.create_task(watched.observer.look("edge", "h1"))
        await settle()
        target.listed.clear()
        more = [asyncio.create_task(watched.observer.look("edge", "h1")) for _ in range(50)]
        await settle()
        target.replicas["c1"] = seen()
        target.held["h1"].set()
        await asyncio.gather(first, *more)
        assert target.listed == ["h1"]
        assert watched.shown() == {"c1": "running"}


async def test_a_look_that_is_given_up_is_no_look_for_those_who_wait() -> None:
    target = ScriptedTarget()
    async with at_work(target) as watched:
        target.held["h1"] = asyncio.Event()
        given_up = asyncio.create_task(watched.observer.look("edge", "h1"))
        waiting = asyncio.create_task(watched.observer.look("edge", "h1"))
        await settle()
        target.listed.clear()
        given_up.cancel()
        target.held["h1"].set()
        await waiting
        assert target.listed == ["h1"]


async def test_a_change_of_one_host_lists_that_host_and_holds_up_no_events() -> None:
    target = two_hosts()
    async with at_work(target) as watched:
        target.listed.clear()
        target.held["h2"] = asyncio.Event()
        for _ in range(10):
            target.told.put_nowait(HostChange("h2"))
        await target.tell(seen())
        assert watched.shown() == {"c1": "running"}
        assert target.listed == ["h2"]


async def test_a_host_that_does_not_answer_keeps_what_it_showed_last() -> None:
    port = HostView("h1", ports_taken=frozenset({80}), cpu_millis=4000)
    target = ScriptedTarget(hosts={"h1": port}, replicas={"c1": seen()})
    async with at_work(target) as watched:
        target.errors["h1"] = "busy"
        target.hosts["h1"] = HostView("h1", condition="suspect", known=False, since=990.0)
        await watched.observer.look("edge")
        assert watched.shown() == {"c1": "running"}
        host = watched.host()
        assert (host.known, host.condition, host.since) == (False, "suspect", 990.0)
        assert (host.ports_taken, host.cpu_millis) == (frozenset({80}), 4000)
        assert "" in watched.changes
        watched.clock.now = 1010.0
        watched.observer._host_may_be_lost("edge", "h1")
        assert watched.host().condition == "lost"


async def test_room_is_told_of_once_for_all_that_ends_meanwhile() -> None:
    replicas = {f"c{n}": seen(f"c{n}", cpu_millis=100, address={"http": f"127.0.0.1:{8000 + n}"}) for n in range(5)}
    target = ScriptedTarget(hosts={"h1": HostView("h1", ports_taken=frozenset({8000, 22}))}, replicas=replicas)
    async with at_work(target) as watched:
        assert (watched.host().reserved_cpu_millis, watched.host().replicas) == (500, 5)
        for replica in list(replicas.values()):
            await target.tell(ended(replica, address={}))
        assert watched.host().reserved_cpu_millis == 0
        assert watched.host().ports_taken == {22}
        assert "" not in watched.changes
        await asyncio.sleep(ROOM_TOLD_AFTER_S + 0.2)
        assert watched.changes.count("") == 1


@pytest.mark.parametrize(
    "before", [HostView("h1", lacks_images=frozenset({"i"})), HostView("h1", ports_taken=frozenset({80}))]
)
async def test_a_list_that_shows_room_tells_of_it(before: HostView) -> None:
    target = ScriptedTarget(hosts={"h1": before})
    async with at_work(target) as watched:
        await watched.observer.look("edge")
        assert watched.changes == []
        target.hosts["h1"] = HostView("h1")
        await watched.observer.look("edge")
        assert watched.changes == [""]


async def test_a_port_that_became_free_while_the_host_was_listed_stays_free() -> None:
    replica = seen(address={"http": "127.0.0.1:80"})
    target = ScriptedTarget(hosts={"h1": HostView("h1", ports_taken=frozenset({80}))}, replicas={"c1": replica})
    async with at_work(target) as watched:
        target.held["h1"] = asyncio.Event()
        looking = asyncio.create_task(watched.observer.look("edge"))
        await settle()
        await target.tell_removal("c1")
        target.held["h1"].set()
        await looking
        assert watched.host().ports_taken == frozenset()


async def test_health_that_asks_for_nothing_means_running() -> None:
    target = ScriptedTarget()
    async with at_work(target) as watched:
        watched.healths["web"] = Health()
        await target.tell(seen(started_at=900.0))
        (replica,) = watched.observer.replicas("web")
        assert (replica.healthy, replica.healthy_since) == (True, 900.0)
        await target.tell(seen("c2", own_check=True, healthy=None))
        assert [r.healthy for r in watched.observer.replicas("web")] == [True, None]


async def test_a_hosts_clock_that_runs_ahead_says_nothing_of_our_time() -> None:
    target = ScriptedTarget()
    async with at_work(target) as watched:
        await target.tell(seen(started_at=5000.0))
        (replica,) = watched.observer.replicas("web")
        assert replica.healthy_since == 1000.0


async def test_a_replica_seen_before_its_service_was_ours_is_watched_from_then_on() -> None:
    asked = Health(http="/", port="http")
    address = {"http": "127.0.0.1:9"}
    target = ScriptedTarget(replicas={"c1": seen(address=address)})
    async with at_work(target) as watched:
        watched.healths["web"] = None
        watched.observer.watch_again("web")
        assert watched.observer.prober.watched == 0
        assert watched.observer.replicas("web")[0].healthy is None
        watched.healths["web"] = asked
        for _ in range(3):
            watched.observer.watch_all(["web", "api"])
        assert watched.observer.prober.watched == 1
        watched.healths["web"] = "own"
        watched.changes.clear()
        watched.observer.watch_again("web")
        watched.observer.watch_again("web")
        assert watched.observer.prober.watched == 0
        assert watched.changes == ["web"]
        assert watched.observer.replicas("web")[0].healthy is True


async def test_creating_what_is_there_already_takes_nothing_of_what_is_known() -> None:
    async with at_work(ScriptedTarget(replicas={"c1": seen()})) as watched:
        watched.observer.note_done("edge", created("c1"))
        assert watched.shown() == {"c1": "running"}


async def test_a_start_is_shown_before_the_host_tells_of_it() -> None:
    async with at_work(ScriptedTarget()) as watched:
        watched.observer.note_done("edge", created("c1"))
        watched.observer.note_done("edge", Outcome(Start("web", "h1", "c1", "shop.web.c1"), "done"))
        (replica,) = watched.observer.replicas("web")
        assert (replica.condition, replica.started_at) == ("running", 1000.0)


async def test_nothing_is_kept_of_what_is_gone() -> None:
    target = ScriptedTarget()
    async with at_work(target) as watched:
        watched.healths["web"] = Health(tcp=True, every_s=3600.0)
        for number in range(300):
            replica = seen(f"c{number}", cpu_millis=1, address={"http": "127.0.0.1:9"})
            await target.tell(replica)
            await target.tell(replace(replica, condition="exited"))
            await target.tell_removal(replica.id)
        observer = watched.observer
        assert (observer._seen, observer._by_service, observer._hosts._load) == ({}, {}, {})
        assert observer.prober.watched == 0


async def test_what_surely_cannot_serve_is_sick_unasked_until_it_can() -> None:
    paused = seen(healthy=False, drift="it is paused")
    async with at_work(ScriptedTarget(replicas={"c1": paused})) as watched:
        (shown,) = watched.observer.replicas("web")
        assert (shown.healthy, shown.drift) == (False, "it is paused")
        await watched.target.tell(seen())
        (shown,) = watched.observer.replicas("web")
        assert (shown.healthy, shown.drift) == (True, "")
