"""What `score_host` plugins say of hosts is asked for before a decision, enters it as data, and is recorded with it."""

from __future__ import annotations

from autoscaler.core.settings import PlacementRules, PolicyUse
from autoscaler.engine.host_scoring import SCORES_S
from autoscaler.events.writing import control_event, message_of
from autoscaler.ports.stream import Outgoing, Topic
from tests.core.builders import NOW, a_service, some_settings
from tests.engine.shards import Driven, a_setup, a_shard, running

RULES = PlacementRules(spread=(), scorers=((PolicyUse("near"), 5),))
SAID = {"near": {"h1": 100_000, "h2": 900_000}}


def scaled(replicas: int, identity: str = "c-1") -> Outgoing:
    return message_of(Topic.CONTROL, "web", control_event("web", "scale", "/ops", {"replicas": replicas}, id=identity))


def a_scored_shard(rules: PlacementRules = RULES) -> Driven:
    state = a_service(2)
    return a_shard(a_setup({"web": some_settings(placement=rules)}, shown=running(state)), state)


def test_scores_decide_where_replicas_go_and_stand_in_the_record() -> None:
    driven = a_scored_shard()
    driven.take(scaled(4))
    (asked,) = driven.shard.score_requests(NOW).values()
    assert [host.name for host in asked.hosts] == ["h1", "h2"]
    assert (asked.facts.name, asked.uses) == ("web", (PolicyUse("near"),))
    driven.shard.scoring.take("web", SAID)
    records = driven.turn()
    assert [r.host for r in driven.state.replicas if r.attempt > 2] == ["h2", "h2"]
    (placed,) = [record for record in records if record.reason.code == "start"]
    assert [(one.signal, one.value) for one in placed.inputs] == [("near@h1", 0.1), ("near@h2", 0.9)]


def test_silent_plugin_decides_nothing() -> None:
    silent, plain = a_scored_shard(), a_scored_shard(PlacementRules(spread=()))
    for driven in (silent, plain):
        driven.take(scaled(5))
        driven.shard.score_requests(NOW)
        driven.turn()
    assert silent.state.replicas == plain.state.replicas


def test_hosts_are_scored_again_after_a_while_and_only_for_services_that_ask_for_it() -> None:
    driven = a_scored_shard()
    driven.take(scaled(3))
    assert driven.shard.score_requests(NOW)
    assert not driven.shard.score_requests(NOW + SCORES_S - 1)
    assert driven.shard.score_requests(NOW + SCORES_S)
    plain = a_scored_shard(PlacementRules())
    plain.take(scaled(3))
    assert not plain.shard.score_requests(NOW)
