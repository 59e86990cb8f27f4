"""`autoscaler simulate`, `compare` and `tune`: the laboratory on the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoscaler.cli.context import ending, print_json, say, write_output, wrong_usage
from autoscaler.cli.lab_setting import USUAL, Asked, with_setting
from autoscaler.cli.options import Json
from autoscaler.cli.outputs import try_outputs
from autoscaler.cli.phrases import seconds_of
from autoscaler.cli.tables import print_rows

if TYPE_CHECKING:
    from autoscaler.lab.comparison import Comparison, Told
    from autoscaler.lab.setting import Setting
    from autoscaler.lab.simulation import Run
    from autoscaler.lab.traces import Load, Trace

TraceFile = Annotated[
    Path | None,
    typer.Option("--trace", metavar="CSV", help="Lines of t_seconds,value in equal steps; or a generated load's name."),
]
TraceFiles = Annotated[
    list[Path] | None,
    typer.Option("--trace", metavar="CSV", help="One trace, as for simulate; may be given again.", show_default=False),
]
Traces = Annotated[
    Path | None, typer.Option("--traces", metavar="DIR", help="A directory of traces (default: generated ones).")
]
Policies = Annotated[str, typer.Option("--policies", metavar="A,B", help="Names, or paths of files.")]
Policy = Annotated[str, typer.Option("--policy", metavar="NAME", help="A name, or the path of a file.")]
With = Annotated[
    list[str] | None, typer.Option("--with", metavar="KEY=VALUE", help="An option of the policy.", show_default=False)
]
Noise = Annotated[
    int | None, typer.Option("--seed", help="Let requests come one by one (Poisson), by this seed.", show_default=False)
]
USUAL_SPACE = "target=0.5,0.6,0.7,0.8,0.9"
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a report.", show_default=False)]
Png = Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Write a picture.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("simulate", no_args_is_help=True)(with_setting(_simulate))
    app.command("compare")(with_setting(_compare))
    app.command("tune", no_args_is_help=True)(with_setting(_tune))


def _simulate(
    trace: TraceFile = None,
    policy: Policy = "quantile_headroom",
    with_: With = None,
    asked: Asked = USUAL,
    seed: Noise = None,
    html: Html = None,
    png: Png = None,
    as_json: Json = False,
) -> None:
    """Run a policy on a trace and say how well supply followed demand."""
    with ending(as_json=as_json):
        from autoscaler.lab.simulation import run_policy

        setting = asked.setting()
        try_outputs(html, png)
        (load,) = _loads([_trace(trace)], setting, asked.only, seed)
        with _progress() as told:
            run = run_policy(policy, load, setting, _options(with_), progress=lambda share: told(policy, share))
        figures = run.figures()
        if as_json:
            decisions = [
                {"at": d.at, "before": d.before, "after": d.after, "reason": d.reason, "clamps": list(d.clamps)}
                for d in run.decisions
            ]
            print_json({"trace": load.name, "policy": run.policy, "figures": figures, "decisions": decisions})
        else:
            from autoscaler.lab.page import FIGURES

            said = [[name, f"{value:.4g}", *FIGURES[name]] for name, value in figures.items()]
            print_rows(["figure", "value", "unit", "what it is"], said)
        _say_unknown([run])
        if html is not None:
            from autoscaler.lab.page import run_page

            write_output(html, run_page(run))
        if png is not None:
            from autoscaler.lab.plots import run_png

            write_output(png, run_png(run))


def _compare(
    trace: TraceFiles = None,
    traces: Traces = None,
    policies: Policies = "quantile_headroom,hpa_v2,keda,kpa,nomad_target_value",
    asked: Asked = USUAL,
    sweep: Annotated[bool, typer.Option("--sweep", help="Also at equal cost: targets from 0.4 to 1.")] = False,
    seed: Noise = None,
    html: Html = None,
    png: Png = None,
    as_json: Json = False,
) -> None:
    """Run several policies on several traces: one table, and a report."""
    with ending(as_json=as_json):
        from autoscaler.lab.comparison import SWEPT, compare
        from autoscaler.lab.traces import generated, traces_in

        setting = asked.setting()
        try_outputs(html, png)
        chosen = [_trace(file) for file in trace or ()] + (traces_in(traces) if traces is not None else [])
        loads = _loads(chosen or generated(), setting, asked.only, seed)
        with _progress() as told:
            found = compare(loads, policies.split(","), setting, sweep=SWEPT if sweep else (), told=told)
        if as_json:
            print_json(_comparison_document(found))
        else:
            _print_comparison(found)
        _say_unknown(run for of in found.runs.values() for run in of.values())
        if html is not None:
            from autoscaler.lab.page import comparison_page

            write_output(html, comparison_page(found))
        if png is not None:
            from autoscaler.lab.plots import means_png, sweep_png

            write_output(png, sweep_png(found) if found.curves else means_png(found))


def _tune(
    trace: TraceFile = None,
    policy: Policy = "quantile_headroom",
    vary: Annotated[
        list[str] | None, typer.Option("--vary", metavar="KEY=A,B,C", help="Values to try (default: target).")
    ] = None,
    with_: With = None,
    lack_cost: Annotated[float, typer.Option(min=1, help="Idle replicas that one which lacks is worth.")] = 49.0,
    folds: Annotated[int, typer.Option(min=2, max=20, help="Parts of the time, for the cross-validation.")] = 4,
    asked: Asked = USUAL,
    as_json: Json = False,
) -> None:
    """Search the options of a policy for those that cost least, judged on parts of the time that they did not see."""
    with ending(as_json=as_json):
        from autoscaler.lab.tuning import tune

        setting = asked.setting()
        (load,) = _loads([_trace(trace)], setting, asked.only, None)
        pairs = map(_pair, vary or [USUAL_SPACE])
        space = {key: [_value(value) for value in text.split(",")] for key, text in pairs}
        with _progress() as told:
            found = tune(
                load, policy, setting, space, options=_options(with_), lack_cost=lack_cost, folds=folds, told=told
            )
        if as_json:
            print_json(
                {
                    "policy": policy, "trace": load.name, "chosen": dict(found.chosen), "judged": found.judged,
                    "usual": found.usual, "folds": found.folds,
                    "costs": [{"with": dict(choice), "cost": cost} for choice, cost in found.costs],
                }
            )  # fmt: skip
            return
        print_rows(
            ["cost", "with"],
            [[f"{cost:.3f}", _choice_text(choice)] for choice, cost in found.costs],
        )
        say(
            f"{_choice_text(found.chosen)} costs least; judged on parts that it was not chosen on, such choices cost"
            f" {found.judged:.3f}, and the defaults {found.usual:.3f}"
        )


def _choice_text(choice: Any) -> str:
    return " ".join(f"{name}={value}" for name, value in choice.items())


def _trace(given: Path | None) -> Trace:
    """The trace of a file, or the generated one of that name where there is no such file."""
    from autoscaler.lab.traces import generated, read_trace

    made = {trace.name: trace for trace in generated()} if given is None or not given.exists() else {}
    if given is None:
        raise wrong_usage("a trace is needed", f"Name a CSV file, or one of {', '.join(made)}.", "--trace")
    return made[str(given)] if str(given) in made else read_trace(given)


def _loads(traces: list[Trace], setting: Setting, only: str | None, seed: int | None) -> list[Load]:
    from autoscaler.lab.traces import load_of

    until_s = None if only is None else seconds_of(only, "--only")
    return [load_of(trace, setting.capacity, until_s=until_s, seed=seed) for trace in traces]


def _options(given: list[str] | None) -> dict[str, Any]:
    return {key: _value(text) for key, text in map(_pair, given or ())}


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise wrong_usage("no KEY=VALUE", "Write lack_cost=99.", text[:60])
    return key, value


def _value(text: str) -> Any:
    """A value as JSON, else the text itself, as in 30s or 10%."""
    try:
        return json.loads(text)
    except ValueError:
        return text


@contextmanager
def _progress() -> Iterator[Told]:
    """A bar on stderr, where a person looks at it."""
    if not sys.stderr.isatty():
        yield lambda _words, _share: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def told(words: str, share: float) -> None:
            bar.update(task, description=words, completed=share)

        yield told


def _say_unknown(runs: Iterable[Run]) -> None:
    """What is wrong with a policy that had no answer: its figures are those of replicas that nobody scaled."""
    for run in runs:
        if run.unknown:
            say(
                f"{run.load.name}: {run.policy} had no answer at {run.unknown} of {run.looks} looks, at last: {run.why}"
            )


def _print_comparison(found: Comparison) -> None:
    from autoscaler.lab.page import COLUMNS, told

    names = [name for name in COLUMNS if name not in {"tau_u", "lost", "cost_hours"}]
    rows = [
        [trace, policy, *(f"{figures[name]:{COLUMNS[name][1]}}" for name in names)]
        for trace, of in found.figures.items()
        for policy, figures in of.items()
    ]
    for kind in ("arithmetic", "geometric"):
        for policy in found.policies:
            mean = found.means(policy)[kind]
            rows.append([f"{kind} mean", policy, *(f"{mean[n]:{COLUMNS[n][1]}}" if n in mean else "-" for n in names)])
    print_rows(["load", "policy", *(COLUMNS[name][0] for name in names)], rows)
    say(told(found.setting))
    for policy in found.policies[1:]:
        equal = found.at_cost_of(found.policies[0], policy)
        if equal:
            less = sum(mine < theirs - 0.005 for mine, theirs in equal.values())
            more = sum(mine > theirs + 0.005 for mine, theirs in equal.values())
            say(
                f"at equal cost {found.policies[0]} lacks less than {policy} on {less} loads, as much on"
                f" {len(equal) - less - more}, more on {more}"
            )


def _comparison_document(found: Comparison) -> dict[str, Any]:
    curves = {
        trace: {policy: [[p.target, p.cost, p.theta_u] for p in curve] for policy, curve in of.items()}
        for trace, of in found.curves.items()
    }
    return {
        "policies": list(found.policies),
        "figures": {trace: dict(of) for trace, of in found.figures.items()},
        "means": {policy: found.means(policy) for policy in found.policies},
        "curves": curves,
    }
