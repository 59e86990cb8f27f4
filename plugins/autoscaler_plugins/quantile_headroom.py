"""`quantile_headroom`: forecast with tiny models, know how wrong they have been, and keep that much headroom.

Never below what is seen now, never above what a plain target would buy. An operator says what a replica carries and how
many idle replicas one that lacks is worth. Where forecasts have been off, or nothing is known yet, the plain target
rules, and the reason says so; an unknown load is no opinion.

``memory`` holds a checkpoint of the forecaster and the periods since; the forecaster itself is kept beside it, under a
hash of all that it was ever told, and is rebuilt from the memory wherever the two do not match.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field

import autoscaler
from autoscaler_plugins.rules import headroom, hpa, idleness
from autoscaler_plugins.rules.fields import (
    REPLICAS_MAX,
    Duration,
    Finite,
    Name,
    NotNegative,
    Positive,
    Ratio,
    Strict,
    bounded,
)
from autoscaler_plugins.rules.forecaster import Forecast, Forecaster

LOG_MAX = 16
"""Periods after which a new checkpoint is made."""
LIVE_MAX = 20_000
STARTS_MIN = 3
STARTS_MAX = 20
STARTUP_MAX_S = 900.0
STARTUP_Q = 0.95
JUDGED_MIN = 100
"""Forecasts of the last hour before their coverage is judged."""
SILENT_S = 60.0
NOTED_MAX = 8
"""Needs and caps are kept one by one as far as that, and then as finely as so many in their time."""
_live: dict[int, Forecaster] = {}

Share = Annotated[Ratio, Field(ge=0, lt=1)]


class Options(Strict):
    """``per_replica``: load of the ``metric`` that one replica carries at all. ``lack_cost``: how many idle replicas
    one that lacks is worth. ``guard``: what a plain target would aim at, beyond which nothing is bought. ``idle``:
    known zeros before the last replica stops; with ``idle_max`` only until pauses are learnt: then as long as 99 of 100
    of them lasted, at most that. ``startup``: of a replica, until it is learnt. ``lag``, ``window``: how
    late the metric comes, and over what it is a mean. ``slack``, ``margin_up``, ``margin_down``: kept over a bound,
    over a need to grow to, and over one to shrink to, there at most ``margin_down_max`` replicas or a 25th of the need.
    ``tolerance``: what a plain target may be off where it rules, as that of `hpa_v2`. ``hold``, ``guard_hold``: how
    long a need, and a cap, is kept beside the service's own ``down_window``."""

    metric: Name
    per_replica: Positive
    lack_cost: Annotated[Finite, Field(ge=1, le=10_000)] = 49.0
    guard: Annotated[Ratio, Field(gt=0, le=1)] = 0.7
    idle: Annotated[Duration, Field(ge=0)] = 900.0
    idle_max: Annotated[Duration, Field(ge=0, le=86_400)] | None = None
    period: Annotated[Duration, Field(ge=1, le=60)] = 15.0
    startup: Annotated[Duration, Field(ge=0, le=STARTUP_MAX_S)] = 30.0
    lag: Annotated[Duration, Field(ge=0, le=300)] = 5.0
    window: Annotated[Duration, Field(ge=0, le=300)] = 15.0
    slack: Share = 0.03
    margin_up: Share = 0.03
    margin_down: Share = 0.10
    margin_down_max: NotNegative = 1.0
    tolerance: Share = 0.1
    hold: Annotated[Duration, Field(ge=0, le=7200)] = 600.0
    guard_hold: Annotated[Duration, Field(ge=0, le=7200)] = 0.0

    @property
    def q(self) -> float:
        """How often a bound has to hold."""
        return self.lack_cost / (self.lack_cost + 1)

    @cached_property
    def derived(self) -> tuple[headroom.Margins, float]:
        """The margins as the arithmetic takes them, and `q`; worked out once."""
        margins = headroom.Margins(
            self.guard, self.slack, self.margin_up, self.margin_down, self.margin_down_max, self.tolerance
        )
        return margins, self.q


@autoscaler.hookimpl
def propose(
    service: autoscaler.ServiceFacts,
    signals: autoscaler.SignalsView,
    now: float,
    options: Options,
    memory: dict[str, Any],
) -> autoscaler.Scale | autoscaler.Hold | None:
    """As many replicas as the bound of the best forecast needs, within what a plain target would buy."""
    signal = signals[options.metric]
    load = signal.latest
    note_starts(service, now, memory)
    if load is None:
        memory.pop("zero", None)
        return None
    if load < 0:
        return autoscaler.Hold(f"{load:.6g} {options.metric} is no load")
    most = REPLICAS_MAX * options.per_replica
    load = min(load, most)
    slot = math.floor(now / options.period)
    if "slot" in memory and (slot - memory["slot"]) * options.period > SILENT_S + options.period:
        memory.pop("zero", None)  # silence is no known zero
    if memory.get("slot") == slot:
        forecast = Forecast(*memory["now"])
    else:
        mean = signal.mean(options.period)
        forecast = advanced(service, slot, load if mean is None else min(mean, most), options, memory)
        memory["now"], memory["slot"], memory["bound"] = list(forecast), slot, forecast.bound
    wake_at = (slot + 1) * options.period if load else None
    kept = ""
    if load:
        idleness.note_load(memory, now, options.idle_max)
    elif service.minimum == 0:
        idle_s = now - memory.setdefault("zero", now)
        idle = idleness.idle_time(memory, options.idle, options.idle_max)
        learnt = f", as 99 % of {idle.pauses} pauses lasted" if idle.pauses else ""
        if service.demand == 0 or idle_s >= idle.seconds:
            memory["needed"], memory["capped"] = [], []
            waited = f", {autoscaler.format_duration(idle.seconds)} asked for{learnt}" if learnt else ""
            return autoscaler.Scale(0, f"{options.metric} is 0 for {autoscaler.format_duration(idle_s)}{waited}")
        kept = f"; 0 after {autoscaler.format_duration(idle.seconds)} of zeros{learnt}"
        wake_at = memory["zero"] + idle.seconds
    wish, reason = sized(service.demand, load, forecast, options, memory)
    reason += kept + started(memory.get("took", ()), options)
    within = min(max(wish, service.minimum), service.maximum)
    return autoscaler.Scale(bounded(within), reason, wake_at)


def sized(demand: int, load: float, forecast: Forecast, options: Options, memory: dict[str, Any]) -> tuple[int, str]:
    """The wish of the bound, or of the plain target where forecasts have been off; and why."""
    capacity, slot = options.per_replica, memory["slot"]
    margins, q = options.derived
    need, cap = headroom.need_and_cap(capacity, headroom.Loads(load, forecast.trend, forecast.bound), margins)
    said = f"{load:.6g} {options.metric}, {forecast.model} {forecast.expected:.6g} within {forecast.bound:.6g}"
    if forecast.surprised:
        need = cap
        said += ", a surprise"
    if is_off(forecast, q):
        need = cap = float(hpa.by_average_value(demand, options.guard * capacity, load))
        margins = headroom.Margins(options.guard, 0.0, 0.0, 0.0)
        said = f"{load:.6g} {options.metric} over {options.guard * capacity:g} a replica, as bounds have been off"
    highest = (
        noted(memory, "needed", slot, need, options.hold / options.period),
        noted(memory, "capped", slot, cap, options.guard_hold / options.period),
    )
    wish = headroom.size(demand, need, cap, highest, margins)
    rule = "keep" if need <= demand and wish > headroom.whole(need) else "need"
    return wish, (
        f"{said} ({forecast.coverage:.1%} of {forecast.settled}); need {need:.2f}, cap {cap:.2f}, highest"
        f" {highest[0]:.2f}/{highest[1]:.2f}: {rule} {wish}"
    )


def is_off(forecast: Forecast, q: float) -> bool:
    """Whether bounds failed far more often than they promised."""
    return forecast.settled >= JUDGED_MIN and 1 - forecast.coverage > 3 * (1 - q) + 0.05


def noted(memory: dict[str, Any], name: str, slot: int, value: float, keep_slots: float) -> float:
    """The highest of the values that are kept for so many periods, the newest included.

    Kept are slots and values in turn, the oldest and highest first.
    """
    entries: list[Any] = memory.setdefault(name, [])
    while entries and slot - entries[0] > keep_slots:
        del entries[:2]
    value = round(value, 4)
    while entries and entries[-1] <= value:
        del entries[-2:]
    if len(entries) >= 2 * NOTED_MAX and slot - entries[-2] <= keep_slots / NOTED_MAX:
        entries[-2] = slot  # what is a little higher is kept a little longer: the safe side
    elif not entries or entries[-2] != slot:
        entries += (slot, value)
    highest: float = entries[1]
    return highest


def note_starts(service: autoscaler.ServiceFacts, now: float, memory: dict[str, Any]) -> None:
    """Keep how long replicas took from being wanted, at the look before that at which they are, to being seen ready."""
    wanted_at = max(memory.get("looked", now), now - SILENT_S)
    memory["looked"] = now
    demand, ready = memory.get("demand"), memory.get("ready", service.ready)
    if demand == service.demand and ready == service.ready:
        return
    starts: list[list[Any]] = memory.pop("starts", [])
    more = service.demand - (service.demand if demand is None else demand)
    if more > 0:
        starts.append([wanted_at, more])
    else:
        take(starts, -more, newest=True)
    took = memory.pop("took", [])
    took += [min(now - at, STARTUP_MAX_S) for at in take(starts, service.ready - ready)]
    if took:
        memory["took"] = took[-STARTS_MAX:]
    if starts and service.ready < service.demand:
        memory["starts"] = starts
    memory["demand"], memory["ready"] = service.demand, service.ready


def take(starts: list[list[Any]], count: int, *, newest: bool = False) -> list[float]:
    """Take so many starts away; the times of those taken, one for each group."""
    times = []
    while count > 0 and starts:
        group = starts[-1 if newest else 0]
        part = min(count, group[1])
        count -= part
        group[1] -= part
        times.append(group[0])
        if not group[1]:
            starts.remove(group)
    return times


def started(took: Sequence[float], options: Options) -> str:
    """What a reason says of the start-up time where it was learnt."""
    if len(took) < STARTS_MIN:
        return ""
    return f"; start-up {startup_of(options, took):.0f} s, of {len(took)} starts"


def startup_of(options: Options, took: Sequence[float]) -> float:
    """The start-up time that 95 of 100 replicas kept; as configured until a few are known."""
    if len(took) < STARTS_MIN:
        return options.startup
    return sorted(took)[headroom.rank(STARTUP_Q, len(took)) - 1]


def advanced(
    service: autoscaler.ServiceFacts, slot: int, load: float, options: Options, memory: dict[str, Any]
) -> Forecast:
    """The forecast after one more period, which the memory's log then holds.

    The log is a text, ``slot load steps`` for each period: one value of a memory that is copied at each evaluation.
    """
    startup_s = startup_of(options, memory.get("took", ()))
    steps = headroom.horizon(options.lag, options.window, startup_s, options.period)
    told = (options.per_replica, options.period, options.derived[1])
    key = memory.get("key")
    if key is None:
        key = hash((zlib.crc32(service.name.encode()), *told))
    forecaster = _live.pop(key, None)
    if forecaster is None or (forecaster.capacity, forecaster.period_s, forecaster.q) != told:
        forecaster = rebuilt(memory, told)
    forecast = forecaster.step(slot, load, steps)
    log = f"{memory.get('log', '')}{slot} {load!r} {steps}\n"
    if log.count("\n") >= LOG_MAX:
        memory["kept"], log = forecaster.saved(), ""
    memory["log"] = log
    memory["key"] = key = hash((key, slot, load, steps))
    if len(_live) >= LIVE_MAX:
        del _live[next(iter(_live))]
    _live[key] = forecaster
    return forecast


def rebuilt(memory: dict[str, Any], told: tuple[float, float, float]) -> Forecaster:
    """The forecaster of the checkpoint, told again what came since."""
    saved = memory.get("kept")
    forecaster = Forecaster.restored(saved, *told) if saved else Forecaster(*told)
    if "told" in memory:  # of a version that kept a list of numbers
        numbers = iter(memory.pop("told"))
        periods = zip(numbers, numbers, numbers, strict=True)
        memory["log"] = "".join(f"{slot} {load!r} {steps}\n" for slot, load, steps in periods)
    for period in memory.get("log", "").splitlines():
        slot, load, steps = period.split()
        forecaster.step(int(slot), float(load), int(steps))
    return forecaster
