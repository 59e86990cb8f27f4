"""The HTML report: one file that needs nothing else, with pictures inside."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence

from autoscaler.core.quantities import format_duration
from autoscaler.lab import plots
from autoscaler.lab.comparison import Comparison
from autoscaler.lab.setting import Setting
from autoscaler.lab.simulation import Decision, Run

DECISIONS_MAX = 400
"""Decisions that a report lists; of more, the first and the last ones."""
COLUMNS: Mapping[str, tuple[str, str]] = {
    "theta_u": ("lack %", ".3f"),
    "theta_o": ("excess %", ".1f"),
    "tau_u": ("time lacking %", ".2f"),
    "slo": ("SLO missed %", ".3f"),
    "lost": ("load lost %", ".3f"),
    "cost": ("cost / oracle", ".3f"),
    "cost_hours": ("replica hours", ".0f"),
    "changes_per_hour": ("changes / h", ".2f"),
    "flaps_per_hour": ("flaps / h", ".2f"),
}
"""The figures of a table: what stands above each, and how it is written."""
FIGURES: Mapping[str, tuple[str, str]] = {
    "theta_u": ("%", "lack: replicas too few, of those needed"),
    "theta_o": ("%", "excess: replicas too many, of those needed"),
    "tau_u": ("%", "of the time lacking"),
    "tau_o": ("%", "of the time with too many"),
    "upsilon": ("%", "of the minutes supply and demand did not move the same way"),
    "slo": ("%", "of the seconds a queue would take over a second to empty"),
    "lost": ("%", "of the load came above what was there"),
    "cost_hours": ("h", "replica hours, starting ones too"),
    "cost": ("", "times that of the cheapest plan that never lacks"),
    "changes_per_hour": ("1/h", "changes of the number of replicas"),
    "flaps_per_hour": ("1/h", "an up and a down within ten minutes, either order"),
}
"""All figures of a run: the unit of each, and what it is."""

_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #24303c; --soft: #66737f; --line: #dde3e8; --good: #1f6f43; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14181c; --ink: #dbe2e8; --soft: #93a1ad; --line: #323b43; --good: #63c08d; }
  img { filter: invert(.92) hue-rotate(180deg); }
}
body { font: 15px/1.5 system-ui, sans-serif; background: var(--paper); color: var(--ink); max-width: 76rem;
  margin: 2.5rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; }
p.soft, figcaption, small { color: var(--soft); } figure { margin: 1rem 0; } img { max-width: 100%; display: block; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .28rem .7rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
td:nth-last-child(1), td:nth-child(2) { white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } td:first-child, th:first-child, td.text, th.text { text-align: left; }
td.best { color: var(--good); font-weight: 600; } tr.first td { border-top: 2px solid var(--line); }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0; }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem 1rem; min-width: 8.5rem; }
.card b { display: block; font-size: 1.35rem; } .up { color: var(--good); } .down { color: var(--soft); }
details { margin: 1rem 0; } summary { cursor: pointer; font-weight: 600; }
"""


def run_page(run: Run) -> str:
    """A run: its figures, supply over demand whole and in its worst hour, and every decision with its reason."""
    figures = run.figures()
    names = ("theta_u", "theta_o", "slo", "cost", "flaps_per_hour")
    cards = "".join(
        f'<div class="card"><small>{COLUMNS[name][0]}</small><b>{figures[name]:{COLUMNS[name][1]}}</b></div>'
        for name in names
    )
    start, end = plots.worst_window(run)
    hour, caption = plots.run_png(run, start, end), f"From {format_duration(start)} on."
    body = [
        f"<h1>{_text(run.policy)} on {_text(run.load.name)}</h1>",
        f'<p class="soft">{_text(told(run.setting))}</p>',
        f'<div class="cards">{cards}</div>',
        _picture(plots.run_png(run), "Supply over demand. Below: by how many replicas each decision changed it."),
        *([] if end - start >= len(run.ready) else ["<h2>The worst hour</h2>", _picture(hour, caption)]),
        _decisions(run.decisions),
        "<h2>All figures</h2>",
        _table(["figure", "value", "unit", "what it is"], [[n, f"{figures[n]:.4g}", *FIGURES[n]] for n in FIGURES]),
    ]
    return _page(f"{run.policy} on {run.load.name}", body)


def comparison_page(found: Comparison) -> str:
    """Policies beside one another: the table, lack and excess, lack over cost, and each run."""
    body = [
        f"<h1>{len(found.policies)} policies on {len(found.figures)} loads</h1>",
        f'<p class="soft">{_text(told(found.setting))}</p>',
        _comparison_table(found),
        "<h2>Lack and excess</h2>",
        _picture(plots.means_png(found), "Low is good in both."),
    ]
    if found.curves:
        caption = (
            "Each curve is a sweep of the target; the large point is the target of the table. Low and left is good."
        )
        body += ["<h2>Lack over cost</h2>", _picture(plots.sweep_png(found), caption)]
    for trace, runs in found.runs.items():
        inside = "".join(_picture(plots.run_png(run), "", f"{run.policy} on {trace}") for run in runs.values())
        body.append(f"<details><summary>{_text(trace)}</summary>{inside}</details>")
    return _page("Policies compared", body)


def told(setting: Setting) -> str:
    """The setting in words."""
    return (
        f"A replica starts in {setting.startup:g} s; the metric is a mean over {setting.window:g} s and comes"
        f" {setting.lag:g} s late, looked at every {setting.period:g} s; plain targets aim at {setting.target:.0%} of a"
        " replica. Lack, excess: replicas too few, or too many, as a share of what was needed."
    )


def _comparison_table(found: Comparison) -> str:
    rows: list[list[str]] = []
    marks: dict[tuple[int, int], str] = {}
    firsts = set()
    for trace, of in found.figures.items():
        firsts.add(len(rows))
        for column, name in enumerate(COLUMNS, start=2):
            values = [figures[name] for figures in of.values()]
            for index, value in enumerate(values):
                if value == min(values) < max(values) and name != "changes_per_hour":
                    marks[len(rows) + index, column] = "best"
        rows += [[trace if not index else "", policy, *_cells(f)] for index, (policy, f) in enumerate(of.items())]
    for kind in ("arithmetic", "geometric"):
        firsts.add(len(rows))
        for index, policy in enumerate(found.policies):
            mean = found.means(policy)[kind]
            cells = [f"{mean[name]:{form}}" if name in mean else "" for name, (_, form) in COLUMNS.items()]
            rows.append([f"{kind} mean" if not index else "", policy, *cells])
    return _table(["load", "policy", *(head for head, _ in COLUMNS.values())], rows, marks, firsts)


def _cells(figures: Mapping[str, float]) -> list[str]:
    return [f"{figures[name]:{form}}" for name, (_, form) in COLUMNS.items()]


def _table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    marks: Mapping[tuple[int, int], str] | None = None,
    firsts: Iterable[int] = (),
) -> str:
    begins = set(firsts)
    head = "".join(f"<th{_kind(i, heads)}>{_text(cell)}</th>" for i, cell in enumerate(heads))
    lines = []
    for number, row in enumerate(rows):
        cells = "".join(
            f"<td{_kind(i, heads, (marks or {}).get((number, i), ''))}>{_text(cell)}</td>" for i, cell in enumerate(row)
        )
        lines.append(f"<tr{' class=first' if number in begins else ''}>{cells}</tr>")
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _kind(column: int, heads: Sequence[str], mark: str = "") -> str:
    kinds = [mark] if mark else []
    if heads[column] in {"policy", "reason", "guards", "at", "unit", "what it is"}:
        kinds.append("text")
    return f' class="{" ".join(kinds)}"' if kinds else ""


def _decisions(decisions: Sequence[Decision]) -> str:
    half = DECISIONS_MAX // 2
    shown = decisions if len(decisions) <= DECISIONS_MAX else (*decisions[:half], *decisions[-half:])
    rows = [
        [format_duration(d.at), f"{d.before} → {d.after}", d.reason, "; ".join(d.clamps).replace("->", "→")]
        for d in shown
    ]
    left_out = len(decisions) - len(shown)
    note = f'<p class="soft">{left_out} decisions in between are left out.</p>' if left_out else ""
    table = _table(["at", "replicas", "reason", "guards"], rows)
    return f"<details open><summary>{len(decisions)} decisions and their reasons</summary>{note}{table}</details>"


def _picture(png: bytes, caption: str, says: str = "") -> str:
    source = base64.b64encode(png).decode()
    words = f"<figcaption>{_text(caption)}</figcaption>" if caption else ""
    return f'<figure><img alt="{_text(caption or says)}" src="data:image/png;base64,{source}">{words}</figure>'


def _page(title: str, body: Iterable[str]) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{_text(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _text(text: str) -> str:
    return html.escape(text, quote=True)
