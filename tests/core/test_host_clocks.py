"""A host's clock that is wrong neither fails a good revision nor proves one: waits are measured by our own clock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.core.world import ObservedReplica
from tests.core.builders import a_spec, some_rules, some_settings
from tests.core.scene import Behaviour, Scene, a_scene


def on_a_clock(behind_s: float, *, healthy: bool) -> Behaviour:
    """Started now, though its host's clock says otherwise."""

    def behave(seen: ObservedReplica) -> ObservedReplica:
        assert seen.started_at is not None
        at = seen.started_at - behind_s
        return replace(seen, started_at=at, healthy=healthy or None, healthy_since=at if healthy else None)

    return behave


@pytest.mark.parametrize("behind_s", [25.0, 3600.0, -25.0, -3600.0], ids=str)
def test_replica_on_a_host_with_a_wrong_clock_has_its_whole_start_up_time(behind_s: float) -> None:
    scene = a_scene(1)
    scene.behave["2"] = on_a_clock(behind_s, healthy=False)
    scene.deploy(a_spec("2"))
    scene.run(10)
    assert scene.phase == "advancing"
    slot = next(c.slot for c in scene.containers.values() if c.revision == 2)
    scene.change(slot, healthy=True, healthy_since=scene.now)
    scene.run(60)
    assert (scene.verdict("d-1"), scene.running()) == ("applied", {2: 1})


@pytest.mark.parametrize("behind_s", [0.0, 25.0, -3600.0], ids=str)
def test_silent_replica_fails_in_time_whatever_its_hosts_clock(behind_s: float) -> None:
    scene = a_scene(1)
    scene.behave["2"] = on_a_clock(behind_s, healthy=False)
    scene.deploy(a_spec("2"))
    scene.run(19)
    assert scene.phase == "advancing"
    scene.run(2)
    assert (scene.verdict("d-1"), scene.reason("d-1")) == ("rolled_back", "startup_deadline")


@pytest.mark.parametrize("behind_s", [25.0, -3600.0], ids=str)
def test_replica_is_available_after_min_healthy_by_our_clock(behind_s: float) -> None:
    scene = Scene(settings=some_settings(update=some_rules(min_healthy_s=2.0, soak_s=0.0)))
    scene.behave["1"] = on_a_clock(behind_s, healthy=True)
    scene.deploy(a_spec("1"))
    scene.run(1.5)
    assert scene.verdict("d-1") == ""
    scene.run(1)
    assert scene.verdict("d-1") == "applied"
