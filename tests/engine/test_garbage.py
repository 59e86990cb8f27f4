"""What lives long is set aside, and what was set aside and then dropped is still collected."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from autoscaler.engine import garbage
from autoscaler.engine.garbage import LongLived, set_aside


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


class Cycle:
    def __init__(self) -> None:
        self.itself = self


def test_what_was_set_aside_and_dropped_is_collected_the_next_time() -> None:
    cycle = Cycle()
    dropped = weakref.ref(cycle)
    set_aside()
    assert gc.get_freeze_count() > 0
    del cycle
    gc.collect()
    kept = dropped() is not None
    set_aside()
    assert (kept, dropped()) == (True, None)


async def test_it_waits_until_no_take_over_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "SETTLE_S", 0.01)
    done, times = asyncio.Event(), []
    monkeypatch.setattr(garbage, "set_aside", lambda: (times.append(1), done.set()))
    thresholds = gc.get_threshold()
    answers = iter([False, False, True])
    long_lived = LongLived(lambda: next(answers))
    long_lived.changed()
    long_lived.changed()
    await asyncio.wait_for(done.wait(), 10)
    assert times == [1]
    assert next(answers, None) is None
    long_lived.close()
    assert (gc.get_freeze_count(), gc.get_threshold()) == (0, thresholds)


async def test_closed_it_does_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "SETTLE_S", 0.0)
    asked: list[int] = []
    long_lived = LongLived(lambda: bool(asked.append(1)))
    long_lived.changed()
    long_lived.close()
    long_lived.close()
    await asyncio.sleep(0.02)
    assert asked == []
