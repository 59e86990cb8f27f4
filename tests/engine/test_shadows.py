"""Shadow policies: they see what the live ones see, say what they would do, and change nothing whatever they do."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autoscaler
from autoscaler.core.settings import Bounds, PolicyUse, Scaling, ServiceSettings
from autoscaler.core.signals import SignalsView
from autoscaler.engine.shadows import ServiceShadows, Shadow
from autoscaler.engine.takeover import rebuild
from autoscaler.engine.volatile import Judge, Volatile
from autoscaler.ledger.state_codec import decode_state
from autoscaler.plugin_host import PluginHost
from autoscaler.ports.stream import Restored, StoredMessage, Topic
from autoscaler.simulator.chance import Chance
from autoscaler.testing.scenario import Scenario
from tests.engine.instances import at_work, deployment, eventually, quick_settings, sample
from tests.engine.streams import MemoryLog

QUICK = ServiceSettings(
    target="lab",
    target_kind="docker",
    bounds=Bounds(0, 20, 1),
    scaling=Scaling(down_window_s=20.0, max_age_s=15.0, idle_s=30.0),
)


def a_policy(propose: Callable[..., Any], name: str = "given") -> ModuleType:
    """A module with that hook."""
    module = ModuleType(name)
    module.propose = autoscaler.hookimpl(propose)  # type: ignore[attr-defined]
    return module


def per(load: float) -> ModuleType:
    """A replica for so much load."""

    def propose(signals: SignalsView) -> Any:
        latest = signals["load"].latest
        return None if latest is None else autoscaler.Scale(math.ceil(latest / load), f"{latest:g} over {load:g}")

    return a_policy(propose)


def with_shadow(shadow: ModuleType, live: ModuleType | None = None) -> Scenario:
    """A service of one replica for a load of ten, and a shadow."""
    return Scenario(live or per(10), settings=QUICK, shadows={"other": (shadow, {})})


def the_shadow(scenario: Scenario) -> Shadow:
    """What is known of the only one."""
    (shadow,) = scenario.shard.evaluator.shadows["web"].shadows
    return shadow


def test_shadow_follows_its_own_wishes_and_nothing_is_done() -> None:
    scenario = with_shadow(per(5))
    scenario.sample(load=40)
    shadow = the_shadow(scenario)
    assert (scenario.demand, shadow.demand, shadow.live, shadow.outcome) == (4, 8, 4, "more")
    assert shadow.text == "40 over 5"


@pytest.mark.parametrize(("combine", "quorum"), [("min", 0), ("priority", 0), ("quorum", 0), ("quorum", 2)])
def test_shadow_is_in_charge_alone_whatever_the_live_ones_have_to_agree_on(combine: Any, quorum: int) -> None:
    scaling = replace(QUICK.scaling, combine=combine, quorum=quorum)
    scenario = Scenario(per(10), settings=replace(QUICK, scaling=scaling), shadows={"other": (per(5), {})})
    scenario.sample(load=40)
    assert the_shadow(scenario).demand == 8


def test_shadow_waits_for_its_own_window_before_it_would_shrink() -> None:
    scenario = with_shadow(per(5))
    scenario.advance(30, every=5, load=40)
    scenario.advance(10, every=5, load=10)
    assert the_shadow(scenario).demand == 8
    scenario.advance(15, every=5, load=10)
    assert (scenario.demand, the_shadow(scenario).demand) == (1, 2)


def test_shadow_is_held_by_bounds_and_by_an_operator_as_the_live_one_is() -> None:
    scenario = with_shadow(per(1))
    scenario.sample(load=40)
    assert the_shadow(scenario).demand == 20
    scenario.command("scale", replicas=7)
    scenario.sample(load=41)
    assert (scenario.demand, the_shadow(scenario).demand, the_shadow(scenario).outcome) == (7, 7, "agrees")


def test_disagreement_adds_up_in_replica_seconds_and_gaps_do_not_count() -> None:
    scenario = with_shadow(per(5))
    scenario.advance(50, every=5, load=40)
    assert the_shadow(scenario).more_s == pytest.approx(4 * 45)
    scenario.advance(1000)
    scenario.sample(load=40)
    assert the_shadow(scenario).more_s == pytest.approx(4 * 45 + 4 * QUICK.scaling.max_age_s)
    counters = scenario.shard.setup.counters
    assert counters.shadow_seconds["other", "more"] == pytest.approx(the_shadow(scenario).more_s)
    assert counters.shadows["other", "more"] == 11


def test_shadow_without_opinion_agrees_and_an_unknown_one_says_so() -> None:
    scenario = with_shadow(a_policy(lambda: None))
    scenario.sample(load=40)
    assert (the_shadow(scenario).outcome, the_shadow(scenario).demand) == ("agrees", 4)
    scenario = with_shadow(a_policy(lambda signals: autoscaler.Hold("lost", unknown=True)))
    scenario.sample(load=40)
    assert the_shadow(scenario).outcome == "unknown"


def test_vote_of_a_shadow_against_a_revision_is_told_and_rolls_nothing_back() -> None:
    shadow = a_policy(lambda: autoscaler.Rollback("bad"))
    scenario = with_shadow(shadow)
    scenario.deploy("web:2")
    scenario.sample(load=20)
    assert (the_shadow(scenario).outcome, the_shadow(scenario).text) == ("rollback", "bad")
    scenario.advance(400, every=5, load=20)
    assert scenario.state.revision == 2
    assert scenario.state.revision_numbered(2).standing == "stable"  # type: ignore[union-attr]


def written(scenario: Scenario) -> list[Any]:
    """What the next conclusion would append."""
    append = scenario.shard.conclude(scenario.now)
    scenario.shard.committed(scenario.now)
    return list(append.records) if append is not None else []


def test_a_shadow_writes_no_record_and_raises_no_generation_and_its_state_at_most_once_a_minute() -> None:
    fickle = a_policy(
        lambda signals: autoscaler.Scale(8) if signals["load"].latest == 40 else autoscaler.Hold(unknown=True)
    )
    scenario = with_shadow(fickle)
    scenario.advance(60, every=1, load=40)
    generation, seq = scenario.state.generation, scenario.state.seq
    topics: list[Topic] = []
    for second in range(600):
        scenario._driven.advance_to(scenario.now + 1)
        scenario.shard.take(_batch(scenario, 40 if second % 2 else 35), scenario.now)
        topics += [record.topic for record in written(scenario)]
    assert (scenario.state.generation, scenario.state.seq) == (generation, seq)
    assert Topic.AUDIT not in topics
    # Each write is the state and the partition's record.
    assert 0 < topics.count(Topic.STATE) <= 2 * 10


def _batch(scenario: Scenario, load: float) -> Any:
    sent: list[Any] = []
    take = scenario._driven.take
    scenario._driven.take = lambda batch: sent.append(batch) or []  # type: ignore[method-assign, assignment, func-returns-value]
    scenario.sample(load=load)
    scenario._driven.take = take  # type: ignore[method-assign]
    return sent[0]


def remembers(signals: SignalsView, memory: dict[str, Any]) -> Any:
    """Counts how often it was asked."""
    memory["asked"] = memory.get("asked", 0) + 1
    latest = signals["load"].latest
    return None if latest is None else autoscaler.Scale(memory["asked"])


def test_what_a_shadow_knows_survives_a_take_over() -> None:
    scenario = with_shadow(a_policy(remembers))
    scenario.advance(70, every=5, load=40)
    shadow = the_shadow(scenario)
    checkpoint = scenario.shard.evaluator.volatile["web"].checkpoint()
    record = scenario.shard._ledger.state_record(scenario.state, checkpoint)
    restored = Restored([StoredMessage(0, 0, record.key, record.value, ())], {}, {})
    taken = rebuild(0, scenario.shard.setup, restored, scenario.now)
    again = Shadow("other", Judge(taken.shard.evaluator.volatile["web"].signals, {}))
    again.restore(taken.shard.evaluator.volatile["web"].shadows_saved["other"])
    assert again.saved() == shadow.saved()
    assert again.judge.memory["other"] == {"asked": 14}
    assert decode_state(record.value or b"").state == scenario.state


def test_damaged_notes_of_a_shadow_are_forgotten_and_harm_nothing_else() -> None:
    scenario = with_shadow(per(5))
    scenario.advance(30, every=5, load=40)
    checkpoint = scenario.shard.evaluator.volatile["web"].checkpoint()
    checkpoint["shadows"]["other"] = {"demand": "many"}
    kept = Volatile.restored(scenario.settings, checkpoint)
    assert kept.wishes.snapshot() == checkpoint["wishes"]
    (shadow,) = ServiceShadows.of(scenario.settings, kept).shadows
    assert shadow.outcome == ""


def misbehaving(seed: int) -> ModuleType:
    """Answers anything, raises, remembers too much, and asks for signals of its own."""
    chance = Chance(seed)

    def propose(signals: SignalsView, now: float, memory: dict[str, Any]) -> Any:
        signals[chance.pick(["load", "never_seen", "errors"])].mean("10m")
        memory["much"] = "x" * chance.pick([0, 10, 100_000])
        turn = chance.below(9)
        if turn == 0:
            raise SystemExit("enough")
        answers: list[Any] = [
            autoscaler.Scale(chance.below(30), "any", wake_at=now + chance.share()),
            autoscaler.Hold("any", wake_at=now + 0.5),
            autoscaler.Rollback("any"),
            autoscaler.Update(1, "any"),
            autoscaler.Scale(-3),
            None,
            "nonsense",
            autoscaler.Hold("any", unknown=True),
        ]
        return answers[turn - 1]

    return a_policy(propose)


def lived(seed: int, shadows: dict[str, Any]) -> Scenario:
    """Some minutes of samples, silence, deployments and commands, all by one seed."""
    chance = Chance(seed)
    scenario = Scenario(per(10), settings=QUICK, others={"eager": (per(7), {})}, shadows=shadows)
    for _ in range(40):
        match chance.below(8):
            case 0:
                scenario.advance(chance.pick([1, 20, 70]))
            case 1:
                scenario.deploy(f"web:{chance.below(9)}")
            case 2:
                scenario.command("scale", replicas=chance.below(9), **{"for": "20s"})
            case 3:
                if scenario.ready:
                    scenario.kill(min(r.slot for r in scenario.host.replicas if r.condition == "running"))
            case _:
                scenario.advance(chance.pick([5, 30]), every=5, load=float(chance.pick([0, 0, 15, 80, 140])))
    return scenario


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_shadows_do_every_decision_is_the_same_without_them(seed: int) -> None:
    alone = lived(seed, {})
    watched = lived(seed, {"bad": (misbehaving(seed), {}), "worse": (misbehaving(seed + 1), {}), "calm": (per(3), {})})
    assert watched.records == alone.records
    assert watched.state == alone.state
    assert watched.now == alone.now
    outcomes = {outcome for (_, outcome) in watched.shard.setup.counters.shadows}
    assert outcomes - {"agrees"}


def test_failures_of_a_shadow_are_not_held_against_the_same_plugin_at_work() -> None:
    """One plugin, live and as a shadow with options that make it fail: the quarantine is the shadow's alone."""
    module = a_policy(lambda signals, options: autoscaler.Scale(3) if not options.get("fails") else 1 / 0, "both")
    scenario = Scenario(module, settings=QUICK)
    scenario.settings = replace(scenario.settings, shadows=(PolicyUse("policy", {"fails": True}, "twin", shadow=True),))
    scenario.shard.setup.services["web"] = scenario.settings  # type: ignore[index]
    scenario.advance(60, every=5, load=1)
    stats = scenario.plugins.stats()
    assert stats["policy"].failures == 0
    assert stats["policy (shadow)"].quarantines == 1
    assert (scenario.demand, the_shadow(scenario).outcome) == (3, "unknown")


LIVE = "import autoscaler\n@autoscaler.hookimpl\ndef propose(signals):\n    return autoscaler.Scale(2)\n"
HANGS = "import time, autoscaler\n@autoscaler.hookimpl\ndef propose(signals):\n    time.sleep(60)\n"
EAGER = "import autoscaler\n@autoscaler.hookimpl\ndef propose(signals):\n    return autoscaler.Scale(3)\n"


async def test_foreign_shadow_that_hangs_holds_up_no_decision_and_metrics_tell_of_the_others(tmp_path: Path) -> None:
    for name, source in (("live", LIVE), ("hangs", HANGS), ("eager", EAGER)):
        (tmp_path / f"{name}.py").write_text(source)
    plugins = PluginHost.load(("./live.py", "./hangs.py", "./eager.py"), tmp_path)
    shadows = (PolicyUse("hangs", shadow=True), PolicyUse("eager", shadow=True))
    service = quick_settings(policies=(PolicyUse("live"),), shadows=shadows)
    log = MemoryLog()
    async with at_work(log, {"web": service}, plugins=plugins) as working:
        await working.rests()
        log.send(deployment())
        await eventually(lambda: working.state().revision == 1)
        log.send(sample(load=1.0), at=time.time())
        await eventually(lambda: working.state().demand == 2)
        counters = working.member.counters
        await eventually(lambda: counters.shadows["eager", "more"] and counters.shadows["hangs", "unknown"])
        families = {family.name: family for family in working.face.collector().collect()}
        now = families["autoscaler_shadow_disagreement_replicas"].samples
        assert {tuple(s.labels.values()): s.value for s in now} == {
            ("eager", "fewer"): 0, ("eager", "more"): 1, ("hangs", "fewer"): 0, ("hangs", "more"): 0,
        }  # fmt: skip
        shown = working.face.service("web")
        assert shown is not None
        assert shown["shadows"]["eager"]["demand"] == 3
        assert plugins.stats()["live"].failures == 0
        assert plugins.stats()["hangs (shadow)"].late == 1
