"""Policies that run in this process: raising, quarantined, late, and asked without a copy where nothing is kept."""

from __future__ import annotations

import pytest

from autoscaler.core.proposals import Hold, Rollback, Scale
from autoscaler.core.settings import PolicyUse
from autoscaler.plugin_host import EvaluationRequest, PluginHost
from autoscaler.testing import NOW
from tests.plugin_host import bad
from tests.plugin_host.conftest import Loader, a_request


@pytest.mark.parametrize(("name", "words"), [("raises", "raised ValueError: no"), ("exits", "raised SystemExit: 3")])
def test_a_trusted_policy_that_raises_is_unknown(load_bad: Loader, name: str, words: str) -> None:
    host = load_bad(name, "good", trusted=True)
    request = a_request(name, "good")
    assert host.runs_in_process(request.uses)
    failed, voted = host.votes(request)
    assert (failed.proposal, failed.unknown) == (None, words)
    assert voted.proposal == Scale(3, "three")


def test_the_operators_interrupt_is_not_taken_for_a_failure(load_bad: Loader) -> None:
    with pytest.raises(KeyboardInterrupt):
        load_bad("interrupts", trusted=True).votes(a_request("interrupts"))


def test_a_trusted_policy_that_comes_back_late_is_unknown(load: Loader) -> None:
    host = load(late=bad.source("time.sleep(0.3)\n    return autoscaler.Scale(1)"), trusted=True)
    (vote,) = host.votes(a_request("late"))
    assert vote.unknown.endswith("over 0.25")
    assert host.stats()["late"].late == 1


def test_policies_vote_in_the_order_of_their_uses_under_their_labels(load_bad: Loader) -> None:
    host = load_bad("good", "reads", trusted=True)
    base = a_request()
    uses = (PolicyUse("reads", name="first"), PolicyUse("good"), PolicyUse("absent"))
    votes = host.votes(EvaluationRequest(base.facts, uses, base.signals, NOW))
    assert [(vote.policy, vote.proposal is not None) for vote in votes] == [
        ("first", True),
        ("good", True),
        ("absent", False),
    ]
    assert votes[0].metrics == ("load",)


def test_no_opinion_for_an_unknown_signal_is_an_unknown_vote(load: Loader) -> None:
    host = load(shy=bad.source("signals['load']; signals['never']; return None"), trusted=True)
    (vote,) = host.votes(a_request("shy"))
    assert vote.unknown == "never unknown: never seen"
    (old,) = host.votes(EvaluationRequest(a_request().facts, (PolicyUse("shy"),), a_request().signals, NOW + 100))
    assert old.unknown.startswith("load unknown: newest sample 101 s old, over 60")


def test_no_opinion_on_known_signals_is_just_that(load: Loader) -> None:
    (vote,) = load(shy=bad.source("signals['load']"), trusted=True).votes(a_request("shy"))
    assert (vote.proposal, vote.unknown) == (None, "")


def test_a_policy_that_declares_rollback_votes_on_revisions_alone(load: Loader) -> None:
    declared = "PROPOSES = frozenset({'rollback'})\n"
    host = load(
        against=declared + bad.source("return autoscaler.Rollback('bad')"),
        waits=declared + bad.source("return autoscaler.Hold('wait', now + 5)"),
        lies=declared + bad.source("return autoscaler.Scale(5)"),
        undeclared=bad.source("return autoscaler.Rollback('bad')"),
        trusted=True,
    )
    votes = host.votes(a_request("against", "waits", "lies", "undeclared"))
    assert [vote.rollback for vote in votes] == [True] * 4
    assert [vote.proposal for vote in votes] == [Rollback("bad"), Hold("wait", NOW + 5), None, Rollback("bad")]
    assert votes[2].unknown == "declares PROPOSES without scale, and returned Scale"


def test_a_reason_is_cut_where_a_record_would_burst(load: Loader) -> None:
    (vote,) = load(talks=bad.source("return autoscaler.Scale(1, 'x' * 10000)"), trusted=True).votes(a_request("talks"))
    assert isinstance(vote.proposal, Scale)
    assert len(vote.proposal.reason) == 500


@pytest.mark.parametrize("arguments", ["", "memory"])
def test_a_reason_that_no_record_can_carry_is_replaced(load: Loader, arguments: str) -> None:
    talks = f"""
import autoscaler
@autoscaler.hookimpl
def propose({arguments}):
    return autoscaler.Scale(1, 'hot \\ud800\\0 here')
"""
    (vote,) = load(talks=talks, trusted=True).votes(a_request("talks"))
    assert vote.proposal == Scale(1, "hot ?? here")


GUARD = """
import autoscaler
@autoscaler.hookimpl
def guard(service, proposal):
    {body}
"""


def notes(host: PluginHost, *uses: str, wish: int = 8) -> list[tuple[str, int | None, str, bool]]:
    return [(n.guard, n.to, n.text, n.unknown) for n in host.guard_notes(a_request(*uses), wish)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("return proposal", [], id="passes"),
        pytest.param("return autoscaler.Scale(5, 'five')", [("g", 5, "five", False)], id="changes"),
        pytest.param("return autoscaler.Veto('no')", [("g", None, "no", False)], id="vetoes"),
        pytest.param("raise ValueError('x')", [("g", None, "raised ValueError: x", True)], id="raises"),
        pytest.param(
            "return None", [("g", None, "returned None; return the proposal, a changed one or Veto", True)], id="none"
        ),
        pytest.param(
            "return autoscaler.Rollback()", [("g", None, "returned Rollback for a Scale", True)], id="other_kind"
        ),
    ],
)
async def test_a_guard_passes_changes_or_vetoes_and_failing_is_unknown(
    load: Loader, body: str, expected: list[tuple[str, int | None, str, bool]]
) -> None:
    text = GUARD.format(body=body)
    assert notes(load(g=text, trusted=True), "g") == expected
    host = load(g=text)
    assert notes(host, "g") == expected
    foreign = await host.foreign_guard_notes(a_request("g"), 8)
    assert [(n.guard, n.to, n.text, n.unknown) for n in foreign] == expected


def test_guards_see_what_those_before_made_of_the_wish(load: Loader) -> None:
    halve = GUARD.format(body="return autoscaler.Scale(proposal.to // 2)")
    host = load(one=halve, two=halve, stop=GUARD.format(body="return autoscaler.Veto('no')"), trusted=True)
    assert [to for _, to, _, _ in notes(host, "one", "two", "stop", "one")] == [4, 2, None]
