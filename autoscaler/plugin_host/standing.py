"""How a plugin has been doing: counts and times for the metrics, and the quarantine after repeated failures."""

from __future__ import annotations

from dataclasses import dataclass

FAILURES_MAX = 5
QUARANTINE_S = 60.0
QUARANTINE_S_MAX = 3600.0


@dataclass(slots=True)
class Standing:
    """One plugin's record. Quarantine runs on evaluation time, so that a replay quarantines at the same moments.

    ``calls`` are those made; ``failures`` raised, died or answered nonsense; ``late`` missed their deadline (also
    failures); ``skipped`` fell into a quarantine. ``quarantined_until`` 0.0: never was.
    """

    calls: int = 0
    failures: int = 0
    late: int = 0
    skipped: int = 0
    seconds: float = 0.0
    seconds_max: float = 0.0
    quarantines: int = 0
    quarantined_until: float = 0.0
    failures_in_a_row: int = 0
    last_error: str = ""
    _next_s: float = QUARANTINE_S

    def quarantined(self, now: float) -> bool:
        """Whether calls are skipped at ``now``."""
        return now < self.quarantined_until

    def took(self, seconds: float) -> None:
        """Count a call and its time."""
        self.calls += 1
        self.seconds += seconds
        self.seconds_max = max(self.seconds_max, seconds)

    def succeeded(self) -> None:
        """A valid answer ends the row of failures and, once, the doubling."""
        self.failures_in_a_row = 0
        self._next_s = QUARANTINE_S

    def failed(self, now: float, error: str, *, late: bool = False) -> None:
        """Count a failure; the fifth in a row, and each one after a quarantine, starts the next quarantine."""
        self.failures += 1
        self.late += late
        self.failures_in_a_row += 1
        self.last_error = error
        if self.failures_in_a_row >= FAILURES_MAX:
            self.quarantined_until = now + self._next_s
            self.quarantines += 1
            self._next_s = min(2.0 * self._next_s, QUARANTINE_S_MAX)
