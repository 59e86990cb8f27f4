"""The figures as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.figure import Figure, rounded


def show(figures: Sequence[Figure], machine: Sequence[str], seconds: float) -> None:
    """Print the table, what it was measured on, and what is met or not."""
    console = Console(width=None if Console().is_terminal else 150)
    table = Table(title="Figures, each beside its control", title_justify="left")
    for column in ("figure", "unit"):
        table.add_column(column, no_wrap=True)
    for column in ("ours", "control", "ratio"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("target", no_wrap=True)
    table.add_column("met", no_wrap=True)
    table.add_column("how")
    for figure in figures:
        met = "" if figure.met is None else "yes" if figure.met else "NO"
        numbers = (_text(figure.ours), _text(figure.control), _text(figure.ratio))
        table.add_row(figure.name, figure.unit, *numbers, figure.target or "", met, figure.note)
    console.print(table)
    for line in machine:
        console.print(line, highlight=False)
    missed = [figure.name for figure in figures if figure.met is False]
    reached = sum(1 for figure in figures if figure.met)
    console.print(f"measured in {seconds:.0f} s; {reached} targets met", highlight=False)
    if missed:
        console.print(f"NOT met: {', '.join(missed)}", highlight=False)


def _text(value: float | None) -> str:
    number = rounded(value)
    if number is None:
        return "-"
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:g}"
