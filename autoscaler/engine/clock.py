"""The one place that reads a clock. The engine asks it and hands ``now`` on; nothing below knows what time it is."""

from __future__ import annotations

import time


class SystemClock:
    """The machine's clocks, in seconds."""

    def wall(self) -> float:
        """Seconds since the epoch: what records and events carry. It may jump."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some moment: what durations on this machine are measured with. It never goes back."""
        return time.monotonic()
