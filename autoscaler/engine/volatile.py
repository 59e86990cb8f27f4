"""What a shard remembers of one service beside its durable state: signals, wishes, the policies' memory. Lost without
harm.

Made on the first sample, saved as a checkpoint beside the fold, restored on take-over. No clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoscaler.core.facts import EventRef
from autoscaler.core.observation import ServiceFacts
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.signals import ServiceSignals
from autoscaler.core.wishes import WishHistory


class Volatile:
    """``event_at``: when the newest folded sample came (broker time); ``metrics``: names that scaling policies looked
    at; ``vetting``: names that rollback policies looked at and that were seen. ``saved_at``: event_at of the last
    checkpoint. ``judged_since``, ``judged_at``: the first and the last evaluation of the unbroken run of them, before
    which ``wishes`` may lack any. ``told_since``: when the phase began that policies were told of last."""

    __slots__ = (
        "event_at",
        "event_id",
        "facts",
        "judged_at",
        "judged_since",
        "memory",
        "metrics",
        "saved_at",
        "signals",
        "source",
        "told_since",
        "vetting",
        "wishes",
    )

    def __init__(self, settings: ServiceSettings) -> None:
        self.signals = ServiceSignals(settings.scaling.max_age_s, max(60.0, settings.scaling.down_window_s))
        self.wishes = WishHistory()
        self.memory: dict[str, dict[str, Any]] = {}
        self.facts: ServiceFacts | None = None
        self.metrics: tuple[str, ...] = ()
        self.vetting: frozenset[str] = frozenset()
        self.event_at = 0.0
        self.saved_at = 0.0
        self.judged_at = self.judged_since = 0.0
        self.told_since: float | None = None
        self.source = ""
        self.event_id = ""

    @property
    def causes(self) -> tuple[EventRef, ...]:
        """The event that brought the newest folded sample."""
        return (EventRef(self.source, self.event_id),) if self.event_id else ()

    def judge(self, at: float, max_age_s: float) -> None:
        """The service is evaluated at ``at``. What came before a gap says nothing of the wishes within it."""
        if at - self.judged_at > max_age_s:
            self.judged_since = at
        self.judged_at = max(self.judged_at, at)

    def checkpoint(self) -> dict[str, Any]:
        """JSON values that `restore` reads."""
        self.saved_at = self.event_at
        return {
            "at": self.event_at,
            "signals": self.signals.snapshot(),
            "wishes": self.wishes.snapshot(),
            "judged": [self.judged_since, self.judged_at],
            "memory": self.memory,
            "vetting": sorted(self.vetting),
        }

    @classmethod
    def restored(cls, settings: ServiceSettings, saved: Mapping[str, Any]) -> Volatile:
        """What `checkpoint` described. Raises LookupError, TypeError or ValueError where it is not that."""
        volatile = cls(settings)
        volatile.signals.restore(saved["signals"])
        volatile.wishes = WishHistory.restored(saved["wishes"])
        volatile.judged_since, volatile.judged_at = (float(at) for at in saved["judged"])
        volatile.memory = {str(name): dict(values) for name, values in saved["memory"].items()}
        volatile.vetting = frozenset(saved["vetting"])
        volatile.event_at = volatile.saved_at = float(saved["at"])
        return volatile
