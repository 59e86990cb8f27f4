"""What a shard remembers of one service beside its durable state: signals, wishes, the policies' memory. Lost without
harm.

Made on the first sample, saved as a checkpoint beside the fold, restored on take-over. No clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from autoscaler.core.facts import EventRef
from autoscaler.core.observation import ServiceFacts
from autoscaler.core.settings import ServiceSettings
from autoscaler.core.signals import ServiceSignals
from autoscaler.core.wishes import WishHistory


class Kept(Protocol):
    """What can say what a checkpoint is to keep of it."""

    def saved(self) -> dict[str, Any]:
        """JSON values."""


class Judge:
    """What whoever judges the signals of a service keeps of its judgements; of one set of signals there may be several.

    ``metrics``: names that scaling policies looked at; ``vetting``: names that rollback policies looked at and that
    were seen. ``judged_since``, ``judged_at``: the first and the last evaluation of the unbroken run of them, before
    which ``wishes`` may lack any.
    """

    __slots__ = ("judged_at", "judged_since", "memory", "metrics", "signals", "vetting", "wishes")

    def __init__(self, signals: ServiceSignals, memory: dict[str, dict[str, Any]]) -> None:
        self.signals = signals
        self.memory = memory
        self.wishes = WishHistory()
        self.metrics: tuple[str, ...] = ()
        self.vetting: frozenset[str] = frozenset()
        self.judged_at = self.judged_since = 0.0

    def note_evaluation(self, at: float, max_age_s: float) -> None:
        """The service is evaluated at ``at``. What came before a gap says nothing of the wishes within it."""
        if at - self.judged_at > max(max_age_s, self.signals.max_age_most):
            self.judged_since = at
        self.judged_at = max(self.judged_at, at)

    def restore_wishes(self, saved: Mapping[str, Any]) -> None:
        """Wishes and the run of evaluations as a checkpoint has them. Raises LookupError, TypeError or ValueError."""
        self.wishes = WishHistory.restored(saved["wishes"])
        self.judged_since, self.judged_at = (float(at) for at in saved["judged"])


class Volatile(Judge):
    """The live judge, and what came in beside the signals.

    ``event_at``: when the newest folded sample came (broker time). ``saved_at``: event_at of the last checkpoint.
    ``told_since``: when the phase began that policies were told of last. ``shadows``: what is kept of shadow policies;
    ``shadows_saved``: what the restored checkpoint says of them.
    """

    __slots__ = ("event_at", "event_id", "facts", "saved_at", "shadows", "shadows_saved", "source", "told_since")

    def __init__(self, settings: ServiceSettings) -> None:
        scaling = settings.scaling
        signals = ServiceSignals(scaling.max_age_s, max(60.0, scaling.down_window_s), dict(settings.signals))
        super().__init__(signals, {})
        self.facts: ServiceFacts | None = None
        self.event_at = 0.0
        self.saved_at = 0.0
        self.told_since: float | None = None
        self.shadows: Kept | None = None
        self.shadows_saved: Mapping[str, Any] = {}
        self.source = ""
        self.event_id = ""

    @property
    def causes(self) -> tuple[EventRef, ...]:
        """The event that brought the newest folded sample."""
        return (EventRef(self.source, self.event_id),) if self.event_id else ()

    def checkpoint(self, *, shadows: bool = True) -> dict[str, Any]:
        """JSON values that `restore` reads; without ``shadows``, where they would be too much."""
        self.saved_at = self.event_at
        kept = {"shadows": self.shadows.saved()} if shadows and self.shadows is not None else {}
        return {
            **kept,
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
        volatile.restore_wishes(saved)
        volatile.memory = {str(name): dict(values) for name, values in saved["memory"].items()}
        volatile.vetting = frozenset(saved["vetting"])
        volatile.event_at = volatile.saved_at = float(saved["at"])
        shadows = saved.get("shadows", {})
        volatile.shadows_saved = shadows if isinstance(shadows, Mapping) else {}
        return volatile
