"""The ends of actions: many that come together are one record."""

from __future__ import annotations

from time import process_time

from autoscaler.core.actions import Action, Create, Outcome, StopReplica
from autoscaler.core.decide import decide
from autoscaler.core.plan import plan
from autoscaler.core.settings import Bounds
from autoscaler.core.stimuli import OutcomesArrived
from tests.core.builders import a_service, some_settings, wishes
from tests.core.scene import Scene


def grown_to(demand: int, standing: int = 1) -> tuple[Scene, list[Action]]:
    """A service that shall have so many replicas, and the plan for it, not carried out."""
    scene = Scene(a_service(standing), some_settings(bounds=Bounds(0, 5000, 1)))
    scene.obedient = False
    scene.evaluate(wishes(demand))
    return scene, list(plan(scene.state, scene.settings, scene.world(), "shop"))


def test_creations_that_end_together_are_one_record() -> None:
    scene, actions = grown_to(51)
    assert len(actions) == 50
    records = scene.tell(OutcomesArrived(scene.now, tuple(Outcome(a, "done", id="x") for a in actions)))
    assert [(r.reason.code, r.reason.numbers["count"]) for r in records] == [("created", 50)]
    assert all(r.created_at is not None for r in scene.state.replicas)


def test_each_outcome_among_many_counts() -> None:
    scene, actions = grown_to(5)
    done, taken, refused, silent = actions
    outcomes = (
        Outcome(done, "done", id="x"),
        Outcome(taken, "conflict", "the name is taken"),
        Outcome(refused, "refused", "no space left", "host"),
        Outcome(silent, "unknown", "no answer"),
    )
    before = {r.attempt for r in scene.state.replicas}
    records = scene.tell(OutcomesArrived(scene.now, outcomes))
    assert [r.reason.code for r in records][:2] == ["created", "conflict"]
    created = [r for r in scene.state.replicas if r.created_at is not None]
    assert len(created) == 2
    assert len(before - {r.attempt for r in scene.state.replicas}) == 2
    assert "no space left" in records[1].reason.text


def test_stops_that_end_together_are_one_record() -> None:
    scene, actions = grown_to(1, standing=4)
    assert all(isinstance(a, StopReplica) for a in actions)
    records = scene.tell(OutcomesArrived(scene.now, tuple(Outcome(a, "done") for a in actions)))
    assert [r.reason.code for r in records] == ["stopped"]
    assert all(a.key in records[0].reason.text for a in actions)


def test_a_thousand_creations_in_flight_cost_no_thousand_squared() -> None:
    def seconds(demand: int) -> float:
        scene, actions = grown_to(demand)
        names = frozenset(a.name for a in actions if isinstance(a, Create))
        world = scene.world()
        world = type(world)(world.now, world.replicas, world.hosts, world.token, names)
        stimulus = OutcomesArrived(scene.now, tuple(Outcome(a, "done", id="x") for a in actions))
        begun = process_time()
        decide(scene.state, scene.settings, stimulus, world)
        return process_time() - begun

    small = max(min(seconds(250) for _ in range(3)), 0.0005)
    assert min(seconds(2000) for _ in range(3)) < 8 * 4 * small
