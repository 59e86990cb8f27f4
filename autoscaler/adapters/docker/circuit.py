"""Whether a host is asked at all: a circuit that opens on repeated silence. Pure; times are arguments."""

from __future__ import annotations

from dataclasses import dataclass

FAILURES_MAX = 3
"""Unanswered calls in a row that open the circuit (reliability rules, section 4)."""

PROBE_FIRST_S, PROBE_LAST_S = 1.0, 60.0
"""Wait before the first probe of an open circuit, doubled up to the last."""


@dataclass(slots=True)
class Circuit:
    """``since``: when it opened or closed last, seconds since the epoch (0.0: never changed)."""

    is_open: bool = False
    since: float = 0.0
    why: str = ""
    failures: int = 0
    probe_in_s: float = PROBE_FIRST_S

    def succeed(self, at: float) -> bool:
        """The host answered; whether that closed the circuit."""
        self.failures = 0
        self.probe_in_s = PROBE_FIRST_S
        if not self.is_open:
            return False
        self.is_open, self.since, self.why = False, at, ""
        return True

    def fail(self, at: float, why: str) -> bool:
        """A call got no answer; whether that opened the circuit."""
        self.failures += 1
        return self.failures >= FAILURES_MAX and self.trip(at, why)

    def trip(self, at: float, why: str) -> bool:
        """Open it now (a listing failed); whether it was closed before. The reason is kept up to date."""
        self.why = why
        if self.is_open:
            return False
        self.is_open, self.since = True, at
        return True

    def back_off(self) -> float:
        """Seconds to wait before the next probe; doubles with each call."""
        wait_s = self.probe_in_s
        self.probe_in_s = min(PROBE_LAST_S, 2 * self.probe_in_s)
        return wait_s
