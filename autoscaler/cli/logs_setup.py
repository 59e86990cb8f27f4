"""How the program's own log looks: text on a terminal, JSON lines otherwise, or as it was asked for; always on stderr,
never with local variables."""

from __future__ import annotations

import logging
import os
import sys

import structlog

from autoscaler.cli.context import wrong_usage

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")


def set_up_logging(level: str = "info", form: str | None = None) -> None:
    """Send structlog and the standard library's loggers to stderr in one form. ``level`` and ``form``: one of `LEVELS`
    and `FORMATS`, else `CommandError` (usage); without ``form`` text on a terminal and JSON elsewhere."""
    if level.lower() not in LEVELS:
        raise wrong_usage("is no level", f"Write {', '.join(LEVELS[:-1])} or {LEVELS[-1]}.", "--log-level")
    if form is not None and form not in FORMATS:
        raise wrong_usage("is no format", f"Write {' or '.join(FORMATS)}.", "--log-format")
    number = logging.getLevelNamesMapping()[level.upper()]
    at_terminal = sys.stderr.isatty()
    plain = not at_terminal or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    as_json = form == "json" if form is not None else not at_terminal
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=not plain)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(
        stream=sys.stderr, level=max(number, logging.WARNING), format="%(levelname)s %(name)s %(message)s"
    )
    # The client library logs every retry of a broker that is away; the member says it once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
