"""A thousand simulated worlds in every test run, `AUTOSCALER_SIM_WORLDS` of them where that is set; failed seeds stay
here."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from autoscaler.simulator.world import run_world

WORLDS = int(os.environ.get("AUTOSCALER_SIM_WORLDS", "1000"))
SHARDS = 10
SIZES = ((6.0, 3), (12.0, 5), (20.0, 9))

REGRESSIONS = (
    (79, 60.0, 14, "went back to a revision that had failed"),
    (183, 40.0, 12, "left a draining host before enough others were available"),
    (40, 40.0, 12, "grew on a host that drains while the rollout was held"),
    (199, 25.0, 9, "stopped the former replica of a slot while another slot was empty"),
    (847, 25.0, 9, "took an available replica when the demand fell in a held soak"),
    (1231, 80.0, 24, "split a demand by what was leaving a draining host"),
    (1297, 80.0, 24, "stopped the next before the last one stood, where a slot's former replica ends first"),
    (1739, 80.0, 24, "emptied a host while the demand was not met"),
    (7215, 80.0, 24, "stopped what had come in place of a replica that failed on a draining host"),
    (1849, 80.0, 24, "took back what an operator had gone back to"),
    (5058, 60.0, 18, "took a slot whose former replica still served when the demand fell"),
)
"""Seeds whose world once broke a property, and how. A change of the script changes the worlds, so each of these has a
test of its own in tests/core as well."""


@pytest.mark.timeout(max(180, WORLDS))
@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_property_holds_in_every_world(shard: int) -> None:
    for seed in range(shard, WORLDS, SHARDS):
        # Short worlds find most; a violation names its seed, and the same size plays it again.
        length_s, happenings = SIZES[seed % len(SIZES)]
        run_world(seed, length_s=length_s, happenings=happenings)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate, Phase.shrink]
)
@given(
    seed=st.integers(10_000, 2**62),
    length_s=st.floats(1.0, 25.0, allow_nan=False),
    happenings=st.integers(0, 10),
)
def test_every_property_holds_in_worlds_that_nobody_has_seen(seed: int, length_s: float, happenings: int) -> None:
    run_world(seed, length_s=length_s, happenings=happenings)


@pytest.mark.parametrize(("seed", "length_s", "happenings", "what"), REGRESSIONS)
def test_world_that_once_broke_holds(seed: int, length_s: float, happenings: int, what: str) -> None:
    run_world(seed, length_s=length_s, happenings=happenings, strategies=False)


def test_one_seed_replays_a_world() -> None:
    assert run_world(7) == run_world(7)
    assert run_world(7) != run_world(8)


@pytest.mark.nightly
@pytest.mark.timeout(0)
def test_long_worlds_by_night() -> None:
    for seed in range(1_000_000, 1_000_000 + WORLDS // 10):
        run_world(seed, length_s=240.0, happenings=60)
