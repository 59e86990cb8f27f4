"""The end of the story: what was seen, chapter by chapter, and what to do next."""

from __future__ import annotations

import os
import shutil
import sys

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoscaler.cli.demo.board import Board
from autoscaler.cli.demo.story import Ending

MARKS = {"ok": ("✔", "green"), "failed": ("✘", "bold red")}


def print_summary(board: Board, ending: Ending, console: Console) -> None:
    """A table of chapters, the chain, and one line on what to do next."""
    table = Table(title=f"autoscaler demo: {board.parts}", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    table.add_column("chapter", style="bold", no_wrap=True)
    for name in ("seconds", "events", "requests", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("what was seen")
    for chapter in board.chapters:
        mark, style = MARKS.get(chapter.progress, ("·", "dim"))
        failed = Text(str(chapter.failed_requests), style="bold red" if chapter.failed_requests else "")
        table.add_row(
            Text(mark, style=style),
            chapter.name,
            f"{chapter.seconds:.1f}",
            str(chapter.events),
            str(chapter.requests),
            failed,
            (chapter.note if chapter.progress == "ok" else chapter.why) or Text("not reached", style="dim"),
        )
    console.print(table)
    if ending.chain:
        word, style = ("verified", "green") if ending.verified_chain else ("broken", "bold red")
        console.print(Text(f"audit chain {word}: ", style) + Text(ending.chain))
    kept = f"; the directory is kept: {ending.kept}" if ending.kept is not None else ", and nothing is left of it"
    left = f"; left behind: {'; '.join(ending.left_behind)}" if ending.left_behind else kept
    if ending.requests_unsent:
        console.print(f"{ending.requests_unsent} requests could not be sent in time: this machine is very busy.")
    console.print(f"{ending.replicas_created} replicas lived in {board.elapsed_s:.0f} s{left}.", highlight=False)
    if ending.ok:
        program = "autoscaler" if shutil.which("autoscaler") else os.path.relpath(sys.argv[0])
        console.print(f"Next: [bold]{program} init[/] writes a configuration and a policy of your own to run.")
    else:
        console.print(Text(f"The demo failed: {ending.why}" if ending.why else "Interrupted.", style="bold red"))
