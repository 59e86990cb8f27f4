"""A canary through the very shard that runs in production: who is asked when, and what follows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autoscaler.core.rollout import Held, Judging
from autoscaler.core.settings import Bounds, ServiceSettings, UpdateRules
from autoscaler.core.steps import Step
from autoscaler.testing import Scenario
from autoscaler.testing.scenario import DEFAULTS
from autoscaler_plugins import canary, error_rate

ERRORS: dict[str, Any] = {"errors": {"baseline": False, "min_samples": 50}}
STEPS = (Step(weight=25, pause_s=60.0), Step(weight=50, pause_s=45.0))


def settings_of(*steps: Step, **rules: Any) -> ServiceSettings:
    """Four replicas, updated by steps."""
    update = UpdateRules(strategy="canary", steps=steps, soak_s=30.0, monitor_s=10.0, analysis_patience_s=120.0)
    return replace(DEFAULTS, bounds=Bounds(4, 10, 4), update=replace(update, **rules))


class Told(Scenario):
    """A scenario whose revisions tell of their requests."""

    requests = 0

    def serve(self, seconds: int, *, errors_every: int = 0) -> None:
        """Let the wanted revision serve ten requests a second, and tell every five seconds."""
        for _ in range(seconds // 5):
            self.advance(5.0)
            self.requests += 50
            errors = self.requests // errors_every if errors_every else 0
            self.sample(of_revision=self.revision, requests_total=self.requests, errors_total=errors)


def test_good_canary_passes_each_step_when_its_pause_is_over() -> None:
    scenario = Told(canary, ERRORS, settings=settings_of(*STEPS))
    scenario.deploy("web:2")
    scenario.serve(60)
    assert isinstance(scenario.state.rollout, Judging), scenario.explain()
    scenario.serve(200)
    assert scenario.state.rollout.phase == "idle", scenario.explain()
    codes = [r.reason.code for r in scenario.records if r.kind == "update"]
    assert codes[-6:] == ["judging", "step", "judging", "step", "soaking", "applied"], scenario.explain()
    assert {r.revision for r in scenario.state.replicas} == {2}


def test_bad_canary_is_taken_back_in_its_pause() -> None:
    scenario = Told(canary, ERRORS, settings=settings_of(*STEPS))
    scenario.deploy("web:2")
    scenario.serve(45, errors_every=10)
    assert scenario.revision == 1, scenario.explain()
    assert any("errors in" in r.reason.text for r in scenario.records if r.kind == "rollback"), scenario.explain()


def test_canary_of_which_nobody_tells_is_held_and_judged_when_somebody_does() -> None:
    scenario = Told(canary, ERRORS, settings=settings_of(*STEPS))
    scenario.deploy("web:2")
    scenario.advance(240)
    rollout = scenario.state.rollout
    assert isinstance(rollout, Held), scenario.explain()
    assert (rollout.why, scenario.revision) == ("unknown", 2)
    scenario.serve(300)
    assert scenario.state.rollout.phase == "idle", scenario.explain()
    assert {r.revision for r in scenario.state.replicas} == {2}


def test_canary_without_a_judge_goes_on_by_its_pauses() -> None:
    scenario = Scenario(error_rate, {"metric": "error_ratio", "above": 0.5, "for": "10s"}, settings=settings_of(*STEPS))
    scenario.deploy("web:2")
    scenario.advance(300, every=5.0, error_ratio=0.0)
    assert scenario.state.rollout.phase == "idle", scenario.explain()
    assert {r.revision for r in scenario.state.replicas} == {2}


def test_steps_go_on_where_no_policy_is_configured_at_all() -> None:
    scenario = Scenario(error_rate, {"metric": "error_ratio", "above": 0.5, "for": "10s"}, settings=settings_of(*STEPS))
    bare = replace(scenario.settings, policies=())
    scenario.shard.setup.services[scenario.service] = bare  # type: ignore[index]
    scenario.deploy("web:2")
    scenario.advance(300)
    assert scenario.state.rollout.phase == "idle", scenario.explain()
    assert {r.revision for r in scenario.state.replicas} == {2}
