"""Signals with rules of their own: their age, and what stands in for one that is unknown. Nothing of it ever lowers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autoscaler
from autoscaler.core.settings import Bounds, Scaling, ServiceSettings, SignalRule
from autoscaler.core.signals import SignalsView
from autoscaler.simulator.chance import Chance
from autoscaler.testing.scenario import Scenario
from tests.engine.test_shadows import a_policy, per

BASE = ServiceSettings(
    target="lab",
    target_kind="docker",
    bounds=Bounds(0, 20, 1),
    scaling=Scaling(down_window_s=20.0, max_age_s=15.0, idle_s=30.0),
)
HOLD = SignalRule(15.0)


def ruled(rule: SignalRule, policy: Any = None, **changes: Any) -> Scenario:
    """A replica for a load of ten, and that rule for the load."""
    return Scenario(policy or per(10), settings=replace(BASE, signals=(("load", rule),), **changes))


def grown(rule: SignalRule) -> Scenario:
    """At four replicas, and the last samples of a load that had risen to sixty came within a frozen moment."""
    scenario = ruled(rule)
    scenario.advance(30, every=5, load=40)
    assert scenario.demand == 4
    return scenario


def test_without_a_stand_in_silence_holds() -> None:
    scenario = grown(HOLD)
    scenario.advance(600)
    assert scenario.demand == 4


def test_floor_raises_once_the_signal_is_unknown_and_no_sooner() -> None:
    scenario = grown(SignalRule(15.0, "floor", 7))
    scenario.advance(14.9)
    assert scenario.demand == 4
    (record, *_) = scenario.advance(0.2)
    assert (record.kind, record.reason.code, record.after.demand) == ("scale", "stand_in", 7)
    assert "at least 7 while unknown: load unknown: newest sample 15 s old, over 15" in record.reason.text
    assert record.inputs[0].value is None


def test_floor_counts_for_a_signal_that_never_came() -> None:
    scenario = ruled(SignalRule(15.0, "floor", 7))
    scenario.advance(1)
    assert scenario.demand == 7


def test_floor_below_what_is_there_changes_nothing() -> None:
    scenario = grown(SignalRule(15.0, "floor", 2))
    scenario.advance(600)
    assert scenario.demand == 4


def test_value_stands_in_and_raises() -> None:
    scenario = grown(SignalRule(15.0, "value", 85))
    records = scenario.advance(20)
    assert scenario.demand == 9
    (record,) = [r for r in records if r.kind == "scale"]
    assert "load unknown for 0 s, taken as 85: 85 over 10" in record.reason.text
    assert record.proposals[0].to == 9


def test_value_below_the_demand_never_lowers() -> None:
    scenario = grown(SignalRule(15.0, "value", 5))
    records = scenario.advance(3600)
    assert scenario.demand == 4
    assert records[-1].reason.text.endswith("never lowers")


def test_last_value_stands_in_and_halves() -> None:
    """What was raised for is kept; a further rise is by what is left of the last value."""

    def mean(signals: SignalsView) -> Any:
        latest = signals["load"].mean("1m")
        return None if latest is None else autoscaler.Scale(round(latest / 10))

    scenario = ruled(SignalRule(15.0, "decay", 60.0), a_policy(mean))
    scenario.advance(50, every=5, load=10)
    scenario.advance(1)
    scenario.sample(load=120)
    assert scenario.demand < 4
    scenario.advance(16)
    assert scenario.demand == 12
    scenario.advance(3600)
    assert scenario.demand == 12


@pytest.mark.parametrize(("after_s", "value"), [(15.0, 120.0), (15.0 + 60, 60.0), (15.0 + 120, 30.0)])
def test_decay_halves_each_so_long(after_s: float, value: float) -> None:
    scenario = ruled(SignalRule(15.0, "decay", 60.0))
    scenario.sample(load=120)
    signal = scenario.shard.evaluator.volatile["web"].signals.view(scenario.now + after_s + 1e-6)["load"]
    assert signal.latest == pytest.approx(value, rel=1e-3)
    assert (signal.known, bool(signal.stand_in)) == (True, True)


def test_data_back_is_judged_by_data_alone() -> None:
    scenario = grown(SignalRule(15.0, "value", 85))
    scenario.advance(60)
    assert scenario.demand == 9
    scenario.advance(30, every=5, load=40)
    assert scenario.demand == 4


def test_a_revision_is_not_judged_by_what_stands_in() -> None:
    bad = a_policy(lambda signals: autoscaler.Rollback("bad") if (signals["load"].latest or 0) > 50 else None)
    scenario = ruled(SignalRule(15.0, "value", 100), bad)
    scenario.sample(load=1)
    scenario.advance(20)
    scenario.deploy("web:2")
    scenario.advance(900)
    assert scenario.state.revision == 2


def test_nothing_is_learnt_from_what_stands_in() -> None:
    def learns(signals: SignalsView, memory: dict[str, Any]) -> Any:
        memory["seen"] = [*memory.get("seen", []), signals["load"].latest]
        return autoscaler.Scale(1)

    scenario = ruled(SignalRule(15.0, "value", 85), a_policy(learns))
    scenario.sample(load=40)
    scenario.advance(60)
    assert scenario.shard.evaluator.volatile["web"].memory["policy"] == {"seen": [40]}


def test_signal_of_a_slow_source_is_known_for_as_long_as_its_rule_says() -> None:
    """A metric each minute, by a rule of 90 s, scales down; by the service's 15 s it never would."""
    scaling = replace(BASE.scaling, down_window_s=150.0)
    slow = ruled(SignalRule(90.0), scaling=scaling)
    slow.advance(240, every=60, load=40)
    slow.advance(240, every=60, load=10)
    assert slow.demand == 1
    quick = ruled(HOLD, scaling=scaling)
    quick.advance(240, every=60, load=40)
    quick.advance(240, every=60, load=10)
    assert quick.demand == 4


def test_signal_of_a_shorter_age_of_its_own_is_unknown_sooner() -> None:
    scenario = ruled(SignalRule(2.0, "floor", 9))
    scenario.sample(load=40)
    scenario.advance(3)
    assert scenario.demand == 9


RULES = [HOLD, SignalRule(4.0, "floor", 6), SignalRule(9.0, "value", 3), SignalRule(9.0, "decay", 5.0)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(RULES), st.sampled_from(["max", "min", "priority", "quorum"]))
def test_p13_no_stand_in_ever_causes_a_scale_down(seed: int, rule: SignalRule, combine: Any) -> None:
    """Whatever comes or fails to come, the demand falls only where every signal is known over the whole window."""
    chance = Chance(seed)
    service = replace(
        BASE, signals=(("load", rule),), scaling=replace(BASE.scaling, combine=combine, down_window_s=6.0)
    )
    scenario = Scenario(per(10), settings=service, others={"twice": (per(5), {})})
    newest = scenario.now
    for _ in range(60):
        before = scenario.demand
        if chance.happens(0.6):
            scenario.advance(chance.pick([1, 2]))
            scenario.sample(load=float(chance.pick([0, 5, 40, 90])))
            newest = scenario.now
        else:
            scenario.advance(chance.pick([3, 8, 30]))
            assert scenario.demand >= before, scenario.explain()
        assert scenario.demand >= before or scenario.now - newest <= rule.max_age_s
