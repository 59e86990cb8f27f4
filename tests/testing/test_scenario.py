"""The scenario runner: first-party policies through the whole of a shard, on virtual time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

import autoscaler
from autoscaler.core.settings import Scaling
from autoscaler.testing import NOW, Scenario
from autoscaler.testing.scenario import DEFAULTS
from autoscaler_plugins import error_rate, step, target_value

LOAD = {"metric": "rps", "per_replica": 50}
ERRORS = {"metric": "error_ratio", "above": 0.05, "for": "30s"}


def test_a_sample_scales_up_at_once_and_replicas_follow() -> None:
    scenario = Scenario(target_value, LOAD)
    records = scenario.sample(rps=400)
    assert scenario.demand == 8, scenario.explain()
    assert records[0].reason.text == "400 rps over 50 a replica = 8"
    assert [(one.signal, one.value) for one in records[0].inputs] == [("rps", 400.0)]
    scenario.advance(2)
    assert scenario.ready == 8, scenario.explain()


def test_scaling_down_waits_for_a_full_window_of_known_samples() -> None:
    scenario = Scenario(target_value, LOAD)
    scenario.sample(rps=400)
    scenario.advance(295, every=5, rps=100)
    assert scenario.demand == 8, scenario.explain()
    scenario.advance(15, every=5, rps=100)
    assert scenario.demand == 2, scenario.explain()


def test_without_a_window_a_lower_sample_scales_down_at_once() -> None:
    scenario = Scenario(target_value, LOAD, settings=replace(DEFAULTS, scaling=Scaling(down_window_s=0)))
    scenario.sample(rps=400)
    scenario.advance(5, every=5, rps=100)
    assert scenario.demand == 2, scenario.explain()


def test_silence_never_scales_down() -> None:
    scenario = Scenario(target_value, LOAD)
    scenario.advance(600, every=5, rps=400)
    scenario.advance(86_400)
    assert scenario.demand == 8, scenario.explain()


def test_a_revision_with_errors_is_taken_back_after_its_time() -> None:
    scenario = Scenario(target_value, LOAD, others={"errors": (error_rate, ERRORS)})
    scenario.advance(60, every=5, rps=90, error_ratio=0.01)
    scenario.deploy("web:2")
    scenario.advance(20, every=5, rps=90, error_ratio=0.01)
    assert scenario.revision == 2, scenario.explain()
    scenario.advance(35, every=5, rps=90, error_ratio=0.4)
    assert scenario.revision == 1, scenario.explain()
    scenario.advance(60, every=5, rps=90, error_ratio=0.4)
    assert "rolled_back" in [record.verdict for record in scenario.records], scenario.explain()
    assert (scenario.demand, scenario.ready) == (2, 2), scenario.explain()


def test_errors_of_a_stable_revision_are_nobodys_rollback() -> None:
    scenario = Scenario(target_value, LOAD, others={"errors": (error_rate, ERRORS)})
    scenario.advance(300, every=5, rps=90, error_ratio=0.9)
    assert scenario.revision == 1, scenario.explain()


def test_a_step_is_made_once_its_time_has_come_without_another_sample() -> None:
    scenario = Scenario(step, {"metric": "cpu", "bands": [{"above": 80, "add": 2, "for": "20s"}]})
    scenario.sample(cpu=90)
    scenario.advance(19)
    assert scenario.demand == 1, scenario.explain()
    scenario.advance(1)
    assert scenario.demand == 3, scenario.explain()
    scenario.advance(39)
    assert scenario.demand == 3, scenario.explain()


def test_a_crashed_replica_is_made_again_and_a_command_wins_over_policies() -> None:
    scenario = Scenario(target_value, LOAD)
    scenario.kill(0)
    scenario.advance(30)
    assert scenario.ready == 1, scenario.explain()
    scenario.command("scale", replicas=3)
    scenario.sample(rps=500)
    assert scenario.demand == 3, scenario.explain()


def test_a_broken_revision_is_taken_back() -> None:
    scenario = Scenario(target_value, LOAD)
    scenario.break_revision(2)
    scenario.deploy("web:2")
    scenario.advance(300)
    assert (scenario.revision, scenario.ready) == (1, 1), scenario.explain()


def a_policy(function: Callable[..., Any]) -> ModuleType:
    module = ModuleType("mine")
    module.__dict__["propose"] = autoscaler.hookimpl(function)
    return module


def test_an_authors_failing_policy_keeps_todays_demand_and_the_record_says_why() -> None:
    def propose(signals: autoscaler.SignalsView) -> autoscaler.Scale:
        return autoscaler.Scale(int(signals["queue"].latest or 0) // 0)

    scenario = Scenario(a_policy(propose))
    scenario.sample(queue=5)
    assert scenario.demand == 1
    assert "ZeroDivisionError" in scenario.explain()


def test_a_policy_remembers_from_one_evaluation_to_the_next() -> None:
    def propose(memory: dict[str, Any]) -> autoscaler.Scale:
        memory["seen"] = memory.get("seen", 0) + 1
        return autoscaler.Scale(memory["seen"])

    scenario = Scenario(a_policy(propose))
    for expected in (1, 2, 3):
        scenario.sample(queue=5)
        scenario.advance(1)
        assert scenario.demand == expected, scenario.explain()


def test_the_same_events_lead_to_the_same_records() -> None:
    def run() -> str:
        scenario = Scenario(target_value, LOAD)
        scenario.advance(400, every=7, rps=333)
        return scenario.explain()

    assert run() == run()


def test_wrong_options_fail_the_test_with_their_text() -> None:
    with pytest.raises(AssertionError, match="per_replica: Field required"):
        Scenario(target_value, {"metric": "rps"})


def test_the_fixtures_give_what_the_package_gives(
    autoscaler_scenario: Callable[..., Any],
    autoscaler_propose: Callable[..., Any],
    autoscaler_plugins: Callable[..., Any],
) -> None:
    assert autoscaler_scenario(target_value, LOAD, deployed=False).now == NOW
    assert autoscaler_plugins("step").plugins[0].name == "step"
    assert autoscaler_propose.__name__ == "propose"


def test_the_pytest_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import autoscaler.testing.pytest_plugin;"
        "print(sorted(m for m in set(sys.modules) - before if m.split('.')[0] in ('pydantic', 'asyncio', 'structlog')))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
