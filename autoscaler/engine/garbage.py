"""Keeps the garbage collector from walking what lives as long as the process: the states of thousands of services.

A full walk over ten thousand services takes tenths of a second, and samples by the hundred thousand bring one about
again and again. So what is there once the take-overs are done is set aside, and walked again only after the next ones.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

SETTLE_S = 1.0
"""So long after a change, and again as long where take-overs are still under way."""

THRESHOLDS = (50_000, 20, 50)
"""A batch of samples makes tens of thousands of objects and drops them without the collector's doing."""


class LongLived:
    """``settled``: whether no take-over is under way. `changed` after each change of what is owned."""

    def __init__(self, settled: Callable[[], bool]) -> None:
        self._settled = settled
        self._waiting: asyncio.TimerHandle | None = None
        self._former: tuple[int, int, int] | None = None

    def changed(self) -> None:
        """Partitions come or go: set aside anew when that is over."""
        self._wait_no_more()
        self._waiting = asyncio.get_running_loop().call_later(SETTLE_S, self._look)

    def close(self) -> None:
        """Leave the collector as it was."""
        self._wait_no_more()
        if self._former is not None:
            gc.set_threshold(*self._former)
            gc.unfreeze()
            self._former = None

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _look(self) -> None:
        if self._settled():
            self._waiting = None
            self._former = self._former or gc.get_threshold()
            set_aside()
        else:
            self.changed()


def set_aside() -> None:
    """Collect what is garbage, also of what was set aside before, and set the rest aside."""
    gc.set_threshold(*THRESHOLDS)
    gc.unfreeze()
    gc.collect()
    gc.freeze()
