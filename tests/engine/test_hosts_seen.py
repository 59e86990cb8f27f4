"""What is known of hosts: who runs there, what is used, and that a host which has not changed stays the same object."""

from __future__ import annotations

from dataclasses import replace

from autoscaler.core.world import HostView, ObservedReplica
from autoscaler.engine.clock import SystemClock
from autoscaler.engine.hosts_seen import LOAD_OVER_S, HostsSeen
from autoscaler.ports.target import HostListing


class Clock(SystemClock):
    """A clock that stands until it is moved."""

    now = 1_800_000_000.0

    def wall(self) -> float:
        return self.now


def a_replica(number: int, host: str, service: str = "web") -> ObservedReplica:
    return ObservedReplica(
        f"c{number}", f"shop.{service}.s0.r1.{number}", service, 0, 1, number, host, "running", cpu_millis=500
    )


def two_hosts() -> tuple[HostsSeen, Clock]:
    clock = Clock()
    seen = HostsSeen(["edge"], clock)
    for name in ("h1", "h2"):
        seen.take("edge", HostListing(HostView(name, cpu_millis=4000, memory_bytes=1000), ()), set())
    return seen, clock


def test_services_are_those_with_a_replica_there() -> None:
    seen, _ = two_hosts()
    web, db = a_replica(1, "h1"), a_replica(2, "h1", "db")
    for replica in (web, db, a_replica(3, "h1")):
        seen.change("edge", None, replica)
    assert [view.services for view in seen.views("edge")] == [{"web", "db"}, frozenset()]
    seen.change("edge", db, replace(db, condition="exited"))
    seen.change("edge", web, None)
    assert seen.views("edge")[0].services == {"web"}


def test_host_that_has_not_changed_is_the_same_object_and_the_pool_keeps_its_memo() -> None:
    seen, _ = two_hosts()
    before = seen.views("edge")
    assert seen.views("edge") is before
    seen.change("edge", None, a_replica(1, "h2"))
    after = seen.views("edge")
    assert after[0] is before[0]
    assert (after[1].reserved_cpu_millis, after[1].replicas) == (500, 1)
    assert after.memo is before.memo
    assert (after.former, after.changed) == (before.serial, ("h2",))


def test_live_load_is_the_mean_of_the_last_minute_and_unknown_where_nothing_was_measured() -> None:
    seen, clock = two_hosts()
    seen.use("edge", {"h1": (1.0, 100)})
    clock.now += 15
    seen.use("edge", {"h1": (3.0, 300)})
    one, other = seen.views("edge")
    assert (one.cpu_load, one.memory_load) == (0.5, 0.2)
    assert (other.cpu_load, other.memory_load) == (None, None)
    clock.now += LOAD_OVER_S
    seen.use("edge", {"h1": (1.0, 100)})
    assert seen.views("edge")[0].cpu_load == 0.5
    clock.now += 1
    seen.use("edge", {"h1": (1.0, 100)})
    assert seen.views("edge")[0].cpu_load == 0.25
