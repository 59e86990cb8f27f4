"""Services under budgets, owned by several members that hear of each other late: in many worlds, and with bugs planted
on purpose, each of which must be found."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core import books, budgets, decide, draft, scaling, spending
from autoscaler.core.rollout import Retired
from autoscaler.core.state import ServiceState
from autoscaler.engine import budgets_seen
from autoscaler.engine.budgets_seen import Budgeted, BudgetsSeen
from autoscaler.simulator.budgets import run_budgets
from autoscaler.simulator.edits import Violation

WORLDS = int(os.environ.get("AUTOSCALER_SIM_WORLDS", "1000")) // 125
SHARDS = 2

Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.timeout(max(180, WORLDS * 2))
@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_property_holds_in_every_world_of_budgets(shard: int) -> None:
    played = [run_budgets(seed) for seed in range(shard, WORLDS, SHARDS)]
    assert sum(world.cut for world in played) > 0
    assert sum(world.raised for world in played) > 0
    assert any(world.demands != world.asked for world in played)


def test_one_seed_replays_a_world_of_budgets() -> None:
    assert run_budgets(3, length_s=10.0, happenings=5) == run_budgets(3, length_s=10.0, happenings=5)


@pytest.mark.nightly
@pytest.mark.timeout(0)
def test_long_worlds_of_budgets_by_night() -> None:
    for seed in range(1_000_000, 1_000_000 + WORLDS * 10):
        run_budgets(seed, length_s=240.0, happenings=80)


def free_room_is_ignored(patch: pytest.MonkeyPatch) -> None:
    """Who has a share takes it at once, before others have given way."""
    patch.setattr(books, "fit", lambda *arguments: None)


def own_entry_counts_twice(patch: pytest.MonkeyPatch) -> None:
    """What a service had stays in the sums beside what it has."""
    count = books.Book._count
    patch.setattr(books.Book, "_count", lambda self, account, sign: count(self, account, sign) if sign > 0 else None)


def least_numbers_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A budget takes everything."""
    honest = budgets.account_of
    patch.setattr(budgets_seen, "account_of", lambda *arguments: replace(honest(*arguments), least=0))


def retired_services_are_not_struck(patch: pytest.MonkeyPatch) -> None:
    """What a service had before it was retired counts on."""
    honest = budgets.account_of
    last: dict[tuple[str, str], Any] = {}

    def stubborn(state: ServiceState, settings: Any, budget: Any) -> Any:
        place = (state.service, budget.name)
        if not isinstance(state.rollout, Retired):
            last[place] = honest(state, settings, budget)
        return last.get(place) or honest(state, settings, budget)

    patch.setattr(budgets_seen, "account_of", stubborn)


def what_was_heard_is_not_entered_again(patch: pytest.MonkeyPatch) -> None:
    """A service that is let go counts on as its former owner had it."""
    patch.setattr(BudgetsSeen, "let_go", lambda self, services: self._own.difference_update(services))


def what_is_let_go_stays_own(patch: pytest.MonkeyPatch) -> None:
    """Nobody tells the books that a service is another's now."""
    patch.setattr(BudgetsSeen, "let_go", lambda *arguments: None)


def what_is_heard_overrules_what_is_own(patch: pytest.MonkeyPatch) -> None:
    """The owner goes by what it decided a moment ago."""

    def hear(self: BudgetsSeen, state: ServiceState) -> None:
        self._heard[state.service] = state
        self._enter(state)

    patch.setattr(BudgetsSeen, "hear", hear)


def all_is_known_at_once(patch: pytest.MonkeyPatch) -> None:
    """A member that has just begun grows by empty books."""
    begin = BudgetsSeen.__init__

    def hasty(self: BudgetsSeen, *arguments: Any, known: bool) -> None:
        begin(self, *arguments, known=True)

    patch.setattr(BudgetsSeen, "__init__", hasty)


def larger_revisions_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    """What still runs of a former revision takes nothing."""
    patch.setattr(budgets, "_running", lambda state: {state.revision})


def what_was_asked_for_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Policies go on from what was granted."""
    patch.setattr(scaling._Passage, "demand", property(lambda self: self.state.demand))


def a_launch_is_not_granted(patch: pytest.MonkeyPatch) -> None:
    """A first demand is had for a turn, whatever others have."""
    keep = decide.keep_budget

    def once(drafted: draft.Draft, grants: Any) -> None:
        if not any(record.kind == "update" for record in drafted.records):
            keep(drafted, grants)

    patch.setattr(decide, "keep_budget", once)


def freezes_are_ignored(patch: pytest.MonkeyPatch) -> None:
    """A budget takes from a service in a freeze of all."""
    patch.setattr(spending, "scaling_frozen", lambda *arguments: False)


def cuts_are_not_explained(patch: pytest.MonkeyPatch) -> None:
    """The record of a cut has no clamp."""
    add = draft.Draft.add

    def silent(self: draft.Draft, *arguments: Any, **parts: Any) -> None:
        clamps = tuple(clamp for clamp in parts.pop("clamps", ()) if clamp.guard != "budget")
        add(self, *arguments, clamps=clamps, **parts)

    patch.setattr(draft.Draft, "add", silent)


def nobody_is_told(patch: pytest.MonkeyPatch) -> None:
    """A change of a book wakes nobody."""
    patch.setattr(Budgeted, "has_news", False)


def priority_is_upside_down(patch: pytest.MonkeyPatch) -> None:
    """The lowest come first."""
    honest = budgets.account_of

    def inverted(*arguments: Any) -> Any:
        account = honest(*arguments)
        return replace(account, priority=100 - account.priority)

    patch.setattr(budgets_seen, "account_of", inverted)


def growth_comes_before_what_is_there(patch: pytest.MonkeyPatch) -> None:
    """Among equals all is shared anew with every wish."""
    honest = budgets.shares

    def restless(most: Any, accounts: Iterable[Any]) -> Any:
        return honest(most, [replace(one, demand=0) for one in accounts])

    patch.setattr(books, "shares", restless)


def nobody_gives_way(patch: pytest.MonkeyPatch) -> None:
    """Who has more than its share keeps it until its policies ask for something else."""
    keep = decide.keep_budget

    def stubborn(drafted: draft.Draft, grants: Any) -> None:
        clamp = spending.budget_clamp(grants, drafted.state, drafted.state.asking)
        if drafted.records or clamp is None or clamp.after >= drafted.state.demand:
            keep(drafted, grants)

    patch.setattr(decide, "keep_budget", stubborn)


def what_is_cut_is_not_asked_for_any_more(patch: pytest.MonkeyPatch) -> None:
    """A budget's word takes the place of the policies'."""
    add = draft.Draft.add

    def careless(self: draft.Draft, type_: Any, kind: str, reason: Any, **parts: Any) -> None:
        kept = {name: value for name, value in parts.items() if name != "asked" or reason.code != "budget"}
        add(self, type_, kind, reason, **kept)

    patch.setattr(draft.Draft, "add", careless)


PLANTS: list[tuple[Plant, str, int]] = [
    (free_room_is_ignored, "free", 0),
    (own_entry_counts_twice, "books|shares|over", 0),
    (least_numbers_are_forgotten, "least|restart|free|shares", 0),
    (retired_services_are_not_struck, "restart|books|shares", 8),
    (what_was_heard_is_not_entered_again, "let go|books|shares|over|free", 4),
    (what_is_let_go_stays_own, "let go|books|shares|over|free", 1),
    (what_is_heard_overrules_what_is_own, "free|over|ping-pong|books|shares", 0),
    (all_is_known_at_once, "known|over", 0),
    (larger_revisions_are_not_counted, "restart|free|over|books", 4),
    (what_was_asked_for_is_forgotten, "asked|P5|P13", 0),
    (a_launch_is_not_granted, "free|known|clamp", 0),
    (freezes_are_ignored, "P12", 15),
    (cuts_are_not_explained, "clamp", 0),
    (nobody_is_told, "shares|over|priority", 20),
    (nobody_gives_way, "shares|over|priority", 9),
    (what_is_cut_is_not_asked_for_any_more, "asked", 0),
    (priority_is_upside_down, "restart|books|shares", 0),
    (growth_comes_before_what_is_there, "needless|shares|ping-pong", 2),
]
"""Each with the properties that find it, and a world in which they do."""


def play_all(*seeds: int) -> None:
    """These worlds, one after another."""
    for seed in seeds:
        run_budgets(seed)


@pytest.mark.parametrize(("plant", "properties", "first"), PLANTS, ids=[plant.__name__ for plant, _, _ in PLANTS])
def test_planted_bug_is_found(plant: Plant, properties: str, first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(Violation, match=rf"budgets \d+: ({properties}) "):
        play_all(first, *range(200))
