"""Which host a replica goes to: filters with counted reasons, scores, rank; with the conformance scenarios."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from autoscaler.core.placement import Asked, Room, choose_host, ranked, room_of
from autoscaler.core.placement.explaining import verdict_on
from autoscaler.core.placement.ranking import Slot
from autoscaler.core.placement.scorers import affinity_score, anti_affinity_score, share_score
from autoscaler.core.revision import Port, Resources, RevisionSpec
from autoscaler.core.settings import Affinity, PlacementRules, PolicyUse, Share, Toleration, Weights
from autoscaler.core.state import Replica
from autoscaler.core.world import HostView, Taint
from tests.core.builders import NOW, a_host, a_spec

MIB, GIB = 2**20, 2**30


def asked_for(rules: PlacementRules | None = None, spec: RevisionSpec | None = None, **changes: Any) -> Asked:
    """One more replica of the service ``a``."""
    return Asked("a", spec or a_spec(), rules or PlacementRules(), **changes)


def place(
    service: str, count: int, hosts: list[HostView], rules: PlacementRules | None = None, spec: RevisionSpec | None =
    None,
    before: Counter[str] | None = None,
) -> tuple[Counter[str], str]:  # fmt: skip
    """Where ``count`` replicas go one after another, and why the rest does not."""
    placed: Counter[str] = Counter(before or {})
    room = room_of(Replica(n, 1, n, h, NOW) for n, h in enumerate(placed.elements()))
    asked = Asked(service, spec or a_spec(), rules or PlacementRules(), count)
    for _ in range(count):
        host, why = choose_host(hosts, asked, room)
        if host is None:
            return placed, why
        room.take(host, asked.spec.resources)
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
    assert why == "no host: 2 have 2 of the service already, 1 draining"


def test_hosts_that_the_image_is_not_made_for_are_counted_in_the_reason() -> None:
    hosts = [a_host("h1", platform="linux/amd64"), a_host("h2", platform="linux/amd64"), a_host("h3")]
    spec = RevisionSpec(image="shop/web:1", pinned="shop/web@sha256:1", platforms=("linux/arm64",))
    placed, why = place("a", 4, hosts, PlacementRules(max_per_host=1), spec=spec)
    assert placed == {"h3": 1}, "of which nothing is known"
    assert "2 of another platform (the image is for linux/arm64)" in why
    verdict = verdict_on("h1", ranked(hosts, asked_for(spec=spec), Room()), PlacementRules())
    assert verdict is not None
    assert (verdict.code, verdict.text) == ("platform", "of another platform (the image is for linux/arm64)")


def test_the_configurations_platform_has_the_last_word_over_the_images_own() -> None:
    hosts = [a_host("h1", platform="linux/amd64"), a_host("h2", platform="linux/arm64")]
    spec = RevisionSpec(image="shop/web:1", pinned="shop/web@sha256:1", platforms=("linux/arm64",))
    placed, _ = place("a", 2, hosts, PlacementRules(platform="linux/amd64"), spec=spec)
    assert placed == {"h1": 2}


def test_dl9_hosts_of_another_platform_are_counted_in_the_reason() -> None:
    hosts = [a_host(f"h{n}", platform="linux/amd64") for n in range(3)]
    placed, why = place("a", 1, [*hosts, a_host("h3", condition="lost")], PlacementRules(platform="linux/arm64"))
    assert (placed, why) == ({}, "no host: 3 of another platform (need linux/arm64), 1 lost")


def test_reason_says_how_much_is_needed_and_how_much_is_free_at_most() -> None:
    hosts = [
        a_host("h1", memory_bytes=1024 * MIB, reserved_memory_bytes=724 * MIB),
        a_host("h2", memory_bytes=1024 * MIB, reserved_memory_bytes=1000 * MIB),
        a_host("h3", condition="draining"),
    ]
    _, why = place("a", 1, hosts, spec=a_spec(resources=Resources(0, 512 * MIB)))
    assert why == "no host: 2 lack memory (need 512 MiB, most free 300), 1 draining"


def test_resources_count_what_the_hosts_do_not_show_yet() -> None:
    spec = a_spec(resources=Resources(500, 0))
    hosts = [a_host("h1", cpu_millis=2000, reserved_cpu_millis=500)]
    placed, why = place("a", 5, hosts, spec=spec)
    assert (placed["h1"], why) == (3, "no host: 1 lack cpu (need 500m, most free 0m)")
    unseen = [Replica(n, 1, n, "h1", NOW) for n in range(3)]
    room = room_of([], unseen, lambda _: Resources(500, 0))
    assert choose_host(hosts, asked_for(spec=spec), room)[0] is None


def test_overcommit_adds_room_and_what_is_kept_back_takes_it_off() -> None:
    spec = a_spec(resources=Resources(1000, 0))
    hosts = [a_host("h1", cpu_millis=4000, cpu_percent=150, kept_cpu_millis=500)]
    assert place("a", 9, hosts, spec=spec)[0] == {"h1": 5}


def test_host_that_cannot_get_the_image_or_does_not_answer_is_left_out() -> None:
    spec = RevisionSpec(image="shop/web:1", pinned="sha256:1")
    hosts = [a_host("h1", lacks_images=frozenset({"sha256:1"})), a_host("h2", known=False)]
    assert place("a", 1, hosts, spec=spec)[1] == "no host: 1 cannot get the image, 1 not answering"


def test_fixed_host_port_is_taken_once_per_host() -> None:
    spec = a_spec(ports=(("http", Port(80, 80)),))
    placed, why = place("a", 3, [a_host("h1"), a_host("h2", ports_taken=frozenset({80}))], spec=spec)
    assert (placed, why) == ({"h1": 1}, "no host: 2 have the port taken")


def test_labels_and_taints_keep_replicas_off_hosts() -> None:
    hosts = [
        a_host("h1", labels={"disk": "hdd"}),
        a_host("h2", labels={"disk": "ssd"}, taints=(Taint("gpu"),)),
        a_host("h3", labels={"disk": "nvme"}),
    ]
    rules = PlacementRules(labels=(("disk", ("ssd", "nvme")),), max_per_host=1)
    placed, why = place("a", 2, hosts, rules)
    assert placed == {"h3": 1}
    assert why == ("no host: 1 have 1 of the service already, 1 tainted gpu:NoSchedule, 1 without label disk=ssd|nvme")
    tolerant = PlacementRules(labels=rules.labels, tolerations=(Toleration("gpu"),), max_per_host=1)
    assert set(place("a", 2, hosts, tolerant)[0]) == {"h2", "h3"}


def test_soft_taint_is_taken_where_there_is_no_better_host() -> None:
    hosts = [a_host("h1", taints=(Taint("old", "", "PreferNoSchedule"),)), a_host("h2", replicas=50)]
    assert place("a", 1, hosts)[0] == {"h2": 1}
    assert place("a", 1, hosts[:1])[0] == {"h1": 1}


def test_no_replica_goes_beside_a_service_that_it_must_not_share_a_host_with() -> None:
    hosts = [a_host("h1", services=frozenset({"db"})), a_host("h2", replicas=50)]
    assert place("a", 1, hosts, PlacementRules(beside_none_of=("db",)))[0] == {"h2": 1}


def test_slot_with_a_volume_stays_where_its_volume_is() -> None:
    hosts = [a_host("h1", replicas=9), a_host("h2")]
    assert choose_host(hosts, asked_for(), room_of([]), Slot(home="h1"))[0] == "h1"
    full = [a_host("h1", cpu_millis=100), a_host("h2")]
    found, why = choose_host(full, asked_for(spec=a_spec(resources=Resources(200, 0))), Room(), Slot(home="h1"))
    assert found is None
    assert "1 do not hold the volume, which is on h1" in why


def test_slot_that_just_failed_on_a_host_goes_elsewhere_where_it_can() -> None:
    hosts = [a_host("h1"), a_host("h2", replicas=9)]
    asked, slot = asked_for(PlacementRules(spread=())), Slot(failed_on="h1")
    assert choose_host(hosts, asked, Room(), slot)[0] == "h2"
    assert choose_host(hosts[:1], asked, Room(), slot)[0] == "h1"


def test_slot_that_moves_leaves_its_host_though_that_has_fewest_of_the_service() -> None:
    hosts = [a_host("h1"), a_host("h2")]
    room = room_of([Replica(0, 1, 1, "h2", NOW)])
    assert choose_host(hosts, asked_for(), room, Slot(failed_on="h1"))[0] == "h1"
    assert choose_host(hosts, asked_for(), room, Slot(failed_on="h1", moves=True))[0] == "h2"


def test_host_with_five_failures_lately_comes_after_all_others_and_one_with_four_does_not() -> None:
    hosts = [a_host("h1"), a_host("h2", replicas=50)]
    assert choose_host(hosts, asked_for(failures={"h1": 5}), Room())[0] == "h2"
    assert choose_host(hosts, asked_for(failures={"h1": 4}), Room())[0] == "h1"


EXAMPLE = [
    a_host(name, labels={}, cpu_millis=4000, memory_bytes=8 * GIB, reserved_cpu_millis=cpu * 1000,
           reserved_memory_bytes=memory * GIB, images={"sha256:1": 300 * MIB} if name != "C" else {})
    for name, cpu, memory in (("A", 2, 2), ("B", 1, 4), ("C", 0, 0))
]  # fmt: skip
REPLICA = RevisionSpec(image="shop/web:1", pinned="sha256:1", resources=Resources(1000, GIB))


@pytest.mark.parametrize(
    ("strategy", "fit", "means"),
    [
        ("spread", {"A": 0.222, "B": 0.196, "C": 0.618}, {"C": 0.519, "B": 0.438, "A": 0.405}),
        ("binpack", {"A": 0.778, "B": 0.804, "C": 0.382}, {"B": 0.641, "A": 0.591, "C": 0.440}),
    ],
)
def test_worked_example_of_scores(strategy: Any, fit: dict[str, float], means: dict[str, float]) -> None:
    choices = ranked(EXAMPLE, asked_for(PlacementRules(strategy=strategy), REPLICA), Room())
    assert [choice.host for choice in choices] == list(means)
    for choice in choices:
        assert choice.scores is not None
        assert choice.score / 1e6 == pytest.approx(means[choice.host], abs=0.0006)
        assert choice.scores["fit"] / 1e6 == pytest.approx(fit[choice.host], abs=0.0006)
    scores = {choice.host: choice.scores or {} for choice in choices}
    assert [scores[host]["balance"] for host in "ABC"] == [812_500, 937_500, 937_500]
    assert [scores[host]["image"] for host in "ABC"] == [181_167, 181_167, 0]


def test_half_full_host_fits_as_the_formula_says() -> None:
    host = a_host("h1", labels={}, cpu_millis=4000, memory_bytes=8 * GIB, reserved_cpu_millis=1000,
                  reserved_memory_bytes=3 * GIB)  # fmt: skip
    for strategy, value in (("spread", 0.240), ("binpack", 0.760)):
        rules = PlacementRules(strategy=strategy)  # type: ignore[arg-type]
        (choice,) = ranked([host], asked_for(rules, a_spec(resources=Resources(1000, GIB))), Room())
        assert choice.scores is not None
        assert choice.scores["fit"] / 1e6 == pytest.approx(value, abs=0.0006)


def test_single_scorers_give_the_values_of_their_formulas() -> None:
    image = [a_host(f"h{n}", images={"sha256:1": 300 * MIB} if n < 2 else {}) for n in range(4)]
    scores = {c.host: c.scores or {} for c in ranked(image, asked_for(spec=REPLICA), Room())}
    assert [round(scores[f"h{n}"]["image"] / 1e6, 3) for n in range(4)] == [0.130, 0.130, 0, 0]
    assert anti_affinity_score(2, 4) == -750_000
    assert anti_affinity_score(0, 4) == 0
    assert share_score(80, 10, 2) == 625_000
    assert affinity_score(a_host(), (Affinity("zone", ("h1",), 3), Affinity("zone", ("h2",), -1))) == 750_000


def test_scorer_silent_for_every_host_is_left_out_and_one_unknown_host_gets_the_mean() -> None:
    hosts = [a_host("h1", cpu_load=0.2), a_host("h2", cpu_load=0.6), a_host("h3")]
    scores = {c.host: c.scores or {} for c in ranked(hosts, asked_for(), Room())}
    assert [scores[h]["load"] for h in ("h1", "h2", "h3")] == [800_000, 400_000, 600_000]
    silent = ranked([a_host("h1"), a_host("h2")], asked_for(), Room())
    assert all(choice.scores == {} for choice in silent)


def test_plugins_scores_count_with_their_weight_and_a_silent_one_does_not_count() -> None:
    rules = PlacementRules(scorers=((PolicyUse("near"), 3),))
    hosts = [a_host("h1"), a_host("h2")]
    asked = asked_for(rules, scores={"near": {"h1": 100_000, "h2": 900_000}})
    best = ranked(hosts, asked, Room())[0]
    assert (best.host, best.score) == ("h2", 900_000)
    assert ranked(hosts, asked_for(rules, scores={"near": {}}), Room())[0].scores == {}


def test_shares_of_a_label_draw_replicas_in_their_proportion() -> None:
    hosts = [a_host(f"h{n}", labels={"zone": "ab"[n % 2]}) for n in range(4)]
    rules = PlacementRules(spread=(), shares=(Share("zone", "a", 80), Share("zone", "b", 20)))
    placed, _ = place("a", 10, hosts, rules)
    assert placed["h0"] + placed["h2"] == 8


def test_binpack_fills_a_host_before_the_next() -> None:
    spec = a_spec(resources=Resources(1000, GIB))
    hosts = [
        a_host(f"h{n}", cpu_millis=4000, memory_bytes=4 * GIB, reserved_cpu_millis=1000 * (n == 2)) for n in (1, 2)
    ]
    placed, _ = place("a", 3, hosts, PlacementRules(strategy="binpack", weights=Weights(anti_affinity=0)), spec)
    assert placed == {"h2": 3}
    apart, _ = place("a", 2, hosts, PlacementRules(strategy="binpack"), spec)
    assert apart == {"h1": 1, "h2": 1}


def why_not(host: str, hosts: list[HostView], rules: PlacementRules, room: Room | None = None) -> tuple[str, str]:
    """The code and the words that stand against a host."""
    verdict = verdict_on(host, ranked(hosts, asked_for(rules), room or Room()), rules)
    assert verdict is not None
    return verdict.code, verdict.text


def test_plan_says_why_not_another_host() -> None:
    rules = PlacementRules()
    old = (Taint("old", "", "PreferNoSchedule"),)
    hosts = [a_host("h1"), a_host("h2", condition="cordoned"), a_host("h3", taints=old)]
    assert why_not("h2", hosts, rules) == ("condition", "cordoned")
    assert why_not("h1", hosts, rules) == ("", "it would be taken, before 1 others")
    code, text = why_not("h3", hosts, rules)
    assert (code, text) == ("score", "score 0.000, h1 has 1.000 (taints 0.000 to 1.000)")
    room = room_of([Replica(0, 1, 1, "h1", NOW)])
    assert why_not("h1", hosts, rules, room) == ("spread.zone", "1 of the service on its zone, 0 on that of h3")
    assert verdict_on("h9", ranked(hosts, asked_for(rules), Room()), rules) is None
