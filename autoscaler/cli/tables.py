"""How rows and paragraphs look: styled and fitted on a terminal, plain aligned lines everywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

GAP = "  "
LAST_MIN = 24
"""Where less room than that is left for the last column, it stands below each row."""
FOLDED_MIN = 8
STYLES = {
    "applied": "green",
    "unchanged": "green",
    "accepted": "cyan",
    "refused": "yellow",
    "rejected": "red",
    "rolled_back": "red",
    "failed": "red",
    "expired": "yellow",
    "superseded": "yellow",
}
"""The colour of each verdict."""


def at_terminal() -> bool:
    """Whether a person looks at stdout, on something that can do more than print lines."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def console() -> Console:
    """Where styled text goes: NO_COLOR, FORCE_COLOR and TERM count; nothing is wrapped that no terminal shows."""
    from rich.console import Console

    return Console(
        file=sys.stdout,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not at_terminal(),
        width=None if at_terminal() else 100_000,
    )


def print_text(text: Text) -> None:
    """One styled paragraph on stdout."""
    console().print(text)


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; the last column takes what room there is."""
    if at_terminal():
        _print_table(columns, rows)
        return
    lines = [[column.upper() for column in columns], *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        sys.stdout.write(GAP.join(cells).rstrip() + "\n")


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(line[index]) for line in (columns, *rows)) for index in range(len(columns))]
    room = console().width - sum(widths[:-1]) - len(GAP) * len(widths[:-1])
    if room < min(LAST_MIN, widths[-1]):
        _print_narrow(columns, rows, widths[:-1], -room)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    for index, column in enumerate(columns):
        last = index == len(columns) - 1
        table.add_column(column, no_wrap=not last, overflow="fold", ratio=1 if last else None)
    for row in rows:
        table.add_row(*(Text(cell, STYLES.get(cell, "")) for cell in row))
    console().print(table)


def _print_narrow(columns: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int], excess: int) -> None:
    """The last column below each line, and the widest of the others folded where they need more than there is."""
    from rich.padding import Padding
    from rich.rule import Rule
    from rich.table import Table
    from rich.text import Text

    shown = console()
    fitted = list(widths)
    if excess > 0:
        fitted[fitted.index(max(fitted))] = max(FOLDED_MIN, max(fitted) - excess)
    for line in (columns, *rows):
        head = line is columns
        grid = Table.grid(padding=(0, len(GAP), 0, 0))
        for width in fitted:
            grid.add_column(width=width, overflow="fold")
        grid.add_row(*(Text(cell, "bold" if head else STYLES.get(cell, "")) for cell in line[:-1]))
        shown.print(grid)
        if line[-1]:
            shown.print(Padding(Text(line[-1], "bold" if head else "dim"), (0, 0, 0, 2 * len(GAP))))
        if head:
            shown.print(Rule(style="none"))


def print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Names and values, aligned, one a line; an empty value is left out."""
    from rich.text import Text

    width = max((len(name) for name, value in pairs if value), default=0)
    for name, value in pairs:
        if value:
            print_text(Text.assemble((name.ljust(width), "bold"), GAP, value))
