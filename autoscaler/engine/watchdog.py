"""Ends the process when its loop makes no progress: a restart is cheap and safe, a silent stall is not.

A thread of its own, since what it watches for is a blocked loop.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time

STALLED_S = 30.0
BEAT_S = 1.0
EXIT_STALLED = 70


class Watchdog:
    """Beats in the loop, looks from a thread; exit code 70 after 30 s without a beat."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stalled_s: float = STALLED_S) -> None:
        self._loop = loop
        self._stalled_s = stalled_s
        self._beat_at = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch; call it in the loop."""
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._ended.set()
        if self._handle is not None:
            self._handle.cancel()

    def _beat(self) -> None:
        self._beat_at = time.monotonic()
        self._handle = self._loop.call_later(BEAT_S, self._beat)

    def _watch(self) -> None:
        looked_at = time.monotonic()
        while not self._ended.wait(BEAT_S):
            now = time.monotonic()
            if now - looked_at > 5 * BEAT_S:
                # The whole process stood still (SIGSTOP, a suspended machine): the loop gets its time to catch up.
                self._beat_at = now
            looked_at = now
            silent_s = now - self._beat_at
            if silent_s > self._stalled_s:
                sys.stderr.write(
                    f"autoscaler: no progress for {silent_s:.0f} s, ending so that a restart can mend it\n"
                )
                sys.stderr.flush()
                os._exit(EXIT_STALLED)
