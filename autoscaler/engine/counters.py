"""Plain counts of what one member has done, read by the metrics page. Adding up is the only thing that happens here."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

LATENCY_BUCKETS_S: tuple[float, ...] = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)


@dataclass(slots=True)
class Histogram:
    """Counts of durations in seconds by upper bound, their sum and number."""

    bounds: Sequence[float] = LATENCY_BUCKETS_S
    counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BUCKETS_S) + 1))
    total_s: float = 0.0
    number: int = 0

    def observe(self, seconds: float) -> None:
        """Count one duration; a negative one (clocks of two machines) counts as zero."""
        seconds = max(0.0, seconds)
        index = next((i for i, bound in enumerate(self.bounds) if seconds <= bound), len(self.bounds))
        self.counts[index] += 1
        self.total_s += seconds
        self.number += 1


@dataclass(slots=True)
class Counters:
    """One member's counts. Samples: folded + stale + duplicate + rejected + shed + unknown_service = samples read.

    ``shadows``: evaluations by label and outcome; ``shadow_seconds``: replica seconds by label and direction (more,
    fewer).
    """

    samples: Counter[str] = field(default_factory=Counter)
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    actions: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    shadows: Counter[tuple[str, str]] = field(default_factory=Counter)
    shadow_seconds: defaultdict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    evaluations: int = 0
    appends: int = 0
    append_failures: int = 0
    event_to_decision: Histogram = field(default_factory=Histogram)
    event_to_action: Histogram = field(default_factory=Histogram)
    decision_to_effect: Histogram = field(default_factory=Histogram)
