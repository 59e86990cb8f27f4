"""Each thing that can stand against an action is named by its code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.cli.why_not import obstacles
from autoscaler.core.facts import EventRef, Reason
from autoscaler.core.revision import Revision, RevisionSpec
from autoscaler.core.rollout import Advancing, Halted, Held, Retired, RollingBack, Soaking
from autoscaler.core.settings import Bounds, Scaling, ServiceSettings, UpdateRules
from autoscaler.core.state import Freeze, Override, ServiceState

NOW = 10_000.0
OPS = EventRef("/cli/ops", "c-1")
SETTINGS = ServiceSettings("local", "process", Bounds(1, 5), scaling=Scaling(up_cooldown_s=60, down_cooldown_s=60))
ONE = Revision(1, RevisionSpec(command=("serve",)), "a", 0.0, standing="stable")
TWO = replace(ONE, number=2, content="b")
STATE = ServiceState("shop", seq=9, demand=3, revision=2, revisions=(ONE, TWO))
ADVANCING = Advancing(2, 1, OPS, NOW, NOW + 60, 3, 3)
SOAKING = Soaking(2, 1, OPS, NOW, NOW, NOW)
BACK = RollingBack(1, 2, OPS, None, Reason("policy", "errors"), NOW, NOW + 60)


def evaluation(*clamps: tuple[str, int, int], **wishes: int | str) -> dict[str, Any]:
    notes = [
        {"policy": name, "kind": to if isinstance(to, str) else "scale", "to": to if isinstance(to, int) else None}
        for name, to in wishes.items()
    ]
    return {
        "clamps": [
            {"guard": guard, "before": before, "after": after, "text": "why"} for guard, before, after in clamps
        ],
        "proposals": [note | {"text": "so many"} for note in notes],
    }


@pytest.mark.parametrize(
    ("action", "state", "evaluated", "codes"),
    [
        ("scale-up", STATE, evaluation(load=3), ["wish"]),
        ("scale-up", STATE, evaluation(load=4, queue=1), []),
        ("scale-up", STATE, evaluation(("max", 9, 5), load=9), ["max"]),
        ("scale-up", STATE, None, ["no_evaluation"]),
        ("scale-up", replace(STATE, demand=5), evaluation(("max", 9, 5), load=9), ["max"]),
        ("scale-up", replace(STATE, last_up_at=NOW - 20), evaluation(load=4), ["up_cooldown"]),
        ("scale-up", replace(STATE, freeze=Freeze("all", None, OPS)), evaluation(load=4), ["freeze"]),
        ("scale-up", replace(STATE, freeze=Freeze("update", None, OPS)), evaluation(load=4), []),
        ("scale-up", replace(STATE, freeze=Freeze("all", NOW - 1, OPS)), evaluation(load=4), []),
        ("scale-up", replace(STATE, override=Override(3, None, OPS)), evaluation(load=4), ["override"]),
        ("scale-down", STATE, evaluation(("window_not_full", 1, 3), load=1), ["window_not_full"]),
        ("scale-down", STATE, evaluation(load=1, queue="unknown"), ["unknown"]),
        ("scale-down", STATE, evaluation(load=1, queue="hold"), ["hold"]),
        ("scale-down", replace(STATE, demand=1), evaluation(load=1), ["min", "wish"]),
        ("scale-down", replace(STATE, last_down_at=NOW - 20), evaluation(load=1), ["down_cooldown"]),
        ("scale-down", replace(STATE, revision=0), None, ["no_revision"]),
        ("update", STATE, None, ["no_deployment"]),
        ("update", replace(STATE, freeze=Freeze("update", None, OPS)), None, ["freeze"]),
        ("update", replace(STATE, rollbacks=(NOW - 1, NOW - 2, NOW - 3)), None, ["rollback_limit"]),
        ("update", replace(STATE, rollbacks=(NOW - 4000,) * 3), None, ["no_deployment"]),
        ("update", replace(STATE, rollout=BACK), None, ["rollback"]),
        ("update", replace(STATE, rollout=Held("operator", ADVANCING, NOW, None)), None, ["held"]),
        ("update", replace(STATE, rollout=Halted(Reason("failed", "no base"), NOW)), None, ["halted"]),
        ("update", replace(STATE, rollout=ADVANCING), None, ["in_flight"]),
        ("rollback", STATE, None, ["no_rollout"]),
        ("rollback", replace(STATE, revisions=(TWO,)), None, ["no_revision", "no_rollout"]),
        ("rollback", replace(STATE, rollout=BACK), None, ["in_flight"]),
        ("rollback", replace(STATE, rollout=SOAKING), evaluation(errors="unknown"), ["unknown"]),
        ("scale-up", replace(STATE, rollout=Retired(NOW)), None, ["retired"]),
    ],
)  # fmt: skip
def test_what_stands_against_an_action_is_named(
    action: str, state: ServiceState, evaluated: dict[str, Any] | None, codes: list[str]
) -> None:
    assert [one.code for one in obstacles(action, state, SETTINGS, evaluated, NOW)] == codes


def test_least_wish_counts_where_the_configuration_says_so() -> None:
    settings = replace(SETTINGS, scaling=replace(SETTINGS.scaling, combine="min"))
    voted = evaluation(load=4, queue=1)
    assert [one.code for one in obstacles("scale-up", STATE, settings, voted, NOW)] == ["wish"]
    assert obstacles("scale-down", STATE, settings, voted, NOW) == []


def test_rule_that_holds_instead_of_going_back_is_named() -> None:
    settings = replace(SETTINGS, update=UpdateRules(on_failure="hold"))
    state = replace(STATE, rollout=ADVANCING)
    assert [one.code for one in obstacles("rollback", state, settings, None, NOW)] == ["on_failure"]


def test_what_budgets_say_stands_against_more_and_what_they_said_once_does_not() -> None:
    clamped = evaluation(("budget", 9, 3), load=9)
    said = obstacles("scale-up", STATE, SETTINGS, clamped, NOW, ["cpu is spent"])
    assert [(one.code, one.text) for one in said] == [("budget", "cpu is spent")]
    assert obstacles("scale-up", STATE, SETTINGS, clamped, NOW) == []
    assert "budget" not in [one.code for one in obstacles("scale-down", STATE, SETTINGS, clamped, NOW, ["cpu"])]


def test_unknown_policies_wish_what_was_asked_for_where_a_budget_allows_less() -> None:
    short = replace(STATE, asked=4)
    assert obstacles("scale-up", short, SETTINGS, evaluation(load="unknown"), NOW) == []


def test_service_without_settings_is_decided_by_nobody() -> None:
    assert [one.code for one in obstacles("update", STATE, None, None, NOW)] == ["not_configured"]
