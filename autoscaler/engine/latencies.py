"""Times the way from an event to its decision, its first action and its effect. Called by the shard with the times."""

from __future__ import annotations

from autoscaler.engine.counters import Counters


class Latencies:
    """Remembers when a service's newest event came and when its decision was durable, until both are counted."""

    __slots__ = ("_counters", "_decided_at", "_event_at")

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._event_at: dict[str, float] = {}
        self._decided_at: dict[str, float] = {}

    def arrived(self, service: str, at: float) -> None:
        """An event that may decide something came at ``at`` (the broker's time)."""
        self._event_at[service] = at

    def decided(self, service: str, now: float) -> None:
        """A decision about the service is durable."""
        if service in self._event_at:
            self._counters.event_to_decision.observe(now - self._event_at[service])
        self._decided_at[service] = now

    def acting(self, service: str, now: float) -> None:
        """An action for the service begins; the first one after an event counts."""
        event_at = self._event_at.pop(service, None)
        if event_at is not None:
            self._counters.event_to_action.observe(now - event_at)

    def effected(self, service: str, now: float) -> None:
        """An action for the service has ended well; the first one after a decision counts."""
        decided_at = self._decided_at.pop(service, None)
        if decided_at is not None:
            self._counters.decision_to_effect.observe(now - decided_at)
