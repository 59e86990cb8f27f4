"""What bounds rollbacks: so many an hour, then updates wait for `approve`; and whether the metric is back after one."""

from __future__ import annotations

import pytest

from autoscaler.core.going_back import HOUR_S
from autoscaler.core.stimuli import PolicyVote
from autoscaler.core.verifying import VERIFY_S
from tests.core.builders import a_spec, votes_down
from tests.core.scene import Scene, a_scene, crashes


def three_rollbacks() -> Scene:
    """Three deployments that failed within a minute."""
    scene = a_scene(2, v2=crashes, v3=crashes, v4=crashes)
    for number in (2, 3, 4):
        scene.deploy(a_spec(str(number)), f"d-{number}")
        scene.run(10)
        assert scene.verdict(f"d-{number}") == "rolled_back"
    return scene


def test_more_automatic_rollbacks_than_an_hour_allows_make_updates_wait_for_approve() -> None:
    scene = three_rollbacks()
    records = scene.deploy(a_spec("5"), "d-5")
    (accepted,) = (r for r in records if r.verdict == "accepted")
    assert accepted.reason.code == "rollback_limit"
    assert accepted.reason.text == "deployment d-5 accepted; 3 automatic rollbacks within an hour: waits for approve"
    scene.run(2 * HOUR_S)
    assert (scene.phase, scene.verdict("d-5")) == ("idle", ""), "it does not begin by itself"
    scene.order("approve")
    scene.run(120)
    assert (scene.verdict("d-5"), scene.running()) == ("applied", {5: 2})


def test_later_deployment_takes_the_place_of_one_that_waits_for_approval() -> None:
    scene = three_rollbacks()
    scene.deploy(a_spec("5"), "d-5")
    scene.deploy(a_spec("6"), "d-6")
    assert (scene.verdict("d-5"), scene.verdict("d-6")) == ("superseded", "")
    scene.order("approve")
    scene.run(120)
    assert scene.verdict("d-6") == "applied"


def test_what_waits_for_approval_can_be_aborted() -> None:
    scene = three_rollbacks()
    scene.deploy(a_spec("5"), "d-5")
    scene.order("abort", "c-1")
    assert (scene.verdict("c-1"), scene.verdict("d-5"), scene.state.waiting) == ("applied", "rolled_back", None)
    scene.order("approve")
    scene.run(60)
    assert scene.phase == "idle"


def test_deployment_that_came_during_the_last_allowed_rollback_waits_for_approval_as_well() -> None:
    scene = a_scene(2, v2=crashes, v3=crashes, v4=crashes)
    for number in (2, 3, 4):
        scene.deploy(a_spec(str(number)), f"d-{number}")
        if number == 4:
            assert scene.phase == "rolling_back" or scene.verdict("d-4") == "rolled_back"
            scene.deploy(a_spec("5"), "d-5")
        scene.run(10)
    assert (scene.phase, scene.verdict("d-5")) == ("idle", "")
    scene.order("approve")
    scene.run(120)
    assert scene.verdict("d-5") == "applied"


def test_rollbacks_of_more_than_an_hour_ago_hold_up_nothing() -> None:
    scene = three_rollbacks()
    scene.run(HOUR_S + 60)
    scene.deploy(a_spec("5"), "d-5")
    scene.run(120)
    assert scene.verdict("d-5") == "applied"


# -- after a rollback that policies asked for ----------------------------------------------------------------------


def rolled_back_by_vote() -> Scene:
    """A revision was voted down, and the former one runs again."""
    scene = a_scene(2)
    scene.deploy(a_spec("2"), "d-2")
    scene.run(20)
    scene.evaluate(votes_down())
    scene.run(20)
    assert scene.verdict("d-2") == "rolled_back"
    assert scene.state.verification is not None
    return scene


NO_COMPLAINT = PolicyVote("errors", None, "", ("error_ratio",), rollback=True)
NO_DATA = PolicyVote("errors", None, "error_ratio is unknown", ("error_ratio",), rollback=True)


def test_metric_that_is_back_after_a_rollback_is_noted() -> None:
    scene = rolled_back_by_vote()
    scene.evaluate(NO_COMPLAINT, sampled=False)
    assert scene.state.verification is not None, "no sample has come since"
    scene.evaluate(NO_COMPLAINT)
    assert scene.state.verification is None
    assert scene.records[-1].reason.text == "revision 1 is well again: no complaint of errors"
    scene.run(VERIFY_S)
    assert all(r.reason.code != "not_verified" for r in scene.records)


@pytest.mark.parametrize("vote", [votes_down(), NO_DATA], ids=["complaint", "unknown"])
def test_metric_that_is_not_back_in_five_minutes_is_an_alarm_and_nothing_else(vote: PolicyVote) -> None:
    scene = rolled_back_by_vote()
    before = scene.state.replicas
    for _ in range(4):
        scene.run(VERIFY_S / 2)
        scene.evaluate(vote)
    alarms = [r for r in scene.records if r.reason.code == "not_verified"]
    assert len(alarms) == 1
    told = "alarm: revision 1 was not seen well in 300 s after the rollback; it followed errors: 0.2 errors over 0.05"
    assert (alarms[0].type, alarms[0].reason.text) == ("observed", told)
    assert (scene.phase, scene.state.revision, scene.state.replicas) == ("idle", 1, before)
    assert scene.state.verification is not None
    assert scene.state.verification.late
    scene.evaluate(NO_COMPLAINT)
    assert scene.records[-1].reason.text == "revision 1 is well again late: no complaint of errors"


def test_rollback_for_failed_replicas_has_no_metric_to_wait_for() -> None:
    assert three_rollbacks().state.verification is None
