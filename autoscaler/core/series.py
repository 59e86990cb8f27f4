"""`Series`: the samples of one metric, folded into at most 60 window buckets. Pure; used by `autoscaler.core.signals`.

It runs once for every sample, so it is measured (`bench/`). Rules:

- A sample is the same if source, metric and time are. What is too old to tell is *stale*, and counted as such.
- A late sample joins the window bucket of its own time and never replaces a newer latest.
- Time comes with the sample. A caller that takes times from outside bounds how far ahead they may lie.
"""

from __future__ import annotations

from array import array
from typing import Any, Literal

FoldResult = Literal["folded", "stale", "duplicate", "rejected"]
HORIZON_S = 300.0
BUCKETS_MAX = 60
RECENT_MAX = 128
"""Newest samples kept one by one, for duplicates and exact runs; windows beyond them are known by bucket."""

# One bucket is seven numbers of a flat array: 56 bytes, where a list of float objects would take 300.
_FIELDS = 7
_INDEX, _COUNT, _SUM, _MIN, _MAX, _FIRST_AT, _FIRST = range(_FIELDS)
# One recent sample is three: time, value, position of its source in `Series._sources`.
_STRIDE = 3
NEVER = float("-inf")


class Series:
    """One metric of one service (or of one revision of it).

    ``at`` and ``latest``: time and value of the newest sample, ``at`` -inf before the first. ``covered_since``: start
    of the unbroken run in which no gap between samples exceeded ``max_age``. ``zero_since``: start of the unbroken
    run of zeros, None where the newest value is not zero.
    """

    __slots__ = (
        "_bucket", "_buckets", "_floor", "_max_age_s", "_recent", "_source", "_source_at", "_sources", "_width_s",
        "at", "covered_since", "latest", "zero_since",
    )  # fmt: skip

    def __init__(self, max_age_s: float, horizon_s: float = HORIZON_S) -> None:
        self.at = NEVER
        self.latest = 0.0
        self.covered_since: float | None = None
        self.zero_since: float | None = None
        self._max_age_s = max_age_s
        self._width_s = horizon_s / BUCKETS_MAX
        self._bucket = NEVER
        self._buckets = array("d")
        self._recent = array("d")
        self._sources: list[str] = []
        self._source = ""
        self._source_at = -1.0
        self._floor = NEVER

    def fold(self, at: float, value: float, source: str) -> FoldResult:
        """Take one sample in; says what became of it."""
        if value - value != 0.0 or at - at != 0.0:  # NaN and the infinities
            return "rejected"
        gap_s = at - self.at
        if gap_s <= 0.0:
            return self._fold_late(at, value, source)
        if gap_s > self._max_age_s:
            self.covered_since = at
            self.zero_since = None if value else at
        elif value:
            self.zero_since = None
        elif self.zero_since is None:
            self.zero_since = at
        self.at = at
        self.latest = value
        bucket = at // self._width_s
        if bucket == self._bucket:
            buckets = self._buckets
            buckets[-6] += 1.0
            buckets[-5] += value
            if value < buckets[-4]:
                buckets[-4] = value
            elif value > buckets[-3]:
                buckets[-3] = value
        else:
            self._open_bucket(bucket, at, value)
        if source != self._source or self._source_at < 0.0:
            self._turn_to(source)
        recent = self._recent
        recent.append(at)
        recent.append(value)
        recent.append(self._source_at)
        if len(recent) > RECENT_MAX * _STRIDE:
            self._trim_recent()
        return "folded"

    def _fold_late(self, at: float, value: float, source: str) -> FoldResult:
        """A sample no newer than the newest: into its bucket, unless it is known already or cannot be told."""
        known_source = source in self._sources
        if known_source:
            self._turn_to(source)
        recent = self._recent
        position = len(recent)
        while position and recent[position - _STRIDE] > at:
            position -= _STRIDE
        same = position
        while same and recent[same - _STRIDE] == at:
            same -= _STRIDE
            if known_source and recent[same + 2] == self._source_at:
                return "duplicate"
        bucket = at // self._width_s
        if at <= self._floor or bucket <= self._bucket - BUCKETS_MAX:
            return "stale"
        self._turn_to(source)
        for number in (self._source_at, value, at):
            recent.insert(position, number)
        self._fold_late_runs(at, value, position)
        if at == self.at:
            self.latest = value
        self._join_bucket(bucket, at, value)
        if len(recent) > RECENT_MAX * _STRIDE:
            self._trim_recent()
        return "folded"

    def _fold_late_runs(self, at: float, value: float, position: int) -> None:
        """Runs can only get shorter at zero, and longer in coverage by a sample that reaches over to them."""
        if self.covered_since is not None and 0.0 < self.covered_since - at <= self._max_age_s:
            self.covered_since = at
        if value and self.zero_since is not None and at >= self.zero_since:
            after = position + _STRIDE
            self.zero_since = self._recent[after] if after < len(self._recent) and at < self.at else None

    def _open_bucket(self, bucket: float, at: float, value: float) -> None:
        buckets = self._buckets
        buckets.extend((bucket, 1.0, value, value, value, at, value))
        self._bucket = bucket
        first = bucket - BUCKETS_MAX
        stale = 0
        while buckets[stale] <= first:
            stale += _FIELDS
        if stale:
            del buckets[:stale]

    def _join_bucket(self, bucket: float, at: float, value: float) -> None:
        buckets = self._buckets
        i = len(buckets)
        while i and buckets[i - _FIELDS] > bucket:
            i -= _FIELDS
        if not i or buckets[i - _FIELDS] != bucket:
            buckets[i:i] = array("d", (bucket, 1.0, value, value, value, at, value))
            return
        i -= _FIELDS
        buckets[i + _COUNT] += 1.0
        buckets[i + _SUM] += value
        buckets[i + _MIN] = min(buckets[i + _MIN], value)
        buckets[i + _MAX] = max(buckets[i + _MAX], value)
        if at < buckets[i + _FIRST_AT]:
            buckets[i + _FIRST_AT] = at
            buckets[i + _FIRST] = value

    def _turn_to(self, source: str) -> None:
        if source not in self._sources:
            self._sources.append(source)
        self._source = source
        self._source_at = float(self._sources.index(source))

    def _trim_recent(self) -> None:
        """Drop the older half; what is not newer than the dropped ones can no longer be told from a repeat."""
        recent = self._recent
        half = len(recent) // (2 * _STRIDE) * _STRIDE
        self._floor = recent[half - _STRIDE]
        del recent[:half]
        if len(self._sources) > RECENT_MAX // 2:
            names = self._sources
            kept = {int(recent[i]) for i in range(2, len(recent), _STRIDE)} | {int(self._source_at)}
            places = {old: float(new) for new, old in enumerate(sorted(kept))}
            self._sources = [names[old] for old in sorted(kept)]
            for i in range(2, len(recent), _STRIDE):
                recent[i] = places[int(recent[i])]
            self._source_at = places[int(self._source_at)]

    def _starts(self, now: float, window_s: float) -> int:
        """Where the window's first bucket is: the newest ``ceil(window / width)`` buckets, the one of ``now``
        included."""
        span = max(1.0, -(-window_s // self._width_s))
        first = now // self._width_s - span
        buckets = self._buckets
        i = len(buckets)
        while i and buckets[i - _FIELDS] > first:
            i -= _FIELDS
        return i

    def window(self, now: float, window_s: float) -> tuple[int, float, float, float]:
        """Number, sum, lowest and highest of the samples in the window; (0, 0, inf, -inf) where there is none."""
        start, buckets = self._starts(now, window_s), self._buckets
        if start >= len(buckets):
            return 0, 0.0, float("inf"), NEVER
        # strided slices: a quarter of the time of a loop over the buckets
        count = int(sum(buckets[start + _COUNT :: _FIELDS]))
        total = sum(buckets[start + _SUM :: _FIELDS])
        return count, total, min(buckets[start + _MIN :: _FIELDS]), max(buckets[start + _MAX :: _FIELDS])

    def mean(self, now: float, window_s: float) -> float | None:
        """Mean of the samples in the window, None where there is none."""
        start, buckets = self._starts(now, window_s), self._buckets
        if start + _FIELDS == len(buckets):  # the newest bucket alone, as where samples come as seldom as one looks
            return buckets[start + _SUM] / buckets[start + _COUNT]
        count: float = sum(buckets[start + _COUNT :: _FIELDS])
        return sum(buckets[start + _SUM :: _FIELDS]) / count if count else None

    def rate(self, now: float, window_s: float) -> float | None:
        """Change per second from the window's first sample to the newest; None with fewer than two moments."""
        i = self._starts(now, window_s)
        if i >= len(self._buckets) or self._buckets[i + _FIRST_AT] >= self.at:
            return None
        return (self.latest - self._buckets[i + _FIRST]) / (self.at - self._buckets[i + _FIRST_AT])

    def run_within(self, low: float, high: float, since: float) -> tuple[float, int] | None:
        """Start and length of the unbroken newest run of samples not before ``since`` with ``low <= value < high``.

        A gap longer than max_age breaks it. Exact over the newest samples; before them whole buckets only, so that a
        run may look shorter than it was, never longer. None where the newest sample is not in it.
        """
        recent = self._recent
        start, count, i = self.at, 0, len(recent)
        while i:
            i -= _STRIDE
            at, value = recent[i], recent[i + 1]
            if at < since or not low <= value < high or start - at > self._max_age_s:
                return (start, count) if count else None
            start, count = at, count + 1
        buckets = self._buckets
        for b in range(len(buckets) - _FIELDS, -1, -_FIELDS):
            first_at = buckets[b + _FIRST_AT]
            if first_at >= start:
                continue
            if not self._bucket_within(b, low, high, since) or start - first_at > self._max_age_s:
                break
            if buckets[b] != start // self._width_s:  # else samples of this bucket are among the counted ones
                count += int(buckets[b + _COUNT])
            start = first_at
        return (start, count) if count else None

    def _bucket_within(self, b: int, low: float, high: float, since: float) -> bool:
        buckets = self._buckets
        return buckets[b + _FIRST_AT] >= since and low <= buckets[b + _MIN] and buckets[b + _MAX] < high

    def snapshot(self) -> list[Any]:
        """JSON values that `restored` reads: [at, latest, source, covered_since, zero_since, buckets]."""
        buckets = []
        b = self._buckets
        for i in range(0, len(b), _FIELDS):
            first = [b[i + _FIRST_AT], b[i + _FIRST]]
            buckets.append(first if b[i + _COUNT] == 1.0 else [*first, *b[i + _COUNT : i + _MAX + 1]])
        return [self.at, self.latest, self._source, self.covered_since, self.zero_since, buckets]

    @classmethod
    def restored(cls, saved: list[Any], max_age_s: float, horizon_s: float) -> Series:
        """The series of a snapshot; samples older than its newest are stale from here on, as repeats cannot be told."""
        series = cls(max_age_s, horizon_s)
        at, latest, source, covered_since, zero_since, buckets = saved
        series.at, series.latest = float(at), float(latest)
        series.covered_since, series.zero_since = covered_since, zero_since
        for first_at, first, *rest in buckets:
            count, total, low, high = rest or (1.0, first, first, first)
            bucket = first_at // series._width_s
            if bucket == series._bucket:
                series._join_bucket(bucket, first_at, low)
                series._buckets[-6] += count - 1.0
                series._buckets[-5] += total - low
                series._buckets[-3] = max(series._buckets[-3], high)
            else:
                series._open_bucket(bucket, first_at, first)
                series._buckets[-6:-2] = array("d", (count, total, low, high))
        series._turn_to(source)
        series._recent.extend((series.at, series.latest, series._source_at))
        series._floor = series.at
        return series
