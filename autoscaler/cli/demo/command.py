"""`autoscaler demo`: the whole story on this machine, told and proven."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.cli.context import EXIT_DONE, EXIT_FAILED, fail, print_json, wrong_usage
from autoscaler.errors import AutoscalerError

if TYPE_CHECKING:
    from autoscaler.cli.demo.board import Board
    from autoscaler.cli.demo.story import Wishes

EXIT_INTERRUPTED = 130
LINE_CHARS = 120
"""Of the summary where no terminal says how wide it is."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def demo(
        kafka: Annotated[str, typer.Option(help="Brokers (host:port,...) instead of the embedded stream.")] = "",
        docker: Annotated[str, typer.Option(help="Engines (url,...) instead of local processes.")] = "",
        image: Annotated[str, typer.Option(help="With --docker: an image that has python3, instead of busybox.")] = "",
        keep: Annotated[bool, typer.Option("--keep", help="Keep the directory for a look.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, the talk on stderr.")] = False,
    ) -> None:
        """Tell the whole story in a minute: scale, update, roll back, heal, on real replicas under real traffic."""
        from autoscaler.cli.demo.story import Wishes

        wishes = Wishes(_listed(kafka), _listed(docker), image, keep)
        try:
            if image and not wishes.engines:
                raise wrong_usage("has a meaning with --docker alone", "Give --docker, or leave it out.", "--image")
            code = asyncio.run(_show(wishes, as_json=as_json))
        except AutoscalerError as error:
            fail(error, as_json=as_json)
        raise SystemExit(code)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


async def _show(wishes: Wishes, *, as_json: bool) -> int:
    from rich.console import Console

    from autoscaler.cli.demo.live import Picture
    from autoscaler.cli.demo.plain import Lines
    from autoscaler.cli.demo.story import Story, a_board, report
    from autoscaler.cli.demo.summary import print_summary

    board = a_board()
    console = Console(stderr=as_json)
    if not console.is_terminal:
        console = Console(stderr=as_json, width=LINE_CHARS)
    plain = as_json or not console.is_terminal or bool(os.environ.get("NO_COLOR")) or console.is_dumb_terminal
    if plain:
        board.on_line = Lines(sys.stderr if as_json else sys.stdout).line
    story = Story(wishes, board)
    telling = asyncio.create_task(story.tell())
    picture = None if plain else asyncio.create_task(Picture(board, console).run())
    _cancel_on_signals(telling, board)
    interrupted = False
    try:
        await telling
    except asyncio.CancelledError:
        interrupted = True
    finally:
        if picture is not None:
            picture.cancel()
            await asyncio.gather(picture, return_exceptions=True)
    print_summary(board, story.ending, console)
    if as_json:
        print_json(report(board, story.ending, wishes))
    if interrupted:
        return EXIT_INTERRUPTED
    return EXIT_DONE if story.ending.ok else EXIT_FAILED


def _cancel_on_signals(telling: asyncio.Task[None], board: Board) -> None:
    """The first signal ends the story, which takes everything away; further ones change nothing about that."""
    asked = False

    def cancel() -> None:
        nonlocal asked
        if not asked:
            asked = True
            telling.cancel()
            board.say("Interrupted: everything is taken away.", "failed")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, cancel)
