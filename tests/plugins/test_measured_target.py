"""`measured_target`: what replicas carry is learnt at rest, by revision, within bounds, and said."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import autoscaler
from autoscaler.testing import NOW, a_service, propose, signal, unknown
from autoscaler_plugins import measured_target
from autoscaler_plugins.rules import capacity

OPTIONS = {"metric": "rps", "per_replica": 50, "saturation": "latency_ms", "above": 250, "settle": "0s"}


def levels_by(*loads: tuple[float, bool], at: float = NOW) -> dict[str, list[float]]:
    levels: dict[str, list[float]] = {}
    for share, broke in loads:
        capacity.note(levels, share, at, broke=broke)
    return levels


def ask(memory: dict[str, Any], load: float, latency: float | None, at: float = 0.0, **facts: Any) -> Any:
    saturation = unknown("latency_ms") if latency is None else signal("latency_ms", latency)
    given = [signal("rps", load), saturation]
    facts = {"demand": 10, "maximum": 100} | facts
    return propose(measured_target, a_service(**facts), given, OPTIONS, now=NOW + at, memory=memory)


def taught(carries: float, **facts: Any) -> dict[str, Any]:
    """What ten replicas leave behind that carry so much each, at loads from half to double of what is configured."""
    memory: dict[str, Any] = {}
    for turn in range(60):
        each = 25.0 + 75.0 * (turn * 7 % 60) / 60
        ask(memory, each * 10, 400.0 if each > carries else 80.0, turn + 1.0, **facts)
    return memory


# --- the rule


@given(
    carries=st.floats(0.65, 1.6),
    shares=st.lists(st.floats(0.3, 3.0), min_size=20, max_size=80),
)
def test_what_lies_apart_is_told_apart_to_a_level(carries: float, shares: list[float]) -> None:
    loads = [(share, share > carries) for share in shares if not 0.92 < share / carries < 1.08]
    known = capacity.carried(levels_by(*loads), NOW)
    held = [share for share, broke in loads if not broke]
    if known is None:
        assert min(len(held), len(loads) - len(held)) < 5
        return
    if not held:
        assert known.share < max(min(share for share, _ in loads), capacity.STEP**-capacity.LEVEL_MAX)
        return
    lowest = min(share for share, broke in loads if broke)
    assert known.share <= max(lowest, capacity.STEP**-capacity.LEVEL_MAX) * capacity.STEP
    assert known.share >= min(max(held), capacity.STEP**capacity.LEVEL_MAX) / capacity.STEP


@given(st.lists(st.tuples(st.floats(0, 1e9), st.booleans()), max_size=200))
def test_whatever_comes_the_memory_is_small_and_plain(loads: list[tuple[float, bool]]) -> None:
    levels = levels_by(*loads)
    assert len(levels) <= 2 * capacity.LEVEL_MAX + 1
    assert json.loads(json.dumps(levels)) == levels
    known = capacity.carried(levels, NOW)
    assert known is None or 0.4 < known.share < 2.1


@pytest.mark.parametrize(
    "loads",
    [
        pytest.param([(1.0, False)] * 50, id="never too much"),
        pytest.param([(1.0, True)] * 3 + [(0.9, True)], id="too few and all too much"),
        pytest.param([(1.0, True), (0.5, False)] * 2, id="too few"),
        pytest.param([(1.0, True)] * 9 + [(1.2, False)] * 2, id="few that were carried and more than the others"),
        pytest.param([(s / 10, t) for s in range(4, 20) for t in (True, False)], id="whatever the load"),
        pytest.param([(0.5, True), (1.5, False)] * 20, id="the wrong way round"),
    ],
)
def test_what_does_not_tell_is_unknown(loads: list[tuple[float, bool]]) -> None:
    assert capacity.carried(levels_by(*loads), NOW) is None


def test_where_all_was_too_much_it_is_less_than_the_least() -> None:
    known = capacity.carried(levels_by(*[(1.0, True)] * 5, *[(1.2, True)] * 5), NOW)
    assert known is not None
    assert known.share == 1 / capacity.STEP


def test_an_outlier_or_two_are_borne() -> None:
    loads = [(0.8, False)] * 15 + [(1.2, True)] * 15 + [(0.6, True), (1.4, False)]
    known = capacity.carried(levels_by(*loads), NOW)
    assert known is not None
    assert math.isclose(known.share, 0.8, rel_tol=0.03)


def test_a_day_later_nothing_is_known() -> None:
    levels = levels_by(*[(0.8, False), (1.2, True)] * 5)
    assert capacity.carried(levels, NOW + capacity.FORGET_S) is not None
    assert capacity.carried(levels, NOW + capacity.FORGET_S + 1) is None


def test_what_changed_is_learnt_anew_at_the_same_level() -> None:
    levels = levels_by(*[(0.7, False)] * 10, *[(1.0, True)] * 10, *[(1.3, True)] * 10, *[(1.0, False)] * 30)
    known = capacity.carried(levels, NOW)
    assert known is not None
    assert known.share == 1.0


# --- the policy


def test_without_knowledge_it_is_target_value() -> None:
    proposal = ask({}, 420, None)
    assert (proposal.to, proposal.reason) == (9, "420 rps over 50 a replica = 9")
    assert ask({}, 490, None).to == 10
    assert isinstance(ask({}, -1, None), autoscaler.Hold)
    assert propose(measured_target, a_service(), [unknown("rps")], OPTIONS, memory={}) is None


@pytest.mark.parametrize(
    ("carries", "target"), [pytest.param(40.0, 39.2, id="less"), pytest.param(60.0, 57.9, id="more")]
)
def test_the_target_follows_what_was_carried_and_says_so(carries: float, target: float) -> None:
    proposal = ask(taught(carries), 1000, 80.0, 100)
    per_replica = float(proposal.reason.split(" over ")[1].split(" a replica")[0])
    assert math.isclose(per_replica, target, rel_tol=0.06)
    assert per_replica <= carries * capacity.STEP
    assert proposal.to == math.ceil(1000 / per_replica - 1e-9)
    assert f"(50 corrected by {per_replica / 50 - 1:+.0%}: revision 1 carried" in proposal.reason
    assert proposal.reason.endswith(f"as latency_ms tells) = {proposal.to}")


@pytest.mark.parametrize(("carries", "target"), [(30.0, 35), (90.0, 65)])
def test_the_correction_is_bounded(carries: float, target: float) -> None:
    assert ask(taught(carries), 1000, None, 100).to == math.ceil(1000 / target)


def test_it_knows_after_a_restart_what_it_knew_before() -> None:
    memory = taught(40.0)
    before = ask(memory, 1000, None, 100)
    assert ask(json.loads(json.dumps(memory)), 1000, None, 100) == before


def test_another_revision_is_taken_for_what_is_configured_until_it_is_known() -> None:
    memory = taught(60.0)
    assert ask(memory, 1000, None, 100, revision=2).to == 20
    assert ask(memory, 1000, None, 100, revision=2, base=1, phase="advancing").to == 20, "the lesser of both"
    memory = taught(40.0)
    assert ask(memory, 1000, None, 100, revision=2, base=1, phase="advancing").to > 25, "the lesser of both"
    assert ask(memory, 1000, None, 100, revision=2, phase="soaking").to == 20


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param({"ready": 9}, id="one starts"),
        pytest.param({"phase": "advancing", "base": 7}, id="two revisions"),
        pytest.param({"phase": "rolling_back", "base": 7}, id="on the way back"),
        pytest.param({"demand": 0}, id="none"),
    ],
)
def test_only_what_was_at_rest_counts(facts: dict[str, Any]) -> None:
    assert "levels" not in taught(40.0, **facts)


def test_a_change_of_the_replicas_has_to_settle() -> None:
    memory: dict[str, Any] = {}
    options = OPTIONS | {"settle": "30s"}
    given = [signal("rps", 500.0), signal("latency_ms", 80.0)]
    for at, demand, counted in ((0, 10, False), (29, 10, False), (30, 11, False), (59, 11, False), (60, 11, True)):
        service = a_service(demand=demand, maximum=100)
        propose(measured_target, service, given, options, now=NOW + at, memory=memory)
        assert ("levels" in memory) is counted, at


def test_one_sample_counts_once() -> None:
    memory: dict[str, Any] = {}
    for _ in range(5):
        ask(memory, 500, 80.0, 1.0)
    ((counts,),) = (levels.values() for levels in memory["levels"].values())
    assert counts == [1.0, 0.0, NOW + 1.0]


def test_few_revisions_are_kept() -> None:
    memory: dict[str, Any] = {}
    for turn, revision in enumerate((3, 9, 1, 7, 2, 3, 8)):
        ask(memory, 500, 80.0, turn + 1.0, revision=revision)
    assert sorted(memory["levels"]) == ["2", "3", "7", "8"]


def test_the_sum_over_revisions_is_the_total_where_samples_name_them() -> None:
    given = [signal("rps", 300.0, revision=1), signal("rps", 150.0, revision=2), unknown("latency_ms")]
    assert propose(measured_target, a_service(demand=2, maximum=100), given, OPTIONS, memory={}).to == 9


def test_replicas_that_carry_less_than_was_said_end_saturated_no_more() -> None:
    """In the loop: 50 are configured, 38 are carried; the load wanders, and each second too much is a second lost."""
    memory: dict[str, Any] = {}
    demand, lost = 10, [0, 0]
    for second in range(0, 3600, 15):
        load = 400 + 120 * math.sin(second / 900)
        latency = 400.0 if load > 38 * demand else 90.0
        lost[second >= 1800] += latency > 250
        demand = ask(memory, load, latency, float(second), demand=demand).to
    assert lost[0] > 0
    assert lost[1] == 0, lost
    assert demand <= 16
