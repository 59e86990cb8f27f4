"""What `placement:` and a host's block say reaches the core as it is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.configuration.effective import effective_placement
from autoscaler.core.settings import Affinity, PlacementRules, Share, Toleration, Weights
from autoscaler.core.world import Taint
from tests.configuration.builders import a_service, loaded, problems

POOL = """\
cluster: shop
targets:
  edge:
    kind: docker
    hosts:
      - {{name: h1, url: "unix:///var/run/docker.sock"{more}}}
"""


def rules(tmp_path: Path, placement: str) -> PlacementRules:
    return loaded(tmp_path, a_service(f"placement: {{{placement}}}")).configuration.services["web"].placement


def test_unset_keys_are_the_core_s_defaults(tmp_path: Path) -> None:
    assert rules(tmp_path, "") == PlacementRules()


def test_every_key_reaches_the_rules(tmp_path: Path) -> None:
    made = rules(
        tmp_path,
        "strategy: binpack, spread: [rack], max_per_host: 2, host_grace: 5s, drain_report: 20m, platform: linux/arm64, "
        "labels: {zone: [a, b], disk: ssd}, tolerations: [gpu, 'old=yes:NoExecute', {key: k, value: v}], "
        "affinity: [{labels: {zone: a}, weight: 3}], not_beside: [db], shares: {zone: {a: 80%, b: 20%}}, "
        "weights: {image: 0}, rebalance: true",
    )
    assert made == PlacementRules(
        strategy="binpack",
        spread=("rack",),
        max_per_host=2,
        host_grace_s=5.0,
        drain_report_s=1200.0,
        platform="linux/arm64",
        labels=(("disk", ("ssd",)), ("zone", ("a", "b"))),
        tolerations=(Toleration("gpu"), Toleration("old", "yes", "NoExecute"), Toleration("k", "v")),
        affinity=(Affinity("zone", ("a",), 3),),
        beside_none_of=("db",),
        shares=(Share("zone", "a", 80), Share("zone", "b", 20)),
        weights=Weights(image=0),
        rebalance=True,
    )
    shown = effective_placement(made)
    assert shown["labels"] == {"disk": ["ssd"], "zone": ["a", "b"]}
    assert shown["shares"] == {"zone": {"a": "80%", "b": "20%"}}


def test_priority_is_fifty_unless_said(tmp_path: Path) -> None:
    assert loaded(tmp_path, a_service("")).configuration.services["web"].priority == 50
    assert loaded(tmp_path, a_service("priority: 80")).configuration.services["web"].priority == 80


@pytest.mark.parametrize("value", ["101", "-1", "high", "1.5"])
def test_priority_is_a_whole_number_up_to_a_hundred(value: str, tmp_path: Path) -> None:
    assert any("services.web.priority" in text for text in problems(tmp_path, a_service(f"priority: {value}")))


def test_contradictions_name_their_place(tmp_path: Path) -> None:
    found = problems(tmp_path, a_service("placement: {shares: {zone: {a: 80%, b: 30%}}, tolerations: ['k:Never']}"))
    assert any("placement.shares.zone: adds up to more than 100%" in text for text in found)
    assert any("placement.tolerations[0]: not a toleration" in text for text in found)


def test_host_says_its_room_and_its_taints(tmp_path: Path) -> None:
    more = (
        ", overcommit: {cpu: 150%}, keep_back: {cpu: 500m, memory: 1Gi}, "
        "taints: [gpu, 'old=yes:PreferNoSchedule', {key: k, effect: NoExecute}]"
    )
    host = loaded(tmp_path, POOL.format(more=more)).configuration.targets["edge"].hosts[0]
    assert (host.cpu_percent, host.memory_percent) == (150, 100)
    assert (host.kept_cpu_millis, host.kept_memory_bytes) == (500, 2**30)
    assert host.taints == (Taint("gpu"), Taint("old", "yes", "PreferNoSchedule"), Taint("k", "", "NoExecute"))


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (", taints: ['=x']", "targets.edge.hosts[0].taints[0]: not a taint"),
        (", overcommit: {cpu: 2}", "targets.edge.hosts[0].overcommit.cpu: not a percentage above 0%"),
    ],
)
def test_bad_host_is_told_where_and_what(more: str, what: str, tmp_path: Path) -> None:
    assert any(what in text for text in problems(tmp_path, POOL.format(more=more)))
