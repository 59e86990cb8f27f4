"""The arenas that the target suite is run in."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest

from tests.contract.arena import Arena


@pytest.fixture(params=["docker", "process"])
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    """Each kind of target over real hosts, cleaned of what the test left."""
    module = importlib.import_module(f"tests.contract.arena_{request.param}")
    with module.open_arena(request) as opened:
        yield opened
