"""The arenas that the target suite is run in, and the streams of the stream suite."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.contract.arena import Arena
from tests.contract.stream_kinds import KINDS, StreamKind


@pytest.fixture(params=["docker", "process"])
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    """Each kind of target over real hosts, cleaned of what the test left."""
    module = importlib.import_module(f"tests.contract.arena_{request.param}")
    with module.open_arena(request) as opened:
        yield opened


@pytest.fixture(
    params=[
        pytest.param(kind, id=kind.__name__, marks=pytest.mark.kafka if kind.__name__ == "kafka" else ())
        for kind in KINDS
    ]
)
async def stream(request: pytest.FixtureRequest) -> AsyncIterator[StreamKind]:
    """A fresh stream with its topics."""
    opened = request.param(request)
    await opened.set_up()
    yield opened
    await opened.close()
