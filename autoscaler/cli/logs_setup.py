"""How the program's own log looks: a console on a terminal, JSON lines otherwise, always on stderr, never with local
variables."""

from __future__ import annotations

import logging
import os
import sys

import structlog


def set_up_logging(level: str = "info") -> None:
    """Send structlog and the standard library's loggers to stderr in one form. ``level``: debug, info, warning,
    error."""
    number = logging.getLevelNamesMapping()[level.upper()]
    plain = not sys.stderr.isatty() or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    renderer = (
        structlog.processors.JSONRenderer()
        if not sys.stderr.isatty()
        else structlog.dev.ConsoleRenderer(colors=not plain)
    )
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
