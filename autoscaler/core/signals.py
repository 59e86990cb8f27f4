"""A service's recent samples by metric: what policies see, and what a scale-down must be covered by. Pure.

The engine folds every sample in and evaluates on a view, so both are measured (`bench/`). Unknown is never zero: a
metric never seen, or older than ``max_age``, is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from autoscaler.core.facts import SignalReading
from autoscaler.core.quantities import parse_duration
from autoscaler.core.series import HORIZON_S, NEVER, FoldResult, Series
from autoscaler.core.settings import SignalRule

REVISIONS_MAX = 8
METRICS_MAX = 256
STALE_BY_S = 0.001
"""A sample of exactly max_age is known still; so much later it is not."""
_windows_s: dict[str, float] = {}
_WINDOWS_MAX = 1024


def _window_s(window: str | float) -> float:
    """Seconds of a window as a policy writes it; the few spellings in use are parsed once."""
    if not isinstance(window, str):
        return float(window)
    seconds = _windows_s.get(window)
    if seconds is None:
        seconds = parse_duration(window)
        if len(_windows_s) < _WINDOWS_MAX:
            _windows_s[window] = seconds
    return seconds


class FoldCounts(NamedTuple):
    """What became of a batch of samples; the four add up to their number."""

    folded: int = 0
    stale: int = 0
    duplicate: int = 0
    rejected: int = 0


class ServiceSignals:
    """All series of one service: by metric, and by metric and revision for samples that name a revision.

    Windows reach back ``horizon_s``, and never less than five minutes, so that ``mean("5m")`` is what it says.
    ``rules``: signals with an age or a stand-in of their own; ``max_age_most``: the longest age that any may have.
    """

    __slots__ = ("_by_revision", "_horizon_s", "_max_age_s", "_series", "max_age_most", "rules")

    def __init__(
        self,
        max_age_s: float = 60.0,
        horizon_s: float = HORIZON_S,
        rules: Mapping[str, SignalRule] | None = None,
    ) -> None:
        self.rules: dict[str, SignalRule] = dict(rules or {})
        self.max_age_most = max([max_age_s, *(rule.max_age_s for rule in self.rules.values())])
        self._max_age_s = max_age_s
        self._horizon_s = max(horizon_s, HORIZON_S)
        self._series: dict[str, Series] = {}
        self._by_revision: dict[int, dict[str, Series]] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics seen, sorted."""
        revisions = self._by_revision or {}
        return tuple(sorted(set(self._series).union(*revisions.values())))

    def fold(self, name: str, at: float, value: float, source: str, revision: int | None = None) -> FoldResult:
        """Take one sample in. One that names a revision counts for that revision alone, never as the service's
        total."""
        series = self._series.get(name) if revision is None else None
        if series is None:
            series = self._new_series(name, revision)
            if series is None:
                return "rejected"
        return series.fold(at, value, source)

    def fold_samples(self, source: str, samples: Iterable[tuple[str, float, float, int | None]]) -> FoldCounts:
        """Take (name, value, at, revision or None) samples of one source in."""
        counts = {"folded": 0, "stale": 0, "duplicate": 0, "rejected": 0}
        for name, value, at, revision in samples:
            counts[self.fold(name, at, value, source, revision)] += 1
        return FoldCounts(**counts)

    def _new_series(self, name: str, revision: int | None) -> Series | None:
        """The series, made where it is missing; None past the bound on names (a producer that makes up names)."""
        if revision is None:
            home = self._series
        else:
            revisions = self._by_revision if self._by_revision is not None else {}
            self._by_revision = revisions
            home = revisions.setdefault(revision, {})
            while len(revisions) > REVISIONS_MAX:
                del revisions[min(revisions)]
        series = home.get(name)
        if series is None and len(home) < METRICS_MAX:
            series = home[name] = Series(self.max_age_of(name), self._horizon_s)
        return series

    def max_age_of(self, name: str, otherwise: float | None = None) -> float:
        """How old the newest sample of the metric may be, in seconds; ``otherwise``: for one without a rule."""
        rule = self.rules.get(name)
        if rule is not None:
            return rule.max_age_s
        return self._max_age_s if otherwise is None else otherwise

    def stale_at(self, after: float) -> float | None:
        """The earliest moment after ``after`` at which something has to stand in for a signal, None without one."""
        moments = [
            series.at + rule.max_age_s + STALE_BY_S
            for name, rule in self.rules.items()
            if rule.on_unknown != "hold" and (series := self.series(name)) is not None and series.at != NEVER
        ]
        return min((at for at in moments if at > after), default=None)

    def series(self, name: str, revision: int | None = None) -> Series | None:
        """The series of a metric, or of one revision's, or None where it was never seen.

        Where samples always named their revision, the metric's own series is that of the only revision still heard of;
        with several of them there is no total, and the metric is unknown.
        """
        if revision is not None:
            return (self._by_revision or {}).get(revision, {}).get(name)
        found = self._series.get(name)
        if found is None and self._by_revision:
            heard = [of[name] for of in self._by_revision.values() if name in of]
            newest_at = max((series.at for series in heard), default=NEVER)
            fresh = [series for series in heard if newest_at - series.at <= self._max_age_s]
            found = fresh[0] if len(fresh) == 1 else None
        return found

    def sum_of_revisions(self, name: str, now: float, max_age_s: float) -> float | None:
        """The newest values of the revisions heard of lately, added up; None without any, and where samples of the
        metric name no revision."""
        if name in self._series or not self._by_revision:
            return None
        heard = [of[name] for of in self._by_revision.values() if name in of]
        fresh = [series.latest for series in heard if now - series.at <= max_age_s]
        return sum(fresh) if fresh else None

    def view(self, now: float, max_age_s: float | None = None) -> SignalsView:
        """What a policy may look at, at ``now``."""
        return SignalsView(self, now, self._max_age_s if max_age_s is None else max_age_s)

    def readings(self, now: float, names: Iterable[str] | None = None) -> tuple[SignalReading, ...]:
        """The newest value and age of the named metrics (default: all), sorted; value None where unknown."""
        view = self.view(now)
        signals = ((name, view[name]) for name in sorted(set(self.names if names is None else names)))
        return tuple(SignalReading(name, None if s.stand_in else s.latest, s.age) for name, s in signals)

    def coverage(self, names: Iterable[str], now: float, max_age_s: float) -> tuple[float | None, float | None]:
        """Since when all the named metrics are known without a gap, and since when all are known zeros; None: not
        now."""
        covered: float | None = None
        zero: float | None = NEVER
        for name in names:
            series = self.series(name)
            if series is None or series.covered_since is None or now - series.at > self.max_age_of(name, max_age_s):
                return None, None
            covered = series.covered_since if covered is None else max(covered, series.covered_since)
            zero = None if zero is None or series.zero_since is None else max(zero, series.zero_since)
        return covered, None if zero == NEVER else zero

    def snapshot(self) -> dict[str, Any]:
        """JSON values that `restore` reads."""

        def write(of: Mapping[str, Series]) -> dict[str, Any]:
            return {name: series.snapshot() for name, series in of.items() if series.at != NEVER}

        saved: dict[str, Any] = {"series": write(self._series)}
        if self._by_revision:
            saved["revisions"] = {str(number): write(of) for number, of in self._by_revision.items()}
        return saved

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Become what `snapshot` saved."""

        def read(of: Mapping[str, Any]) -> dict[str, Series]:
            return {name: Series.restored(s, self.max_age_of(name), self._horizon_s) for name, s in of.items()}

        self._series = read(saved["series"])
        revisions = saved.get("revisions")
        self._by_revision = {int(number): read(of) for number, of in revisions.items()} if revisions else None


class Signal:
    """One metric as a policy sees it.

    ``known``: a sample no older than max_age exists. ``latest``: its value, None where unknown. ``at``, ``age``
    (seconds) and ``last``: time, age and value of the newest sample even where that is too old; None where there
    never was one. ``stand_in``: in words, what is taken for the value because it is unknown; empty where nothing is.
    Such a signal is known, its windows hold that value, and a wish made of it never lowers the demand.
    """

    __slots__ = (
        "_max_age_s", "_now", "_owner", "_series", "age", "at", "known", "last", "latest", "name",
        "stand_in",
    )  # fmt: skip

    def __init__(self, name: str, series: Series | None, now: float, max_age_s: float, owner: ServiceSignals) -> None:
        self.name = name
        self._series = series
        self._now = now
        self._max_age_s = max_age_s
        self._owner = owner
        self.known = False
        self.latest: float | None = None
        self.age: float | None = None
        self.at: float | None = None
        self.last: float | None = None
        self.stand_in = ""
        if series is not None and series.at != NEVER:
            self.at = series.at
            age_s = now - series.at
            self.age = max(0.0, age_s)
            self.last = series.latest
            if age_s <= max_age_s:
                self.known = True
                self.latest = series.latest

    def _window(self, window: str | float) -> tuple[int, float, float, float]:
        if self._series is None or not self.known:
            return 0, 0.0, 0.0, 0.0
        return self._series.window(self._now, _window_s(window))

    def stand_in_by(self, rule: SignalRule) -> None:
        """Take what the rule says for the value, where it is unknown and the rule says something."""
        if self.known or rule.on_unknown not in {"decay", "value"}:
            return
        age = "never seen" if self.age is None else f"unknown for {self.age - rule.max_age_s:.0f} s"
        if rule.on_unknown == "value":
            value = rule.number
        elif self.last is None or self.age is None:
            return
        else:
            value = self.last * 0.5 ** ((self.age - rule.max_age_s) / rule.number)
        self.known, self.latest = True, value
        self.stand_in = f"{self.name} {age}, taken as {value:g}"

    def mean(self, window: str | float) -> float | None:
        """Mean of the samples in the window (``"1m"`` or seconds); None where unknown or empty."""
        if self.stand_in:
            return self.latest
        if self._series is None or not self.known:
            return None
        return self._series.mean(self._now, _window_s(window))

    def max(self, window: str | float) -> float | None:
        """Highest sample of the window; None where unknown or empty."""
        if self.stand_in:
            return self.latest
        count, _, _, high = self._window(window)
        return high if count else None

    def min(self, window: str | float) -> float | None:
        """Lowest sample of the window; None where unknown or empty."""
        if self.stand_in:
            return self.latest
        count, _, low, _ = self._window(window)
        return low if count else None

    def count(self, window: str | float) -> int:
        """How many samples the window holds; 0 where unknown."""
        return 0 if self.stand_in else self._window(window)[0]

    def rate(self, window: str | float) -> float | None:
        """Change per second over the window, first sample to newest; None where unknown or with fewer than two."""
        if self._series is None or not self.known or self.stand_in:
            return None
        return self._series.rate(self._now, _window_s(window))

    def run(
        self, at_least: float = NEVER, below: float = float("inf"), since: float = NEVER
    ) -> tuple[float, int] | None:
        """Start and number of samples of the unbroken run, up to the newest, with ``at_least <= value < below``.

        Only samples from ``since`` on count. None where unknown or the newest sample is not in the range.
        """
        if self._series is None or not self.known or self.stand_in:
            return None
        return self._series.run_within(at_least, below, since)

    def by_revision(self, number: int) -> Signal:
        """The same metric, of samples that name that revision."""
        return Signal(self.name, self._owner.series(self.name, number), self._now, self._max_age_s, self._owner)

    def total(self) -> float | None:
        """``latest``; of a metric that adds up and whose samples name their revision, the sum over the revisions heard
        of lately. None where unknown."""
        return self.latest if self.known else self._owner.sum_of_revisions(self.name, self._now, self._max_age_s)

    def __repr__(self) -> str:
        return f"Signal({self.name!r}, latest={self.latest!r}, age={self.age!r})"


class SignalsView:
    """A service's signals at one moment: ``signals["queue_length"]``; never a KeyError, a metric never seen is unknown.

    ``looked_at`` keeps the names asked for, in order.
    """

    __slots__ = ("_max_age_s", "_now", "_of", "looked_at")

    def __init__(self, of: ServiceSignals, now: float, max_age_s: float) -> None:
        self._of = of
        self._now = now
        self._max_age_s = max_age_s
        self.looked_at: list[str] = []

    def __getitem__(self, name: str) -> Signal:
        looked = self.looked_at
        if name not in looked:
            looked.append(name)
        of = self._of
        series = of._series.get(name)  # noqa: SLF001 - the hot path saves a call
        if series is None:
            series = of.series(name)
        if of.rules:
            rule = of.rules.get(name)
            if rule is not None:
                signal = Signal(name, series, self._now, rule.max_age_s, of)
                signal.stand_in_by(rule)
                return signal
        return Signal(name, series, self._now, self._max_age_s, of)

    def max_age_of(self, name: str, otherwise: float) -> float:
        """How old the newest sample may be, in seconds."""
        return self._of.max_age_of(name, otherwise)

    @property
    def ruled(self) -> bool:
        """Whether anything may stand in for a signal."""
        return bool(self._of.rules)

    def stand_ins(self, names: Iterable[str]) -> tuple[str, int]:
        """What was taken for those of the signals that are unknown, in words, and how many replicas there are to be
        meanwhile."""
        texts, least = [], 0
        for name in names:
            rule = self._of.rules.get(name)
            if rule is None or rule.on_unknown == "hold":
                continue
            signal = self[name]
            if signal.stand_in:
                texts.append(signal.stand_in)
            elif not signal.known and rule.on_unknown == "floor":
                least = max(least, round(rule.number))
        return "; ".join(texts), least

    def __iter__(self) -> Iterator[str]:
        return iter(self._of.names)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._of.names

    def __len__(self) -> int:
        return len(self._of.names)
