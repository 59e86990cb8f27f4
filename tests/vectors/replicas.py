"""The functions of counts: what a vector gives, as the shipped function takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autoscaler_plugins.rules import bands, hpa, hpa_behavior, keda, kpa, nomad

Given = dict[str, Any]
TOTAL_SHARE = 0.75
"""What a replica can carry is the target over this."""


def hpa_use(given: Given) -> Any:
    use = given["use"]
    count = given.get("pods", len(use))
    replicas = hpa.Replicas(use, given.get("unready", ()), given.get("failed", ()), count)
    tolerance = tolerance_of(given)
    try:
        if "average" in given:
            return hpa.by_plain_average(given["s"], given["average"], replicas, tolerance)
        asked = given.get("req", 1000)
        requests = asked if isinstance(asked, list) else [asked] * count
        got, first = hpa.by_utilization(given["s"], given["target"], replicas, requests, tolerance)
    except hpa.NoMetricsError:
        return "error"
    if first != given.get("u", first):
        raise ValueError(f"utilisation {first} instead of {given['u']}")
    return got


def tolerance_of(given: Given) -> hpa.Tolerance:
    both = given.get("tolerance", hpa.TOLERANCE)
    return hpa.Tolerance(both, both)


def hpa_value(given: Given) -> Any:
    return hpa.by_value(given["s"], given["ready"], given["target"], given["value"], tolerance_of(given))


def hpa_avg(given: Given) -> Any:
    return hpa.by_average_value(given["existing"], given["average"], given["total"], tolerance_of(given))


def hpa_window(given: Given) -> Any:
    up, down = given.get("up_window", hpa_behavior.UP.window_s), given.get("down_window", hpa_behavior.DOWN.window_s)
    return hpa_behavior.stabilized(given["s"], given["desired"], up, down, given.get("recs", ()))


def direction_of(given: Given, name: str, default: hpa_behavior.Direction) -> hpa_behavior.Direction:
    rules = tuple(hpa_behavior.Rule(*rule) for rule in given[name]) if name in given else default.rules
    return hpa_behavior.Direction(default.window_s, rules, given.get("select", default.select))


def hpa_rate(given: Given) -> Any:
    directions = direction_of(given, "up", hpa_behavior.UP), direction_of(given, "down", hpa_behavior.DOWN)
    history = hpa_behavior.History(given.get("added", ()), given.get("removed", ()))
    return hpa_behavior.limited(given["s"], given["desired"], (given["min"], given["max"]), directions, history)


def hpa_bounds(given: Given) -> Any:
    count = hpa.by_bounds(given["s"], given["min"], given["max"])
    return "disabled" if count is None else count


def hpa_plain(given: Given) -> Any:
    return hpa.plain(given["s"], given["desired"], (given["min"], given["max"]), given.get("recs", ()))


def kpa_steps(given: Given) -> Any:
    names = {"up": "max_up", "down": "max_down", "threshold": "threshold", "window": "window_s",
             "activation_scale": "activation", "delay": "delay_s", "reachable": "reachable"}  # fmt: skip
    rules = kpa.Rules(
        given["target"],
        **{"max_up": 10.0, "max_down": 10.0, **{own: given[name] for name, own in names.items() if name in given}},
    )
    total = given["target"] / TOTAL_SHARE
    state = kpa.State(*given["panic"]) if given.get("panic") else kpa.State()
    counts: list[int | None] = []
    panics: list[float | None] = []
    spares: list[int | None] = []
    for at, stable, panic, ready in given["steps"]:
        count, state = kpa.step(at, (stable, panic), ready, rules, state)
        counts.append(count)
        panics.append(state.since)
        known = ready is not None and panic is not None
        spares.append(kpa.spare_capacity(ready, total, given.get("burst", 211), panic) if known else None)
    for name, got in (("panic_since", panics), ("spare", spares)):
        if name in given and got != given[name]:
            raise ValueError(f"{name} {got} instead of {given[name]}")
    return counts


def keda_activity(given: Given) -> Any:
    return bool(given.get("fallback")) or keda.is_active(given["value"], given.get("activation", 0))


def keda_step(given: Given) -> Any:
    paused = given.get("paused", False)
    if paused is not False and paused is not None:
        return given["n"] if paused is True else paused
    switch = keda.Switch(
        given.get("min", 0), given.get("cooldown", keda.COOLDOWN_S), given.get("idle"), given.get("fallback")
    )
    active, error = given.get("active", False), given.get("error", False)
    return keda.switched(given["n"], switch, active=active, error=error, quiet_s=given.get("quiet"))


def keda_fallback(given: Given) -> Any:
    count = keda.fallback_count(given["replicas"], given.get("current", 0), given.get("behavior", "static"))
    try:
        return keda.fallback_metric(given["failures"], given["threshold"], count, given["target"], given.get("ready"))
    except keda.MetricFailedError:
        return "error"


def keda_kafka(given: Given) -> Any:
    rules = keda.LagRules(
        given.get("threshold", keda.LAG_THRESHOLD),
        given.get("allow_idle", False),
        given.get("even", False),
        given.get("with_lag"),
    )
    return keda.kafka_lag(given["lag"], given["partitions"], rules)


def nomad_target(given: Given) -> Any:
    for name, needed in (("count", True), ("target", True), ("threshold", False), ("max_scale_up", False),
                         ("max_scale_down", False)):  # fmt: skip
        value = given.get(name)
        if (value is None and needed) or not isinstance(value, int | float | None) or isinstance(value, bool):
            return f"error: {name}"
    rest = {
        name: given[name] for name in ("threshold", "max_scale_up", "max_scale_down") if given.get(name) is not None
    }
    changed = nomad.changed(given["count"], given.get("metrics") or (), nomad.Target(given["target"], **rest))
    return changed if changed is None else counted(*changed)


def counted(way: nomad.Way, count: int) -> list[Any]:
    return [way] if way == "none" else [way, count]


def nomad_direction(given: Given) -> Any:
    return [nomad.way(*row) for row in given["count_factor_e"]]


def threshold(given: Given) -> Any:
    inside = bands.points_within(given["points"], given.get("lower"), given.get("upper"))
    change = bands.Change(given.get("delta"), given.get("percent"), given.get("value"))
    return counted(*bands.by_points(given["count"], inside, given.get("trigger", bands.TRIGGER), change))


def breach(given: Given) -> Any:
    up, down = ([bands.Breach(*step) for step in given.get(name, ())] for name in ("up", "down"))
    return bands.by_breach(given["count"], given["value"] - given["alarm"], up, down, given.get("min_change", 1))


FUNCTIONS: dict[str, Callable[[Given], Any]] = {
    "hpa.use": hpa_use, "hpa.value": hpa_value, "hpa.avg": hpa_avg, "hpa.window": hpa_window, "hpa.rate": hpa_rate,
    "hpa.bounds": hpa_bounds, "hpa.plain": hpa_plain, "kpa": kpa_steps, "keda.activity": keda_activity,
    "keda.step": keda_step, "keda.avg": hpa_avg, "keda.value": hpa_value, "keda.fallback": keda_fallback,
    "keda.kafka": keda_kafka, "nomad": nomad_target, "nomad.direction": nomad_direction, "threshold": threshold,
    "breach": breach,
}  # fmt: skip
