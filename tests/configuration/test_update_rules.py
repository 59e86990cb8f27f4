"""Unset keys of `update:` give way to set ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.core.amount import Amount
from autoscaler.core.settings import UpdateRules
from autoscaler.core.steps import Step
from tests.configuration.builders import a_service, loaded

# update, health -> min_healthy, startup_deadline, deadline, monitor, soak (seconds)
DERIVED = {
    "nothing set": ("", "", (10, 120, 300, 30, 300)),
    "a short deadline halves the start": ("deadline: 1m", "", (10, 30, 60, 30, 300)),
    "a very short deadline": ("deadline: 10s", "", (5, 5, 10, 30, 300)),
    "a long start lets the deadline grow": ("startup_deadline: 10m", "", (10, 600, 1200, 30, 300)),
    "a slow health check": ("", "start: 4m, every: 10s, failures: 3", (10, 270, 540, 270, 300)),
    "a slow health check under a set deadline": ("deadline: 10m", "start: 4m", (10, 243, 600, 243, 300)),
    "a short soak": ("soak: 10s", "", (10, 120, 300, 10, 10)),
    "no soak": ("soak: 0", "", (10, 120, 300, 0, 0)),
    "a long monitor lets the soak grow": ("monitor: 10m", "", (10, 120, 300, 600, 600)),
    "a long min_healthy lets the deadline grow": ("min_healthy: 5m", "", (300, 120, 600, 30, 300)),
}


def rules(tmp_path: Path, update: str, health: str = "") -> UpdateRules:
    check = f"health: {{http: /, {health}}}, " if health else ""
    body = f"update: {{{update}}}, revision: {{{check}command: [serve]}}"
    return loaded(tmp_path, a_service(body)).configuration.services["web"].update


@pytest.mark.parametrize("case", DERIVED)
def test_unset_durations_give_way(case: str, tmp_path: Path) -> None:
    update, health, expected = DERIVED[case]
    made = rules(tmp_path, update, health)
    assert (made.min_healthy_s, made.startup_deadline_s, made.deadline_s, made.monitor_s, made.soak_s) == expected


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        ("", "rollback"),
        ("rollback: true", "rollback"),
        ("rollback: false", "hold"),
        ("on_failure: continue", "continue"),
    ],
)
def test_rollback_is_another_word_for_on_failure(update: str, expected: str, tmp_path: Path) -> None:
    assert rules(tmp_path, update).on_failure == expected


def test_unset_keys_are_the_core_s_defaults(tmp_path: Path) -> None:
    assert rules(tmp_path, "") == UpdateRules()


def test_every_key_reaches_the_rules(tmp_path: Path) -> None:
    made = rules(
        tmp_path,
        "strategy: canary, steps: [{weight: 5%, pause: 2m}, {count: 2, pause: until promote}], fast_window: 3,"
        " order: stop_first, max_surge: 0, max_unavailable: 50%, first_batch: 3, max_parallel: 4, failure_ratio: 10%,"
        " on_rollback_failure: continue, rollback_max_surge: 2, analysis_patience: 1m, drain_timeout: 0,"
        " stop_deadline: 2m, restart: {attempts: 0, window: 1m, delay: 0}, rollbacks_per_hour: 9, history: 5",
    )
    assert made == UpdateRules(
        strategy="canary",
        steps=(Step(weight=5, pause_s=120.0), Step(count=2, pause_s=None)),
        fast_window=3,
        order="stop_first",
        max_surge=Amount(count=0),
        max_unavailable=Amount(percent=50),
        first_batch=3,
        max_parallel=4,
        failure_ratio_percent=10,
        on_rollback_failure="continue",
        rollback_max_surge=Amount(count=2),
        analysis_patience_s=60.0,
        drain_timeout_s=0.0,
        stop_deadline_s=120.0,
        restart_attempts=0,
        restart_window_s=60.0,
        restart_delay_s=0.0,
        rollbacks_per_hour=9,
        history=5,
    )
