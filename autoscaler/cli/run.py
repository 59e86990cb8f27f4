"""`autoscaler run`: the service itself."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from autoscaler.cli.context import EXIT_DONE, EXIT_FAILED, CommandError, Opened, fail, open_configuration
from autoscaler.cli.logs_setup import set_up_logging
from autoscaler.cli.options import Config, chosen
from autoscaler.configuration.complaints import what_and_remedy
from autoscaler.errors import AutoscalerError, StreamError, TargetError

if TYPE_CHECKING:
    from autoscaler.adapters.http.server import HttpServer

log = structlog.get_logger(__name__)

END_WITHIN_S = 19.0
"""After a signal the process is gone by then."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def run(
        context: typer.Context,
        config: Config = None,
        observe: Annotated[
            bool, typer.Option("--observe", help="Decide and record beside the live members; act on nothing.")
        ] = False,
        log_level: Annotated[str, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")] = "info",
        log_format: Annotated[
            str | None,
            typer.Option(metavar="text|json", help="Default: text on a terminal, else json.", show_default=False),
        ] = None,
    ) -> None:
        """Run the service until SIGTERM or Ctrl-C; the replicas go on."""
        from autoscaler.engine import failpoints

        try:
            set_up_logging(log_level, log_format)
            failpoints.arm(os.environ.get("AUTOSCALER_FAILPOINT", ""))
            opened = open_configuration(chosen(context, config))
            asyncio.run(_serve(opened, observe=observe))
        except AutoscalerError as error:
            fail(error, as_json=False)


async def _listen(server: HttpServer, *, required: bool) -> None:
    """Listen where configured; a second member on one machine goes without the port rather than not at all."""
    try:
        await server.start()
    except TargetError as error:
        if required:
            raise
        log.warning("no HTTP port", why=str(error))


async def _serve(opened: Opened, *, observe: bool) -> None:
    from autoscaler.adapters.http.server import HttpServer
    from autoscaler.adapters.streams import refuse_second_owner
    from autoscaler.cli.feeds import Feeds
    from autoscaler.cli.wiring import group_of, member_parts, observing
    from autoscaler.configuration.member import hold_member, lock_directory
    from autoscaler.configuration.settings import HttpSettings
    from autoscaler.engine.face import MemberFace
    from autoscaler.engine.member import Member
    from autoscaler.engine.watchdog import Watchdog

    configuration = opened.configuration
    try:
        refuse_second_owner((observing(configuration) if observe else configuration).stream)
    except StreamError as error:
        opened.plugins.kill()
        raise CommandError(*what_and_remedy(str(error)), "stream.path") from error
    # An observer has a group of its own, and takes no live member's id.
    named = replace(configuration, cluster=group_of(configuration, observe=observe))
    held = hold_member(named, lock_directory(configuration, os.environ))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        stop.set()
        # Whatever hangs, a broker or a plugin, the process ends in time: everything decided is durable already.
        overdue = threading.Timer(END_WITHIN_S, os._exit, (EXIT_DONE,))
        overdue.daemon = True
        overdue.start()

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, end)
    member_id = f"{held.id}-observe" if observe else held.id
    member = Member(member_parts(opened, member_id, observe=observe, others=held.others))
    for warning in opened.loaded.warnings:
        log.warning(warning.what, path=warning.path, remedy=warning.remedy)
    server = HttpServer(configuration.http or HttpSettings(), MemberFace(member))
    watchdog = Watchdog(loop)
    feeds = Feeds(configuration, member)
    try:
        watchdog.start()
        await _listen(server, required=configuration.http is not None and not observe and not held.others())
        if not observe:
            feeds.start()
        log.info("running", cluster=configuration.cluster, member=member_id, services=len(configuration.services))
        await member.run(stop)
    finally:
        await feeds.stop()
        await server.stop()
        watchdog.stop()
        held.release()
    log.info("ended; the replicas go on")
    if member.failed:
        raise SystemExit(EXIT_FAILED)
