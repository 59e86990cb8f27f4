"""Which host a replica goes to, with the conformance scenarios that concern placement."""

from __future__ import annotations

from collections import Counter

from autoscaler.core.placement import choose_host, room_of
from autoscaler.core.revision import Port, Resources, RevisionSpec
from autoscaler.core.settings import PlacementRules
from autoscaler.core.state import Replica
from autoscaler.core.world import HostView
from tests.core.builders import NOW, a_host, a_spec


def place(
    service: str, count: int, hosts: list[HostView], rules: PlacementRules | None = None, spec: RevisionSpec | None =
    None,
    before: Counter[str] | None = None,
) -> tuple[Counter[str], str]:  # fmt: skip
    """Where ``count`` replicas go one after another, and why the rest does not."""
    placed: Counter[str] = Counter(before or {})
    replicas = [Replica(n, 1, n, h, NOW) for n, h in enumerate(placed.elements())]
    room = room_of(replicas)
    for _ in range(count):
        host, why = choose_host(hosts, service, spec or a_spec(), rules or PlacementRules(), room)
        if host is None:
            return placed, why
        room.by_host[host] += 1
        room.fresh[host] += 1
        placed[host] += 1
    return placed, ""


def test_dl7_spreads_by_service_first_and_then_by_replicas_in_all() -> None:
    hosts = [a_host(f"h{n}") for n in range(1, 6)]
    a, _ = place("a", 18, hosts)
    assert sorted(a.values()) == [3, 3, 4, 4, 4]
    loaded = [a_host(h.name, replicas=a[h.name]) for h in hosts]
    b, _ = place("b", 2, loaded)
    thin = {name for name, n in a.items() if n == 3}
    assert set(b) == thin
    loaded = [a_host(h.name, replicas=a[h.name] + b[h.name]) for h in hosts]
    more, _ = place("a", 3, loaded, before=a)
    grown = {name for name in more if more[name] > a[name]}
    assert thin < grown
    assert len(grown) == 3


def test_dl8_zones_are_filled_evenly_before_hosts() -> None:
    hosts = [a_host("h1", labels={"zone": "1"}), *(a_host(f"h{n}", labels={"zone": "2"}) for n in range(2, 6))]
    placed, _ = place("a", 8, hosts)
    assert placed == {"h1": 4, "h2": 1, "h3": 1, "h4": 1, "h5": 1}


def test_dl9_full_hosts_are_counted_in_the_reason() -> None:
    hosts = [a_host("h1"), a_host("h2"), a_host("h3", condition="draining")]
    placed, why = place("a", 5, hosts, PlacementRules(max_per_host=2))
    assert placed == {"h1": 2, "h2": 2}
    assert why == "no host: 1 draining, 2 have 2 of the service already"


def test_resources_count_what_the_hosts_do_not_show_yet() -> None:
    spec = a_spec(resources=Resources(500, 0))
    hosts = [a_host("h1", cpu_millis=2000, reserved_cpu_millis=500)]
    placed, why = place("a", 5, hosts, spec=spec)
    assert (placed["h1"], why) == (3, "no host: 1 lack cpu (need 500m)")
    room = room_of([], [Replica(n, 1, n, "h1", NOW) for n in range(3)])
    assert choose_host(hosts, "a", spec, PlacementRules(), room)[0] is None


def test_host_that_cannot_get_the_image_or_does_not_answer_is_left_out() -> None:
    spec = RevisionSpec(image="shop/web:1", pinned="sha256:1")
    hosts = [a_host("h1", lacks_images=frozenset({"sha256:1"})), a_host("h2", known=False)]
    assert place("a", 1, hosts, spec=spec)[1] == "no host: 1 cannot get the image, 1 not answering"


def test_fixed_host_port_is_taken_once_per_host() -> None:
    spec = a_spec(ports=(("http", Port(80, 80)),))
    placed, why = place("a", 3, [a_host("h1"), a_host("h2", ports_taken=frozenset({80}))], spec=spec)
    assert (placed, why) == ({"h1": 1}, "no host: 2 have the port taken")


def test_slot_that_just_failed_on_a_host_goes_elsewhere_where_it_can() -> None:
    hosts = [a_host("h1"), a_host("h2", replicas=9)]
    room = room_of([])
    assert choose_host(hosts, "a", a_spec(), PlacementRules(spread=()), room, avoid="h1")[0] == "h2"
    assert choose_host(hosts[:1], "a", a_spec(), PlacementRules(spread=()), room, avoid="h1")[0] == "h1"
