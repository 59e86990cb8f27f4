"""The Docker engine as its adapter's tests use it; what needs another arena has a fixture of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.contract.arena_docker import DockerArena, open_arena
from tests.contract.replicas import Asks


@pytest.fixture
def arena(request: pytest.FixtureRequest) -> Iterator[DockerArena]:
    """An arena on the run's engine."""
    with open_arena(request) as opened:
        yield opened


@pytest_asyncio.fixture
async def asks(arena: DockerArena) -> AsyncIterator[Asks]:
    """What is asked of an open target on it."""
    target = arena.target()
    await target.open()
    try:
        yield Asks(target, arena.cluster, arena.host)
    finally:
        await target.close()
