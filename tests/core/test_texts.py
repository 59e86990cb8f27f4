"""Texts of plugins and hosts come into records and states as what can be written, wherever they end up."""

from __future__ import annotations

import pytest

from autoscaler.core.facts import Clamp, ProposalNote, Reason, plain_text
from autoscaler.core.proposals import Rollback
from autoscaler.core.stimuli import PolicyVote
from autoscaler.ledger.state_codec import decode_state, encode_state
from autoscaler.ledger.writing import Ledger
from tests.core.builders import NOW, a_service, a_spec
from tests.core.scene import Scene, a_scene

BAD = "hot \ud800\0"


@pytest.mark.parametrize("fact", [Reason("c", BAD), Clamp("g", 1, 2, BAD), ProposalNote("p", "hold", None, BAD)])
def test_no_fact_holds_what_a_record_cannot_carry(fact: Reason | Clamp | ProposalNote) -> None:
    assert fact.text == "hot ??"


@pytest.mark.parametrize("text", ["plain", "größer → 🌡", ""])
def test_what_can_be_carried_is_not_touched(text: str) -> None:
    assert plain_text(text) == text


def written(scene: Scene) -> None:
    """Everything that the scene recorded is written, and the state read again."""
    Ledger("shop", 0).write(a_service(2), scene.records, 1)
    assert decode_state(encode_state(scene.state)).state == scene.state


def test_a_vote_in_broken_words_rolls_back_and_is_written() -> None:
    scene = a_scene(2)
    scene.deploy(a_spec("2"))
    scene.run(3)
    scene.evaluate(PolicyVote("errors", Rollback(BAD), "", ("error_ratio",), rollback=True))
    assert scene.phase == "rolling_back"
    written(scene)


def test_a_hosts_broken_words_about_a_dead_replica_are_written() -> None:
    scene = a_scene(2)
    scene.change(0, condition="exited", exit_code=1, note=BAD)
    assert any("hot ??" in r.reason.text for r in scene.records if r.at >= NOW)
    written(scene)
