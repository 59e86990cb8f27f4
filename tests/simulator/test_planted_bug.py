"""The simulator is worth its time only if it finds bugs: each of these is planted on purpose and must be found soon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core import (
    combination,
    deployments,
    draft,
    edit,
    going_back,
    judging,
    phases,
    plan,
    replacing,
    scaling,
    sightings,
    traffic,
)
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.steps import Counts
from autoscaler.engine import shard
from autoscaler.simulator import owner
from autoscaler.simulator.edits import Violation
from autoscaler.simulator.world import run_world

Plant = Callable[[pytest.MonkeyPatch], None]


def attempts_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    """The next attempt gets the number of the last one."""
    start = edit.Edit.start

    def forgetful(self: edit.Edit, slot: int, revision: int) -> bool:
        before = self.attempts
        started = start(self, slot, revision)
        self.attempts = before if self.attempts % 3 == 0 else self.attempts
        return started

    patch.setattr(edit.Edit, "start", forgetful)


def stops_ignore_availability(patch: pytest.MonkeyPatch) -> None:
    """Old replicas stop as soon as new ones are started."""
    patch.setattr(edit.Edit, "available_count", lambda self: len(self.steady))


def unknown_wishes_nothing(patch: pytest.MonkeyPatch) -> None:
    """A policy that knows nothing counts as one that wants the least, and windows are not asked."""
    wish_of = combination._wish_of

    def careless(vote: Any, demand: int, held: int) -> Any:
        return (
            combination.Wish(0, vote.policy, "unknown", "wish")
            if vote.unknown and not vote.rollback
            else wish_of(vote, demand, held)
        )

    patch.setattr(combination, "_wish_of", careless)
    patch.setattr(scaling, "_GUARDS", (scaling._unproven, scaling._step_limit, scaling._bounds))


def a_rule_forgets_the_unknown(patch: pytest.MonkeyPatch) -> None:
    """Whatever the rule, what is unknown is left out of it, and windows are not asked."""
    combine = combination.combine

    def careless(votes: Any, demand: int, rules: Any, told: int) -> Any:
        return combine([vote for vote in votes if not vote.unknown], demand, rules, told)

    patch.setattr(scaling, "combine", careless)
    patch.setattr(scaling, "_GUARDS", (scaling._unproven, scaling._step_limit, scaling._bounds))


def what_stands_in_counts_as_known(patch: pytest.MonkeyPatch) -> None:
    """What was taken for an unknown signal may lower the demand like a sample, and windows are not asked."""
    plain = combination._plain_wish
    patch.setattr(combination, "_wish_of", lambda vote, *held: None if vote.rollback else plain(vote, *held))
    patch.setattr(scaling, "_GUARDS", (scaling._step_limit, scaling._bounds))


def windows_are_not_awaited(patch: pytest.MonkeyPatch) -> None:
    """Scaling down does not wait for a window without gaps."""
    patch.setattr(scaling, "_GUARDS", tuple(g for g in scaling._GUARDS if g is not scaling._down_window))


def unproven_rollouts_are_scaled_down(patch: pytest.MonkeyPatch) -> None:
    """Scaling down does not wait for the end of a rollout."""
    patch.setattr(scaling, "is_unproven", lambda rollout: False)


def steps_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The step limit starts anew with every decision."""
    patch.setattr(scaling, "_steps_after", lambda *arguments: ())


def freeze_is_ignored(patch: pytest.MonkeyPatch) -> None:
    """Deployments are accepted and rollouts go on in a freeze."""
    patch.setattr(phases, "updates_frozen", lambda *arguments: None)


def deployments_pass_a_freeze(patch: pytest.MonkeyPatch) -> None:
    """A deployment that arrives in a freeze is accepted."""
    patch.setattr(deployments, "updates_frozen", lambda *arguments: None)


def superseded_is_silent(patch: pytest.MonkeyPatch) -> None:
    """A superseded deployment gets no verdict."""
    supersede = deployments.supersede

    def silent(drafted: Any, why: str) -> int | None:
        kept = draft.Draft(drafted.state, drafted.at)
        return supersede(kept, why)

    patch.setattr(deployments, "supersede", silent)


def repeats_are_new(patch: pytest.MonkeyPatch) -> None:
    """An event that comes twice is decided twice."""
    patch.setattr("autoscaler.core.decide._repeated", lambda *arguments: False)


def rollbacks_are_rolled_back(patch: pytest.MonkeyPatch) -> None:
    """A rollback that fails starts another one."""
    halt = going_back.halt_rollback

    def again(drafted: Any, rollout: Any, reason: Any) -> None:
        former = next((r for r in drafted.state.revisions if r.number != rollout.target), None)
        if former is None:
            halt(drafted, rollout, reason)
        else:
            drafted.add(
                "decided", "rollback", reason, revision=former.number, rollout=replace(rollout, target=former.number)
            )

    patch.setattr(phases, "halt_rollback", again)


def hidden_hosts_count_as_empty(patch: pytest.MonkeyPatch) -> None:
    """A host that does not answer is taken to run nothing."""
    absence = sightings._absence_of

    def hasty(replica: Any, label: str, settings: Any, world: Any) -> Any:
        known = tuple(replace(h, known=True, condition="ready") for h in world.hosts)
        return absence(replica, label, settings, replace(world, hosts=known))

    patch.setattr(sightings, "_absence_of", hasty)


def plans_forget_what_they_see(patch: pytest.MonkeyPatch) -> None:
    """A replica that exists is taken to be missing."""
    observed = plan.observed_by_identity
    patch.setattr(plan, "observed_by_identity", lambda world: {k: s for k, s in observed(world).items() if k[0] != 0})


def plans_go_beyond_the_ledger(patch: pytest.MonkeyPatch) -> None:
    """One replica more is created than any durable state wants."""
    honest = shard.plan

    def generous(*arguments: Any) -> Any:
        actions = honest(*arguments)
        extra = [replace(a, attempt=a.attempt + 500, name=f"{a.name}00") for a in actions if a.kind == "create"]
        return (*actions, *extra[:1])

    patch.setattr(shard, "plan", generous)


def former_owners_act_on(patch: pytest.MonkeyPatch) -> None:
    """A member that has lost the partition goes on acting, without a lease."""
    patch.setattr(owner, "MARGIN_S", -1e9)


def traffic_goes_to_nobody(patch: pytest.MonkeyPatch) -> None:
    """A revision gets its part of the requests before a replica of it is available."""
    patch.setattr(traffic, "_proven", lambda *arguments: 9)


def steps_are_passed_unjudged(patch: pytest.MonkeyPatch) -> None:
    """A step that is reached is over."""
    rules = ServiceSettings("edge", "process")
    patch.setattr(phases, "begin_judging", lambda drafted, rollout: judging.go_on(drafted, rules, rollout, "passed"))


def canaries_take_the_place_of_the_base(patch: pytest.MonkeyPatch) -> None:
    """A step counts no old replicas, whatever routes."""
    patch.setattr(replacing, "counts_wanted", lambda state, settings, rollout: Counts(state.demand, 0))


PLANTS: list[tuple[Plant, str]] = [
    (attempts_are_not_counted, "P2|P4|P9"),
    (stops_ignore_availability, "P9"),
    (unknown_wishes_nothing, "P13"),
    (a_rule_forgets_the_unknown, "P13"),
    (what_stands_in_counts_as_known, "P13"),
    (windows_are_not_awaited, "P13"),
    (unproven_rollouts_are_scaled_down, "unproven"),
    (steps_are_forgotten, "P5"),
    (freeze_is_ignored, "P12"),
    (deployments_pass_a_freeze, "P12"),
    (superseded_is_silent, "P1"),
    (repeats_are_new, "P1"),
    (rollbacks_are_rolled_back, "P13|transitions|P1|P6"),
    (hidden_hosts_count_as_empty, "absence"),
    (plans_forget_what_they_see, "plan|P1|P2|P6"),
    (plans_go_beyond_the_ledger, "P2|P9"),
    (former_owners_act_on, "P7|P2"),
    (traffic_goes_to_nobody, "traffic"),
    (steps_are_passed_unjudged, "steps"),
    (canaries_take_the_place_of_the_base, "P9"),
]


def play_worlds(count: int) -> None:
    """The first so many worlds."""
    for seed in range(count):
        run_world(seed, length_s=40.0, happenings=16)


@pytest.mark.parametrize(("plant", "properties"), PLANTS, ids=[plant.__name__ for plant, _ in PLANTS])
def test_planted_bug_is_found(plant: Plant, properties: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(Violation, match=rf"seed \d+: ({properties}) "):
        play_worlds(200)
