"""Pictures of runs and comparisons. matplotlib comes with the extra `lab` and is imported here alone, where it is
needed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoscaler.core.quantities import format_duration
from autoscaler.errors import AutoscalerError
from autoscaler.lab.comparison import Comparison, Point
from autoscaler.lab.simulation import Run

COLUMNS_MAX = 1600
"""Points that a line of a picture has at most; of several seconds the worst for the policy is drawn."""
LEAST_LACK = 0.001
"""Percent: no lack at all is drawn there, as the scale is logarithmic."""
INK, GRID = "#24303c", "#dde3e8"
DEMAND, SUPPLY, STARTING, LACK, BOUND = "#9db4c8", "#1f6f43", "#7cc29a", "#d1372c", "#b07d18"
PALETTE = ("#1f6f43", "#2f63a8", "#b07d18", "#8a4a9e", "#c2502f", "#4a7f86", "#6b6b6b")


class PlottingUnavailable(AutoscalerError):
    """matplotlib is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "pictures need matplotlib, which is not installed. Install eventscaler[lab], or leave them out"
        )


def _figure(width: float, height: float, rows: int = 1, columns: int = 1, **more: Any) -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise PlottingUnavailable from error
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, **more)


def _dress(axes: Any) -> None:
    axes.grid(visible=True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=8)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(GRID)


def _plain_ticks(axes: Any) -> None:
    """Percent as people write them; what is drawn at the least lack is none."""
    from matplotlib.ticker import NullFormatter  # noqa: PLC0415 - an extra

    axes.yaxis.set_major_formatter(lambda value, _: "0" if value <= LEAST_LACK else f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _png(figure: Any) -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format="png", metadata={"Software": None})
    return target.getvalue()


def _thinned(values: NDArray[Any], width: int, how: Any) -> NDArray[Any]:
    """One value for each ``width`` seconds."""
    whole = len(values) // width * width
    thinned: NDArray[Any] = how(values[:whole].reshape(-1, width), axis=1)
    return thinned


def _unit(seconds: float) -> tuple[float, str]:
    if seconds > 3 * 86_400:
        return 86_400.0, "days"
    return (3600.0, "hours") if seconds > 7200 else (60.0, "minutes")  # noqa: PLR2004 - two hours


def run_png(run: Run, start_s: float = 0.0, end_s: float | None = None) -> bytes:
    """Supply over demand, what was lacking, the bound that the policy reckoned with, and each decision."""
    begin = int(start_s)
    end = min(len(run.ready), int(end_s) if end_s is not None else len(run.ready))
    width = max(1, (end - begin) // COLUMNS_MAX)
    unit, name = _unit(end - begin)
    name = f"{name} after {format_duration(begin)}" if begin else name
    demand = _thinned(run.load.demand[begin:end], width, np.max)
    ready = _thinned(run.ready[begin:end], width, np.min)
    paid = _thinned(run.paid[begin:end], width, np.max)
    at = np.arange(len(demand)) * width / unit
    figure, (upper, lower) = _figure(11.5, 4.6, 2, sharex=True, gridspec_kw={"height_ratios": [6, 1], "hspace": 0.05})
    upper.fill_between(at, demand, step="post", color=DEMAND, alpha=0.55, linewidth=0, label="needed")
    upper.fill_between(at, ready, paid, step="post", color=STARTING, alpha=0.5, linewidth=0, label="starting")
    upper.step(at, ready, where="post", color=SUPPLY, linewidth=1.4, label="ready")
    upper.fill_between(
        at, ready, demand, where=demand > ready, step="post", color=LACK, alpha=0.85, linewidth=0, label="lacking"
    )
    bounds = [(t, bound) for t, bound in run.bounds if begin <= t < end]
    if bounds:
        step = max(1, len(bounds) // COLUMNS_MAX)
        times = np.array([t - begin for t, _ in bounds[::step]]) / unit
        levels = np.array([bound for _, bound in bounds[::step]]) / run.load.capacity
        upper.plot(times, levels, color=BOUND, linewidth=0.8, linestyle=(0, (4, 2)), label="bound of the forecast")
    upper.set_ylabel("replicas", color=INK, fontsize=9)
    upper.set_ylim(bottom=0, top=1.12 * max(float(paid.max(initial=1)), float(demand.max(initial=1)), 1.0))
    upper.set_xlim(0, (end - begin) / unit)
    if (begin, end) == (0, len(run.ready)):
        figures = run.figures()
        upper.set_title(
            f"{run.policy} on {run.load.name}: lack {figures['theta_u']:.2f} %, excess {figures['theta_o']:.0f} %,"
            f" {figures['cost']:.2f} times the oracle's cost",
            loc="left", color=INK, fontsize=10,
        )  # fmt: skip
    upper.legend(loc="upper right", ncols=5, fontsize=8, frameon=False)
    decided = [d for d in run.decisions if begin <= d.at < end]
    for up, colour in ((True, SUPPLY), (False, DEMAND)):
        chosen = [d for d in decided if (d.after > d.before) is up]
        lower.vlines(
            [(d.at - begin) / unit for d in chosen],
            0,
            [d.after - d.before for d in chosen],
            color=colour,
            linewidth=1.0,
        )
    lower.axhline(0, color=GRID, linewidth=0.8)
    lower.set_ylabel("decided", color=INK, fontsize=8)
    lower.set_xlabel(name, color=INK, fontsize=9)
    for axes in (upper, lower):
        axes.yaxis.get_major_locator().set_params(integer=True)
        _dress(axes)
    return _png(figure)


def worst_window(run: Run, seconds: int = 3600) -> tuple[float, float]:
    """The hour in which most was lacking; without any lack, the one in which demand moved most."""
    count = len(run.ready)
    if count <= seconds:
        return 0.0, float(count)
    lacking = np.maximum(run.load.demand - run.ready, 0).astype(float)
    if not lacking.any():
        lacking = np.abs(np.diff(run.load.per_second, prepend=run.load.per_second[0]))
    sums = np.cumsum(lacking)
    within = sums[seconds:] - sums[:-seconds]
    worst = np.flatnonzero(within >= within.max())
    begin = int(worst[len(worst) // 2])  # of windows that hold the same, the one that has it in the middle
    return float(begin), float(begin + seconds)


def sweep_png(found: Comparison) -> bytes:
    """Lack over cost, a curve a policy and a picture a trace: lower and further left is better."""
    traces = list(found.curves)
    columns = min(3, len(traces))
    rows = -(-len(traces) // columns)
    figure, grid = _figure(11.5, 0.8 + 2.9 * rows, rows, columns, squeeze=False)
    colours = dict(zip(found.policies, PALETTE * 3, strict=False))
    for axes, trace in zip(grid.flat, traces, strict=False):
        for policy, curve in found.curves[trace].items():
            points = sorted(curve, key=lambda point: point.cost)
            axes.plot(
                [p.cost for p in points], [max(p.theta_u, LEAST_LACK) for p in points], marker="o", markersize=3,
                linewidth=1.2, color=colours[policy], label=policy,
            )  # fmt: skip
            _mark(axes, curve, found.setting.target, colours[policy])
        axes.set_yscale("log")
        axes.set_ylim(bottom=LEAST_LACK * 0.8)
        _plain_ticks(axes)
        axes.set_title(trace, loc="left", fontsize=9, color=INK)
        _dress(axes)
    for axes in list(grid.flat)[len(traces) :]:
        axes.set_visible(False)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=9, frameon=False)
    figure.supxlabel("cost over the oracle's", fontsize=9, color=INK)
    figure.supylabel("lack, %", fontsize=9, color=INK)
    return _png(figure)


def _mark(axes: Any, curve: Sequence[Point], target: float, colour: str) -> None:
    for point in curve:
        if point.target == target:
            axes.plot([point.cost], [max(point.theta_u, LEAST_LACK)], marker="o", markersize=7, color=colour, alpha=0.6)


def means_png(found: Comparison) -> bytes:
    """Lack and excess of each policy, a group of bars a trace."""
    traces = list(found.figures)
    figure, axes_of = _figure(11.5, 5.4, 2, sharex=True)
    places = np.arange(len(traces))
    width = 0.8 / len(found.policies)
    for axes, name, label in zip(axes_of, ("theta_u", "theta_o"), ("lack, %", "excess, %"), strict=True):
        for index, policy in enumerate(found.policies):
            heights = [found.figures[trace][policy][name] for trace in traces]
            axes.bar(
                places + (index + 0.5) * width - 0.4, heights, width * 0.92, color=PALETTE[index % 7], label=policy
            )
        axes.set_ylabel(label, fontsize=9, color=INK)
        axes.set_yscale("symlog", linthresh=0.1 if name == "theta_u" else 100)
        axes.set_ylim(bottom=0, top=max(1.0, 1.6 * axes.get_ylim()[1]))
        _plain_ticks(axes)
        _dress(axes)
    axes_of[0].legend(loc="upper right", ncols=len(found.policies), fontsize=8, frameon=False)
    axes_of[1].set_xticks(places, [trace.replace("_", "\n", 1) for trace in traces], fontsize=8)
    return _png(figure)
