"""Pools that are too small: services of different priority with owners of their own, in many worlds, and with bugs
planted on purpose, each of which must be found."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core import claims, displacing, edit
from autoscaler.simulator.edits import Violation
from autoscaler.simulator.pool import run_pool

WORLDS = int(os.environ.get("AUTOSCALER_SIM_WORLDS", "1000")) // 40
SHARDS = 4


@pytest.mark.timeout(max(180, WORLDS))
@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_property_holds_in_every_pool(shard: int) -> None:
    played = [run_pool(seed) for seed in range(shard, WORLDS, SHARDS)]
    assert sum(pool.gave_way for pool in played) > 0
    assert sum(pool.overbooked for pool in played) > 0


def test_one_seed_replays_a_pool() -> None:
    assert run_pool(17) == run_pool(17)


@pytest.mark.parametrize(
    ("seed", "what"),
    [
        (17, "started beside what its own service had placed there unseen"),
        (133, "two that waited on one host both took the same room for theirs"),
    ],
)
def test_pool_that_once_broke_holds(seed: int, what: str) -> None:
    run_pool(seed)


@pytest.mark.nightly
@pytest.mark.timeout(0)
def test_long_pools_by_night() -> None:
    for seed in range(1_000_000, 1_000_000 + WORLDS * 10):
        run_pool(seed, length_s=240.0, happenings=60)


def nobody_asks_how_many_are_left(patch: pytest.MonkeyPatch) -> None:
    """Whoever is named gives way, and whoever is there is named."""
    patch.setattr(displacing, "_can_spare", lambda *arguments: True)
    find = edit.find_claim

    def greedy(hosts: Any, asked: Any, room: Any, slot: Any, claimant: Any) -> Any:
        precedence = {name: replace(one, replicas_min=0) for name, one in claimant.neighbours.precedence.items()}
        neighbours = replace(claimant.neighbours, precedence=precedence)
        return find(hosts, asked, room, slot, replace(claimant, neighbours=neighbours))

    patch.setattr(edit, "find_claim", greedy)


def any_priority_will_do(patch: pytest.MonkeyPatch) -> None:
    """A service displaces those of its own priority."""
    patch.setattr(claims, "PRIORITY_GAP", 0)
    patch.setattr(displacing, "PRIORITY_GAP", 0)


def claims_do_not_wait(patch: pytest.MonkeyPatch) -> None:
    """What is to take a place starts while the place is taken."""
    patch.setattr(displacing, "_has_room", lambda *arguments: True)


def nobody_moves(patch: pytest.MonkeyPatch) -> None:
    """Two that took the last room both stay."""
    patch.setattr(displacing, "last_comers", lambda *arguments: frozenset())


def nobody_gives_way(patch: pytest.MonkeyPatch) -> None:
    """Claims are made and never heard, so that what has a place stays pending."""
    patch.setattr(claims.Claimant, "outranks", lambda *arguments: False)


def play_all(seeds: range) -> None:
    for seed in seeds:
        run_pool(seed)


@pytest.mark.parametrize(
    "plant",
    [nobody_asks_how_many_are_left, any_priority_will_do, claims_do_not_wait, nobody_moves, nobody_gives_way],
    ids=lambda plant: plant.__name__,
)
def test_planted_bug_is_found(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(Violation):
        play_all(range(60))
