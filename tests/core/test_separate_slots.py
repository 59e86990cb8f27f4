"""What a slot holds while its replica moves: a former replica stays until the demand stands without it."""

from __future__ import annotations

from autoscaler.core.stimuli import Observed
from tests.core.builders import a_host, a_replica, a_service
from tests.core.scene import Scene


def test_former_replica_of_a_slot_stays_while_another_slot_is_empty() -> None:
    replicas = (a_replica(0, 1, 1, "h1"), a_replica(0, 1, 9, "h2"), a_replica(1, 1, 2, "h2"), a_replica(2, 1, 3, "h1"))
    scene = Scene(a_service(replicas), hosts=[a_host("h1"), a_host("h2")])
    scene.obedient = False
    scene.tell(Observed(scene.now))
    kept = {(r.slot, r.attempt) for r in scene.state.replicas}
    assert {(0, 1), (0, 9), (1, 2), (2, 3)} < kept
    scene.obedient = True
    scene.run(1)
    scene.run(10)
    assert sorted(r.slot for r in scene.state.replicas) == [0, 1, 2, 3]
