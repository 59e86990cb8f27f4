"""Placing many by the index chooses what looking at every host for each replica would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.core.placement import Asked, Placer, Room, choose_host
from autoscaler.core.placement.index import index_for
from autoscaler.core.revision import Port, Resources, RevisionSpec
from autoscaler.core.settings import Affinity, PlacementRules, Share, Toleration
from autoscaler.core.world import Hosts, HostView, Taint

GIB = 2**30


@dataclass(frozen=True)
class Case:
    """A pool, what is asked, and what the service has where."""

    hosts: list[HostView]
    asked: Asked
    before: dict[str, int]
    changes: list[tuple[int, dict[str, Any]]]


@st.composite
def a_pool_host(draw: st.DrawFn, name: str) -> HostView:
    """One host in some condition."""
    labels = {"zone": draw(st.sampled_from("abc")), "rack": draw(st.sampled_from("xy"))}
    return HostView(
        name,
        condition=draw(st.sampled_from(["ready", "ready", "ready", "draining"])),
        known=draw(st.sampled_from([True, True, True, False])),
        labels=draw(st.sampled_from([labels, labels, {}])),
        cpu_millis=draw(st.sampled_from([4000, 4000, 4000, 0])),
        memory_bytes=8 * GIB,
        reserved_cpu_millis=draw(st.sampled_from([0, 500, 1000, 3500])),
        reserved_memory_bytes=draw(st.integers(0, 4)) * GIB,
        replicas=draw(st.integers(0, 3)),
        ports_taken=draw(st.sampled_from([frozenset(), frozenset(), frozenset({80})])),
        cpu_load=draw(st.sampled_from([None, 0.2, 0.5])),
        images=draw(st.sampled_from([{}, {"sha256:1": 300 * 2**20}])),
        taints=draw(st.sampled_from([(), (), (Taint("a", "b", "PreferNoSchedule"),), (Taint("a"),)])),
        services=draw(st.sampled_from([frozenset(), frozenset(), frozenset({"db"})])),
    )


@st.composite
def a_case(draw: st.DrawFn) -> Case:
    """A small pool, in which ties and full hosts are frequent."""
    hosts = [draw(a_pool_host(f"h{n}")) for n in range(draw(st.integers(0, 9)))]
    rules = PlacementRules(
        spread=draw(
            st.sampled_from([("zone", "host"), ("host",), (), ("host", "zone"), ("zone", "rack", "host"), ("zone",)])
        ),
        max_per_host=draw(st.sampled_from([0, 0, 2])),
        strategy=draw(st.sampled_from(["spread", "spread", "binpack"])),
        labels=draw(st.sampled_from([(), (), (("zone", ("a", "b")),)])),
        affinity=draw(st.sampled_from([(), (Affinity("zone", ("a",), 3), Affinity("rack", ("x",), -1))])),
        shares=draw(st.sampled_from([(), (), (Share("zone", "a", 80),)])),
        beside_none_of=draw(st.sampled_from([(), (), ("db",)])),
        tolerations=draw(st.sampled_from([(), (Toleration("a"),)])),
    )
    spec = RevisionSpec(
        image="shop/web:1",
        pinned=draw(st.sampled_from(["", "sha256:1"])),
        resources=Resources(draw(st.sampled_from([0, 500])), draw(st.sampled_from([0, GIB]))),
        ports=draw(st.sampled_from([(), (), (), (("http", Port(80, 80)),)])),
    )
    names = [host.name for host in hosts]
    some = st.dictionaries(st.sampled_from(names or ["none"]), st.integers(1, 3), max_size=4)
    failures = {host: count * 2 + 1 for host, count in draw(some).items()}
    scores = draw(st.sampled_from([{}, {}, {"near": {name: 7_000 * n for n, name in enumerate(names[1:])}}]))
    asked = Asked(draw(st.sampled_from(["web", "api", "db"])), spec, rules, draw(st.integers(1, 12)), failures, scores)
    change = st.fixed_dictionaries({
        "reserved_cpu_millis": st.sampled_from([0, 1000, 3500]),
        "condition": st.sampled_from(["ready", "ready", "lost"]),
        "replicas": st.integers(0, 5),
    })  # fmt: skip
    return Case(hosts, asked, draw(some), draw(st.lists(st.tuples(st.integers(0, 8), change), max_size=3)))


def a_room(case: Case) -> Room:
    """The room before anything is placed; the first of what is there is not shown yet."""
    room = Room()
    for number, (host, count) in enumerate(case.before.items()):
        for _ in range(count):
            room.take(host, case.asked.spec.resources, shown=number > 0)
    return room


def one_by_one(hosts: Sequence[HostView], asked: Asked, room: Room, count: int) -> list[str | None]:
    """Where ``count`` replicas go, every host looked at for each."""
    found = []
    for _ in range(count):
        host, _ = choose_host(hosts, asked, room)
        if host is not None:
            room.take(host, asked.spec.resources)
        found.append(host)
    return found


@settings(max_examples=300, deadline=None)
@given(case=a_case(), count=st.integers(1, 12))
def test_many_go_where_they_would_go_one_by_one(case: Case, count: int) -> None:
    placer = Placer(case.hosts, case.asked, a_room(case))
    assert [placer.place() for _ in range(count)] == one_by_one(case.hosts, case.asked, a_room(case), count)


@settings(max_examples=150, deadline=None)
@given(case=a_case(), single=st.booleans())
def test_index_of_a_pool_that_changes_answers_as_one_made_anew(case: Case, single: bool) -> None:  # noqa: FBT001 - hypothesis calls it so
    pool = Hosts(case.hosts)
    Placer(pool, case.asked, a_room(case)).place()
    for place, change in case.changes:
        if place < len(pool):
            view = replace(pool[place], **change)
            views = [*pool[:place], view, *pool[place + 1 :]]
            pool = pool.replaced({view.name: view}) if single else Hosts(views, pool.memo)
    placer = Placer(pool, case.asked, a_room(case))
    assert [placer.place() for _ in range(4)] == one_by_one(tuple(pool), case.asked, a_room(case), 4)


@settings(max_examples=100, deadline=None)
@given(case=a_case(), leaves=st.integers(0, 8))
def test_placer_notices_what_somebody_else_takes_or_gives_back(case: Case, leaves: int) -> None:
    fast, slow = a_room(case), a_room(case)
    placer = Placer(case.hosts, case.asked, fast)
    assert placer.place() == one_by_one(case.hosts, case.asked, slow, 1)[0]
    if leaves < len(case.hosts):
        for room in (fast, slow):
            room.take(case.hosts[leaves].name, Resources(500, GIB))
            if room.by_host[case.hosts[0].name]:
                room.leave(case.hosts[0].name)
    assert [placer.place() for _ in range(3)] == one_by_one(case.hosts, case.asked, slow, 3)


def test_services_that_ask_alike_share_one_index_and_others_do_not() -> None:
    pool, rules = Hosts([HostView("h1")]), PlacementRules()
    spec = RevisionSpec(command=("serve",))
    first = index_for(pool, Asked("web", spec, rules))
    assert index_for(pool.replaced({"h1": HostView("h1", replicas=1)}), Asked("api", spec, rules)) is first
    assert index_for(pool, Asked("web", replace(spec, resources=Resources(1, 0)), rules)) is not first
