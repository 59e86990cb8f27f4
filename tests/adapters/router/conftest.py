"""What the tests of the embedded router share, which all have real sockets on both sides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from tests.parts.http_backend import Server, serving


@pytest.fixture
async def servers() -> AsyncIterator[Sequence[Server]]:
    async with serving("a") as first, serving("b") as second, serving("c") as third:
        yield first, second, third
