"""`step`: bands of a metric, each with a change of demand: the thresholds that people know from alarms.

Three forms, one for each use:

- ``bands``: a band holds values from ``above`` (included) up to ``below`` (excluded), so that two can meet without a
  gap. With ``for:`` every sample of so long has to lie in it; a gap longer than the metric's max_age, or a change of
  demand, starts the count anew, so that one alarm makes one step. What is on its way counts: a step up starts from
  the replicas that are ready.
- ``points``: so many samples of a window lie in one band, adjacent or not (Nomad's threshold). A sample counts if an
  evaluation saw it.
- ``alarm``: steps by how far a threshold is exceeded, with a cooldown a direction (step scaling of clouds).
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

import autoscaler
from autoscaler_plugins.rules import bands as bands_of
from autoscaler_plugins.rules import remembered
from autoscaler_plugins.rules.fields import Count, Duration, Finite, Name, Strict, bounded

DUST = 1e-9
"""Of a replica: 3.0000000001 replicas are 3."""
REACH_S = 300.0
"""How far back a signal surely remembers its samples; a longer run could never be seen."""
POINTS_MAX = 600


class Band(Strict):
    """Values from ``above`` to ``below`` (one may be open), and one change: ``add`` replicas, ``percent`` of them, or
    ``to``."""

    above: Finite | None = None
    below: Finite | None = None
    add: int | None = None
    percent: Finite | None = None
    to: Annotated[int, Field(ge=0)] | None = None
    for_s: Annotated[Duration, Field(alias="for", ge=0, le=REACH_S)] = 0.0

    @property
    def lower(self) -> float:
        """The lower end, included."""
        return -math.inf if self.above is None else self.above

    @property
    def upper(self) -> float:
        """The upper end, excluded."""
        return math.inf if self.below is None else self.below

    @model_validator(mode="after")
    def _is_one_change(self) -> Self:
        if sum(value is not None for value in (self.add, self.percent, self.to)) != 1:
            raise ValueError("a band needs exactly one of add, percent and to")
        if self.above is None and self.below is None:
            raise ValueError("a band needs above, below or both")
        if self.lower >= self.upper:
            raise ValueError("above must be lower than below")
        return self

    def wish(self, demand: int) -> int:
        """The demand after the change; never below zero."""
        if self.to is not None:
            return self.to
        if self.add is not None:
            return max(0, demand + self.add)
        return max(0, math.ceil(demand * (1 + (self.percent or 0.0) / 100) - DUST))


class Points(Strict):
    """``trigger`` samples of the ``window`` from ``above`` up to ``below`` (one may be open), and one change.
    ``grouped``: without them there is no opinion, and so nothing that holds back what others wish."""

    above: Finite | None = None
    below: Finite | None = None
    window: Annotated[Duration, Field(gt=0, le=3600)] = 60.0
    trigger: Annotated[int, Field(ge=1, le=POINTS_MAX)] = bands_of.TRIGGER
    add: int | None = None
    percent: Finite | None = None
    to: Count | None = None
    grouped: bool = False

    @property
    def change(self) -> bands_of.Change:
        """What is done to the demand."""
        return bands_of.Change(self.add, self.percent, self.to)

    @model_validator(mode="after")
    def _is_one_change(self) -> Self:
        if sum(value is not None for value in (self.add, self.percent, self.to)) != 1:
            raise ValueError("points need exactly one of add, percent and to")
        if self.above is None and self.below is None:
            raise ValueError("points need above, below or both")
        if self.above is not None and self.below is not None and self.above >= self.below:
            raise ValueError("above must be lower than below")
        return self


class AlarmStep(Strict):
    """From ``lower`` to ``upper`` away from the alarm's threshold (one may be open): ``percent`` of the demand."""

    lower: Finite | None = None
    upper: Finite | None = None
    percent: Finite

    @property
    def breach(self) -> bands_of.Breach:
        """The step, ready to be asked."""
        return bands_of.Breach(self.lower, self.upper, self.percent)


class Alarm(Strict):
    """Steps ``up`` and ``down`` by the distance of the metric from ``threshold``; at least ``min_change`` replicas.

    In the cooldown of a step up only what a larger step adds is added, and nothing goes down; a step up ends the
    cooldown of one down.
    """

    threshold: Finite
    up: Annotated[list[AlarmStep], Field(max_length=20, default_factory=list)]
    down: Annotated[list[AlarmStep], Field(max_length=20, default_factory=list)]
    min_change: Annotated[int, Field(ge=1)] = 1
    cooldown_up: Annotated[Duration, Field(ge=0)] = 300.0
    cooldown_down: Annotated[Duration, Field(ge=0)] = 300.0

    @model_validator(mode="after")
    def _have_no_gaps(self) -> Self:
        if not self.up and not self.down:
            raise ValueError("an alarm needs steps up, down or both")
        for steps in (self.up, self.down):
            ordered = sorted(steps, key=lambda step: -math.inf if step.lower is None else step.lower)
            for one, next_ in itertools.pairwise(ordered):
                if one.upper is None or one.upper != next_.lower:
                    raise ValueError("steps must meet without gap or overlap")
        return self


class Options(Strict):
    """``bands`` of ``metric``, without overlap; or ``points``, or an ``alarm``. What asks for nothing wishes today's
    demand."""

    metric: Name
    bands: Annotated[list[Band], Field(min_length=1, max_length=32)] | None = None
    points: Points | None = None
    alarm: Alarm | None = None

    @model_validator(mode="after")
    def _are_apart(self) -> Self:
        if sum(form is not None for form in (self.bands, self.points, self.alarm)) != 1:
            raise ValueError("step needs exactly one of bands, points and alarm")
        ordered = sorted(self.bands or (), key=lambda band: band.lower)
        for one, next_ in itertools.pairwise(ordered):
            if one.upper > next_.lower:
                raise ValueError(f"two bands overlap from {next_.lower:g} to {min(one.upper, next_.upper):g}")
        return self


@autoscaler.hookimpl
def propose(
    service: autoscaler.ServiceFacts,
    signals: autoscaler.SignalsView,
    now: float,
    options: Options,
    memory: dict[str, Any],
) -> autoscaler.Scale | autoscaler.Hold | None:
    """The change that the newest samples ask for; else today's demand."""
    signal = signals[options.metric]
    if options.points is not None:
        return by_points(service, signal, now, options.points, memory)
    if options.alarm is not None:
        return by_alarm(service, signal, now, options.alarm, memory)
    return by_bands(service, signal, now, options.bands or [], memory)


def by_bands(
    service: autoscaler.ServiceFacts,
    signal: autoscaler.Signal,
    now: float,
    bands: list[Band],
    memory: dict[str, Any],
) -> autoscaler.Scale | None:
    """The change of the band that the newest value is in, once it lasted."""
    demand = service.demand
    if memory.get("demand") != demand:
        # the first sight of a service is no change of its demand
        memory["since"] = now if "demand" in memory else None
        memory["demand"] = demand
    value = signal.latest
    if value is None:
        return None
    band = next((band for band in bands if band.lower <= value < band.upper), None)
    text = f"{value:.6g} {signal.name}"
    if band is None:
        return autoscaler.Scale(demand, f"{text} is in no band")
    since = memory.get("since")
    run = signal.run(band.lower, band.upper, -math.inf if since is None else since)
    if run is None:
        return autoscaler.Scale(demand, f"{text}: no sample yet since demand became {demand}")
    lasted_s = now - run[0]
    if lasted_s < band.for_s:
        return autoscaler.Scale(
            demand,
            f"{text} in its band for {lasted_s:.0f} s of {autoscaler.format_duration(band.for_s)}",
            run[0] + band.for_s,
        )
    wish = band.wish(demand)
    if wish > demand and service.starting:
        # What is on its way is not in the metric yet: the step is taken from those that are, not a second time.
        wish = max(demand, band.wish(min(demand, service.ready)))
    return autoscaler.Scale(
        wish, f"{text} in its band for {autoscaler.format_duration(lasted_s)}: {demand} becomes {wish}"
    )


def by_points(
    service: autoscaler.ServiceFacts,
    signal: autoscaler.Signal,
    now: float,
    points: Points,
    memory: dict[str, Any],
) -> autoscaler.Scale | None:
    """The change once enough samples are in the band; a change of demand starts the count anew."""
    demand = service.demand
    kept: list[list[float]] = memory.setdefault("points", [])
    if memory.get("demand", demand) != demand:
        kept.clear()
        memory["changed_at"] = now
    memory["demand"] = demand
    value, at = signal.latest, signal.at
    if value is None or at is None:
        return None
    if at > max(memory.get("changed_at", -math.inf), kept[-1][0] if kept else -math.inf):
        kept.append([at, value])
    kept[:] = [point for point in kept if now - point[0] <= points.window][-POINTS_MAX:]
    inside = bands_of.points_within([of for _, of in kept], points.above, points.below)
    way, wish = bands_of.by_points(demand, inside, points.trigger, points.change)
    if way == "none" and points.grouped:
        return None
    said = f"{inside} of {len(kept)} samples of {signal.name} in the band, {points.trigger} needed"
    return autoscaler.Scale(bounded(wish), said if way == "none" else f"{said}: {demand} becomes {wish}")


def by_alarm(
    service: autoscaler.ServiceFacts, signal: autoscaler.Signal, now: float, alarm: Alarm, memory: dict[str, Any]
) -> autoscaler.Scale | autoscaler.Hold | None:
    """The step of the breach, as far as a cooldown lets it."""
    demand = service.demand
    before = memory.get("demand", demand)
    up_at, down_at = remembered.changed_at(memory, now, demand)
    if demand > before:
        memory["from"] = before
    value = signal.latest
    if value is None:
        return None
    up, down = ([step.breach for step in steps] for steps in (alarm.up, alarm.down))
    breach = value - alarm.threshold
    cooling = up_at is not None and now < up_at + alarm.cooldown_up
    base = memory["from"] if cooling and "from" in memory else demand
    said = f"{value:.6g} {signal.name}, {breach:+.6g} from {alarm.threshold:g}"
    if (percent := bands_of.adjustment(breach, up, rising=True)) is not None:
        wish = max(demand, base + bands_of.by_percent(base, percent, alarm.min_change))
        remembered.note_wish(memory, now, demand, wish)
        return autoscaler.Scale(bounded(wish), f"{said}: {demand} becomes {wish}")
    wish = bands_of.by_breach(demand, breach, (), down, alarm.min_change)
    if wish == demand:
        return autoscaler.Scale(demand, f"{said}: no step")
    until = up_at + alarm.cooldown_up if cooling and up_at is not None else 0.0
    until = max(until, down_at + alarm.cooldown_down) if down_at is not None else until
    if until > now:
        return autoscaler.Hold(f"{said}: cooldown for {autoscaler.format_duration(until - now)} more", until)
    remembered.note_wish(memory, now, demand, wish)
    return autoscaler.Scale(bounded(wish), f"{said}: {demand} becomes {wish}")
