"""Bounded waiting: a claim about the outside is asked again and again, and a failure shows what was seen last."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE_S = 0.1


async def eventually(
    what: str, look: Callable[[], T | Awaitable[T]], holds: Callable[[T], object], within_s: float = 30.0
) -> T:
    """What ``look`` gives once it ``holds``; else a failure that says what was waited for and what was seen last.

    ``look`` may be a coroutine function; a plain one runs in a thread, since it may ask an engine.
    """
    until = time.monotonic() + within_s
    while True:
        seen = await _seen(look)
        if holds(seen):
            return seen
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not within {within_s:g} s; last seen: {seen}")
        await asyncio.sleep(PAUSE_S)


async def throughout(
    what: str, look: Callable[[], T | Awaitable[T]], holds: Callable[[T], object], for_s: float
) -> None:
    """Whether it holds all the time; a failure shows the first look at which it did not."""
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        seen = await _seen(look)
        assert holds(seen), f"{what}: no longer, {until - time.monotonic():.1f} s before the end; seen: {seen}"
        await asyncio.sleep(PAUSE_S)


async def _seen(look: Callable[[], T | Awaitable[T]]) -> T:
    if inspect.iscoroutinefunction(look):
        return await look()  # type: ignore[no-any-return]
    return await asyncio.to_thread(look)  # type: ignore[arg-type]
