"""The functions of forecasts, and of how well supply followed demand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autoscaler.lab import metrics
from autoscaler_plugins.rules import headroom

Given = dict[str, Any]


def horizon(given: Given) -> Any:
    return headroom.horizon(given["lag"], given["window"], given["startup"], given["period"])


def rank(given: Given) -> Any:
    counts = given["n"]
    if isinstance(counts, int):
        return headroom.rank(given["q"], counts)
    return [headroom.rank(given["q"], count) for count in counts]


def trend(given: Given) -> Any:
    return headroom.trend(given["x"], given["k"])


def pinball(given: Given) -> Any:
    return [headroom.pinball(given["q"], seen, bound) for seen, bound in given["y_bound"]]


def bound(given: Given) -> Any:
    ordered = {int(level): sorted(errors) for level, errors in given["errors"].items()}
    return headroom.bound(given["f"], given["C"], ordered, given.get("q", headroom.Q))


def size(given: Given) -> Any:
    loads = headroom.Loads(given["x"], given["trend"], given["b"])
    need, cap = headroom.need_and_cap(given["C"], loads)
    highest = max([need, *given.get("needs", ())]), max([cap, *given.get("caps", ())])
    return headroom.size(given["have"], need, cap, highest)


def elastic(given: Given) -> Any:
    return metrics.elasticity(given["d"], given["s"])


def flaps(given: Given) -> Any:
    return metrics.flaps([metrics.Change(*change) for change in given["changes"]])


def queue(given: Given) -> Any:
    return metrics.queue(given["load"], given["s"], given["C"], given.get("slo", 1))._asdict()


FUNCTIONS: dict[str, Callable[[Given], Any]] = {
    "qh.horizon": horizon, "qh.rank": rank, "qh.trend": trend, "qh.pinball": pinball, "qh.bound": bound,
    "qh.size": size, "elastic": elastic, "flaps": flaps, "queue": queue,
}  # fmt: skip
