"""`canary`: judges the steps of a rollout by the samples of both revisions, and says why.

It looks at samples that name a revision, of the one that is rolled out and of its base, since the present step began.
`errors` and `requests` are counters that only grow (after a fall they count from zero), so that nothing is lost where
samples come late or in batches. What it says of a step: fail is `Rollback`, pass is `Update`, not decided yet is a
`Hold` that wakes at the step's end, cannot decide is a `Hold` without that, and cannot tell is a `Hold` with
``unknown``. Unknown never takes a revision back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, model_validator

import autoscaler
from autoscaler_plugins.rules import judging
from autoscaler_plugins.rules.fields import Count, Duration, Finite, Name, NotNegative, Ratio, Strict
from autoscaler_plugins.rules.judging import Counted, Finding

PROPOSES = frozenset({"rollback"})
JUDGED = frozenset({"judging", "held"})
POINTS_MAX = 300
"""Latencies kept a side: six times what speaks."""

Share = Annotated[Ratio, Field(gt=0, lt=1)]


class Errors(Strict):
    """The counters ``errors`` and ``requests``; ``objective``: the share of errors that is promised, ``intolerable``
    one that is not. ``baseline``: compare with the base as well, whether the share is ``times`` as high.
    ``min_samples``: requests without which a step that ends undecided is inconclusive."""

    errors: Name = "errors_total"
    requests: Name = "requests_total"
    objective: Share = 0.001
    intolerable: Share = 0.01
    baseline: bool = True
    times: Annotated[Finite, Field(gt=1, le=100)] = 2.0
    min_samples: Count = 100

    @model_validator(mode="after")
    def _ordered(self) -> Errors:
        if self.intolerable <= self.objective:
            raise ValueError("intolerable is not above objective; raise it")
        return self


class Latency(Strict):
    """Worse where the shift of ``metric`` is certain with ``confidence``, its interval's near end past ``tolerance`` of
    the estimate, and the mean more than ``slower_by`` higher. Under ``min_samples`` a side it cannot decide."""

    metric: Name
    confidence: Share = 0.98
    tolerance: Annotated[Ratio, Field(ge=0, le=1)] = 0.25
    slower_by: NotNegative = 0.0
    min_samples: Annotated[int, Field(ge=judging.SPEAKS_FROM, le=POINTS_MAX)] = 50


class Limit(Strict):
    """Each sample of ``metric`` is a measurement, one ``every`` so long: bad ``above`` or ``below`` a limit, doubtful
    past ``doubt``. Fails past ``failure_limit`` bad ones, is done with ``count`` of them (0: at the step's end)."""

    metric: Name
    above: Finite | None = None
    below: Finite | None = None
    doubt: Finite | None = None
    every: Annotated[Duration, Field(gt=0, le=3600)] = 10.0
    failure_limit: Count = 0
    inconclusive_limit: Count = 0
    count: Count = 0

    @model_validator(mode="after")
    def _one_side(self) -> Limit:
        if (self.above is None) == (self.below is None):
            raise ValueError("give exactly one of above and below")
        return self

    def bad(self, value: float) -> bool:
        """Whether a measurement is bad."""
        return value > self.above if self.above is not None else value < (self.below or 0.0)

    def doubtful(self, value: float) -> bool:
        """Whether a measurement that is not bad is not good either."""
        if self.doubt is None:
            return False
        return value > self.doubt if self.above is not None else value < self.doubt


class Options(Strict):
    """What is checked; all of it, where it is given. ``dry_run``: say what it would have been, and vote for nothing."""

    errors: Errors | None = None
    latency: Latency | None = None
    limits: Annotated[tuple[Limit, ...], Field(max_length=16, strict=False)] = ()
    dry_run: bool = False

    @model_validator(mode="after")
    def _something(self) -> Options:
        if self.errors is None and self.latency is None and not self.limits:
            raise ValueError("nothing to check; give errors, latency or limits")
        return self


Said = tuple[Finding, str]


class _Look:
    """One evaluation: the facts, the signals of both revisions, and what the step's memory holds."""

    def __init__(
        self, service: autoscaler.ServiceFacts, signals: autoscaler.SignalsView, now: float, memory: dict[str, Any]
    ) -> None:
        self.service = service
        self.now = now
        self.memory = memory
        self._signals = signals
        self.ending = service.phase_until is not None and now >= service.phase_until

    def own(self, name: str) -> autoscaler.Signal:
        """The metric of the revision that is rolled out."""
        return self._signals[name].by_revision(self.service.revision)

    def base(self, name: str) -> autoscaler.Signal | None:
        """The metric of the base, or None where there is none."""
        return None if self.service.base is None else self._signals[name].by_revision(self.service.base)

    def grown(self, place: str, signal: autoscaler.Signal | None) -> float:
        """How much a counter grew since it was looked at last, from the step's beginning on."""
        if signal is None or signal.latest is None:
            return 0.0
        counters = self.memory.setdefault("counters", {})
        before = counters.get(place)
        counters[place] = signal.latest
        if before is None:
            return 0.0
        return float(signal.latest - before if signal.latest >= before else signal.latest)


@autoscaler.hookimpl
def propose(
    service: autoscaler.ServiceFacts,
    signals: autoscaler.SignalsView,
    now: float,
    options: Options,
    memory: dict[str, Any],
) -> autoscaler.Rollback | autoscaler.Update | autoscaler.Hold | None:
    """What the checks say of the step that is judged, or of the soak; nothing outside of both."""
    soaks = service.phase == "soaking"
    if service.phase_since is None or not (soaks or service.phase in JUDGED):
        return None
    _begin_step(service, memory)
    look = _Look(service, signals, now, memory)
    said = list(_checked(look, options, soaks=soaks))
    finding = judging.worst([found for found, _ in said])
    text = "; ".join(words for _, words in said)[:450]
    if options.dry_run:
        return autoscaler.Update(service.revision, f"dry run, {finding}: {text}"[:450])
    match finding:
        case "fail":
            return autoscaler.Rollback("; ".join(words for found, words in said if found == "fail")[:450])
        case "unknown":
            return autoscaler.Hold(text, unknown=True)
        case "undecided":
            waits = service.phase_until is not None and service.phase_until > now
            return autoscaler.Hold(text, service.phase_until if waits else None)
        case "inconclusive":
            # Before the end there is still time to decide.
            waits = service.phase_until is not None and service.phase_until > now
            return autoscaler.Hold(text, service.phase_until if waits else None)
        case _:
            return autoscaler.Update(service.revision, text)


def _begin_step(service: autoscaler.ServiceFacts, memory: dict[str, Any]) -> None:
    """Forget what was measured in another step, or of another revision."""
    key = [service.revision, service.phase_since]
    if memory.get("step") != key:
        memory.clear()
        memory["step"] = key


def _checked(look: _Look, options: Options, *, soaks: bool) -> Iterator[Said]:
    if options.errors is not None:
        yield from _check_errors(look, options.errors, soaks=soaks)
    if options.latency is not None and not soaks:
        yield _check_latency(look, options.latency)
    for number, limit in enumerate(options.limits):
        yield _check_limit(look, limit, str(number))


def _check_errors(look: _Look, errors: Errors, *, soaks: bool) -> Iterator[Said]:
    own = look.own(errors.errors), look.own(errors.requests)
    silent = [signal.name for signal in own if not signal.known]
    if silent:
        yield "unknown", f"{' and '.join(silent)} of revision {look.service.revision} unknown"
        return
    base = look.base(errors.errors), look.base(errors.requests)
    own_grown = look.grown("own_errors", own[0]), look.grown("own_requests", own[1])
    base_grown = look.grown("base_errors", base[0]), look.grown("base_requests", base[1])
    sums = look.memory.setdefault("sums", {"own": 0.0, "versus": 0.0, "requests": 0.0, "errors": 0.0})
    sums["errors"] += own_grown[0]
    sums["requests"] += own_grown[1]
    bursts = _bursts(look, base_grown)
    sums["own"] += judging.error_evidence(*own_grown, errors.objective, errors.intolerable)
    finding, total = _sequential(look, "own", sums["own"] / bursts)
    words = f"{sums['errors']:.0f} errors in {sums['requests']:.0f} requests (sum {total:.2f})"
    yield _ended(look, finding, total, sums["requests"], errors.min_samples), words
    if not errors.baseline or soaks or look.service.base is None:
        return
    if any(signal is None or not signal.known for signal in base):
        yield "unknown", f"{errors.errors} of the base, revision {look.service.base}, unknown"
        return
    sums["versus"] += _versus(look, own_grown, base_grown, errors.times)
    finding, total = _sequential(look, "versus", sums["versus"] / bursts)
    yield _ended(look, finding, total, sums["requests"], errors.min_samples), f"against the base (sum {total:.2f})"


def _versus(look: _Look, own: tuple[float, float], base: tuple[float, float], times: float) -> float:
    """What both revisions' errors add, once both have told of the same while: their samples may come one by one."""
    waiting = look.memory.setdefault("waiting", [0.0, 0.0, 0.0, 0.0])
    told = [before + grown for before, grown in zip(waiting, (own[0], base[0], own[1], base[1]), strict=True)]
    whole = told[2] > 0 and told[3] > 0
    look.memory["waiting"] = [0.0] * 4 if whole else told
    return judging.baseline_evidence(told[0], told[1], told[2], told[3], times) if whole else 0.0


def _bursts(look: _Look, base_grown: tuple[float, float]) -> float:
    """How much less errors prove that come in bursts, by the base's per interval so far."""
    intervals = look.memory.setdefault("intervals", [0, 0.0, 0.0])
    if base_grown[1] > 0:
        intervals[0] += 1
        intervals[1] += base_grown[0]
        intervals[2] += base_grown[0] ** 2
    return judging.burstiness(*intervals)


def _sequential(look: _Look, name: str, total: float) -> tuple[Finding, float]:
    """What the sum decides; once it has, the test is over for this step."""
    verdicts = look.memory.setdefault("verdicts", {})
    if name in verdicts:
        finding, total = verdicts[name]
        return finding, total
    finding = judging.decided(total)
    if finding != "undecided":
        verdicts[name] = [finding, total]
    return finding, total


def _ended(look: _Look, finding: Finding, total: float, requests: float, min_samples: float) -> Finding:
    return judging.at_the_end(finding, total, requests, min_samples) if look.ending else finding


def _check_latency(look: _Look, latency: Latency) -> Said:
    own, base = look.own(latency.metric), look.base(latency.metric)
    if base is None:
        return "pass", f"{latency.metric}: no base to compare with"
    points = look.memory.setdefault("points", {"own": [], "base": [], "own_at": None, "base_at": None})
    for side, signal in (("own", own), ("base", base)):
        if signal.latest is not None and signal.at != points[f"{side}_at"]:
            points[f"{side}_at"] = signal.at
            points[side] = [*points[side], signal.latest][-POINTS_MAX:]
    silent = [str(of) for of, signal in ((look.service.revision, own), (look.service.base, base)) if not signal.known]
    if silent:
        return "unknown", f"{latency.metric} of revision {' and '.join(silent)} unknown"
    if not look.ending:
        return "undecided", f"{latency.metric}: compared at the step's end"
    finding = judging.judge_shift(
        points["own"],
        points["base"],
        confidence=latency.confidence,
        tolerance=latency.tolerance,
        slower_by=latency.slower_by,
        min_samples=latency.min_samples,
    )
    return finding, f"{latency.metric}: {finding} with {len(points['own'])} v {len(points['base'])} points"


def _check_limit(look: _Look, limit: Limit, place: str) -> Said:
    signal = look.own(limit.metric)
    kept = look.memory.setdefault("limits", {}).setdefault(
        place, {"failed": 0, "doubtful": 0, "count": 0, "at": look.service.phase_since}
    )
    value, at = signal.latest, signal.at
    if value is not None and at is not None and (at > kept["at"] or not kept["count"]):
        kept["at"] = at
        kept["count"] += 1
        kept["failed"] += limit.bad(value)
        kept["doubtful"] += not limit.bad(value) and limit.doubtful(value)
    missing = int(max(0.0, look.now - kept["at"]) // limit.every)
    counted = Counted(kept["failed"], kept["doubtful"], kept["count"], missing)
    finding = judging.judge_counted(
        counted,
        failure_limit=limit.failure_limit,
        inconclusive_limit=limit.inconclusive_limit,
        count=limit.count,
        ending=look.ending,
    )
    words = f"{limit.metric}: {kept['failed']} of {kept['count']} bad, {missing} missing"
    return finding, words
