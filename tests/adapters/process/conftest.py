"""What the tests of the process target share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.arena_process import ProcessArena, open_arena


@pytest.fixture
def arena(request: pytest.FixtureRequest) -> Iterator[ProcessArena]:
    with open_arena(request) as opened:
        yield opened
