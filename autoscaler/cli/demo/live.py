"""The story on a terminal: one picture, drawn again a few times a second."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from autoscaler.cli.demo.board import Board, Chapter, Seen

EVERY_S = 0.25
BARS = " ▁▂▃▄▅▆▇█"
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
MARKS = {"ok": ("✔", "bold green"), "failed": ("✘", "bold red"), "ahead": ("·", "dim"), "not reached": ("·", "dim")}
KINDS = {"chapter": "bold cyan", "decision": "yellow", "ok": "green", "failed": "bold red", "replica": "dim"}
TASKS = ("deploy", "update", "rollback", "scale", "schedule", "monitor")
REPLICA_ROWS = 6
LINES_MAX = 10
ROWS_BESIDE_LINES = 26
"""What the picture takes without the last lines; a terminal that is no higher goes without them."""
WIDE = 100
"""A narrower terminal goes without the replicas' addresses."""
WORDS_WIDTH = 56
"""What stands beside the two curves."""
RATE_TOP, COUNT_TOP = 25.0, 6.0
"""What a whole bar means, unless there is more."""


class Picture:
    """Draws the board until cancelled."""

    def __init__(self, board: Board, console: Console) -> None:
        self._board = board
        self._console = console
        self._turn = 0

    async def run(self) -> None:
        """Draw until cancelled; the picture goes away at the end, the summary takes its place."""
        with Live(console=self._console, auto_refresh=False, screen=True, redirect_stdout=False) as live:
            while True:
                self._turn += 1
                live.update(self.drawn(), refresh=True)
                await asyncio.sleep(EVERY_S)

    def drawn(self) -> RenderableType:
        """The picture of this moment."""
        board = self._board
        rows: list[RenderableType] = [
            self._chapters(),
            _heading("replicas"),
            _replicas(board, narrow=self._console.width < WIDE),
        ]
        rows += [_heading("load"), self._load(), _heading("autoscaler"), _decision(board), _tasks(board)]
        room = self._console.height - ROWS_BESIDE_LINES
        if room > 1:
            rows += [_heading("what happens"), *_lines(board, min(room, LINES_MAX))]
        return Panel(
            Group(*rows),
            title=f"[bold]autoscaler demo[/]  [dim]{board.parts}[/]",
            title_align="left",
            subtitle=f"{board.elapsed_s:.0f} s",
            subtitle_align="right",
            border_style="cyan",
        )

    def _chapters(self) -> Table:
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(width=1)
        table.add_column(width=9)
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column(width=7, justify="right")
        for chapter in self._board.chapters:
            table.add_row(*self._row(chapter))
        return table

    def _row(self, chapter: Chapter) -> tuple[Text, Text, Text, Text]:
        if chapter.progress == "under way":
            waiting = f"waiting for {self._board.waiting_for}" if self._board.waiting_for else chapter.promise
            spin = SPINNER[self._turn % len(SPINNER)]
            return Text(spin, "bold cyan"), Text(chapter.name, "bold cyan"), Text(waiting, "cyan"), Text()
        mark, style = MARKS[chapter.progress]
        if chapter.progress in {"ok", "failed"}:
            finding = Text(chapter.note or chapter.why)
            return Text(mark, style), Text(chapter.name, "bold"), finding, Text(f"{chapter.seconds:.1f} s")
        return Text(mark, style), Text(chapter.name, "dim"), Text(chapter.promise, "dim"), Text()

    def _load(self) -> Table:
        board = self._board
        width = max(10, self._console.width - WORDS_WIDTH)
        table = Table.grid(padding=(0, 2))
        table.add_column(width=9, style="bold")
        table.add_column(width=width, no_wrap=True)
        table.add_column(no_wrap=True)
        rate = board.rates[-1] if board.rates else 0.0
        failed = Text(f"{board.failed_requests} failed", "bold red" if board.failed_requests else "green")
        served = Text(f"{rate:3.0f} requests/s, {board.requests} so far, ") + failed
        running = f"{len(board.replicas):3d} running, {board.demand} wanted"
        table.add_row("load", Text(sparkline(list(board.rates), width, RATE_TOP), "blue"), served)
        table.add_row("replicas", Text(sparkline(list(board.counts), width, COUNT_TOP), "magenta"), running)
        return table


def _heading(name: str) -> Rule:
    return Rule(f"[dim]{name}[/]", align="left", style="dim")


def _replicas(board: Board, *, narrow: bool) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, header_style="dim", expand=True)
    columns = (("name", 18), ("version", 9), ("identity", 16), ("address", 21))
    for name, width in columns[:-1] if narrow else columns:
        table.add_column(name, width=width, no_wrap=True)
    table.add_column("health", ratio=1, no_wrap=True)
    table.add_column("requests", width=9, justify="right")
    shown = board.replicas[:REPLICA_ROWS]
    for replica in shown:
        table.add_row(
            Text(replica.name, "bold"),
            Text(replica.version, _colour(replica.version)),
            *([replica.id] if narrow else [replica.id, replica.address]),
            _health(replica),
            "" if "" in board.answered else str(board.answered.get(replica.id, 0)),
        )
    for row in range(REPLICA_ROWS - len(shown)):
        table.add_row(Text("none" if not shown and not row else "", "dim"))
    return table


def _colour(version: str) -> str:
    return {"1.0": "blue", "2.0": "green", "3.0": "red"}.get(version, "")


def _health(replica: Seen) -> Text:
    if replica.answers:
        return Text("● healthy", style="green")
    return Text(f"○ {replica.said or 'starting'}", style="yellow" if replica.said != "status 500" else "red")


def _decision(board: Board) -> Table:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(width=12, style="bold")
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis", style="yellow")
    table.add_column(width=9, justify="right", style="dim")
    ago = f"{board.elapsed_s - board.decided_at:.0f} s ago" if board.decision else ""
    table.add_row("decided last", Text(board.decision or "nothing yet"), ago)
    return table


def _tasks(board: Board) -> Text:
    text = Text("active tasks", "bold")
    for task in TASKS:
        count = board.tasks.get(task, 0)
        text.append(f"  {task} {count}", style="bold" if count else "dim")
    return text


def _lines(board: Board, count: int) -> Iterable[RenderableType]:
    for at, text, kind in list(board.lines)[-count:]:
        yield Text(f"{at:5.1f} s  {text}", style=KINDS.get(kind, ""), overflow="ellipsis", no_wrap=True)


def sparkline(values: Sequence[float], width: int, top: float) -> str:
    """The last ``width`` values as bars; ``top`` or the largest of them is a whole one."""
    shown = values[-width:]
    highest = max([top, *shown])
    steps = len(BARS) - 1
    return "".join(BARS[min(steps, round(value / highest * steps + 0.3 * (value > 0)))] for value in shown)
