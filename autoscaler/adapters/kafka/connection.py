"""Connecting to the brokers: addresses, security, deadlines, and foreign errors made our own.

Used by the member, the client and the admin of this package; the only place that reads the password file. Never puts a
secret into an error.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, TypeVar

from aiokafka import errors as kafka_errors

from autoscaler.configuration.settings import StreamSecurity, StreamSettings
from autoscaler.errors import ConfigurationError, Fenced, Problem, StreamError

CONNECT_S = 10.0
"""The longest that a connection (bootstrap, login, first metadata) may take."""

HEARD_MAX = 16
TEXT_MAX = 300

T = TypeVar("T")
Outcome = Literal["unavailable", "unknown"]

FENCED = (kafka_errors.ProducerFenced, kafka_errors.InvalidProducerEpoch)
"""Another producer with our transactional id has started since."""

DENIED = (
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.GroupAuthorizationFailedError,
    kafka_errors.TransactionalIdAuthorizationFailed,
)

_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


class _Overhearing(logging.Filter):
    """Keeps what the client library only logs: a refused login raises the same error as a dead broker.

    A filter, because it hears what the program has decided not to show; it lets through what would have been shown.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        heard = _heard.get()
        if heard is not None and len(heard) < HEARD_MAX:
            heard.append(record.getMessage())
        return record.levelno >= logging.getLogger("aiokafka").getEffectiveLevel()


_OVERHEARING = _Overhearing()


@contextmanager
def overhearing() -> Iterator[list[str]]:
    """What the client library logs of its connections meanwhile, in this task and in those started by it."""
    for name in ("aiokafka.client", "aiokafka.conn"):
        logger = logging.getLogger(name)
        if _OVERHEARING not in logger.filters:
            logger.setLevel(logging.WARNING)
            logger.addFilter(_OVERHEARING)
    heard: list[str] = []
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)


def connection_options(settings: StreamSettings, cluster: str, request_timeout_s: float) -> dict[str, Any]:
    """The keyword arguments that every client of the library takes.

    Raises `ConfigurationError` where a file that the settings name cannot be read.
    """
    if not settings.brokers:
        raise ConfigurationError([Problem("stream.brokers", "is empty", "Name at least one broker as host:port.")])
    options: dict[str, Any] = {
        "bootstrap_servers": list(settings.brokers),
        # What the brokers' logs and quotas call us.
        "client_id": f"autoscaler-{cluster}",
        "request_timeout_ms": int(request_timeout_s * 1000),
        "retry_backoff_ms": 100,
        # A moved leader is noticed by its errors; this bounds what no error shows, such as new brokers.
        "metadata_max_age_ms": 30_000,
    }
    security = settings.security
    options["security_protocol"] = security.protocol
    if security.protocol in ("SSL", "SASL_SSL"):
        options["ssl_context"] = _ssl_context(security)
    if security.protocol.startswith("SASL_"):
        options["sasl_mechanism"] = security.mechanism
        options["sasl_plain_username"] = security.username
        options["sasl_plain_password"] = _password(security)
    return options


def _ssl_context(security: StreamSecurity) -> ssl.SSLContext:
    for field in ("ca_file", "cert_file", "key_file"):
        path = getattr(security, field)
        if path is not None:
            _readable(field, path)
    try:
        context = ssl.create_default_context(cafile=_text(security.ca_file))
        if security.cert_file is not None:
            context.load_cert_chain(security.cert_file, security.key_file)
    except (ssl.SSLError, OSError, ValueError) as error:
        what = f"the TLS files cannot be used ({error})"
        raise ConfigurationError([Problem("stream.security", what, "Give PEM files that belong together.")]) from error
    return context


def _password(security: StreamSecurity) -> str:
    if security.password_file is None:
        what = f"is missing for {security.protocol}"
        raise ConfigurationError([Problem("stream.security.password_file", what, "Name a file with the password.")])
    return _readable("password_file", security.password_file).rstrip("\r\n")


def _readable(field: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        what = f"{path} cannot be read ({reason})"
        problem = Problem(f"stream.security.{field}", what, "Make it readable or correct the path.")
        raise ConfigurationError([problem]) from error


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def translated(
    error: BaseException, doing: str, outcome: Outcome = "unavailable", heard: Sequence[str] = ()
) -> StreamError:
    """The program's error for one of the client library: what could not be done, and why as far as anybody knows."""
    if isinstance(error, StreamError):
        return error
    if isinstance(error, FENCED):
        return Fenced(f"{doing}: another member owns the partition now")
    return StreamError(f"{doing}: {_reason(error, heard)}", outcome)


LOGGED = (
    ("UnsupportedSaslMechanism", "the broker does not offer this mechanism. Check stream.security.mechanism"),
    (
        "SaslAuthenticationFailed",
        "login refused (SaslAuthenticationFailed). Check mechanism, username, password_file of stream.security",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the certificate is not trusted (CERTIFICATE_VERIFY_FAILED). Check ca_file and the names in stream.brokers",
    ),
    (
        "CERTIFICATE_REQUIRED",
        "the broker wants a client certificate. Give cert_file and key_file in stream.security",
    ),
)
"""What only the library's log tells of a failed connection, and the remedy."""


def _reason(error: BaseException, heard: Sequence[str]) -> str:
    told = " ".join(heard)
    for mark, reason in LOGGED:
        if mark in told:
            return reason
    if isinstance(error, TimeoutError):
        return "no answer in time. Check that the brokers of stream.brokers run and can be reached"
    if isinstance(error, DENIED):
        return f"not authorised ({_first_line(error)}). Grant this user the rights of a member"
    if isinstance(error, kafka_errors.KafkaConnectionError):
        if " closed" in told:
            # Under TLS 1.3 a missing client certificate is told after the handshake, and the library drops the alert.
            return "the broker closed the connection. Check protocol, cert_file and key_file of stream.security"
        last = f" ({_shortened(heard[-1])})" if heard else ""
        return f"no broker could be reached{last}. Check stream.brokers and stream.security.protocol"
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return _shortened(f"{type(error).__name__}: {text[0]}" if text else type(error).__name__)


def _shortened(text: str) -> str:
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 3] + "..."


async def within(seconds: float, call: Awaitable[T], doing: str, outcome: Outcome = "unavailable") -> T:
    """What the call returns, if it does so in time; otherwise a `StreamError` that says what was being done.

    The library's own time-outs do not hold while a broker is down, hence an outer one round every call.
    """
    with overhearing() as heard:
        try:
            async with asyncio.timeout(seconds):
                return await call
        except (TimeoutError, kafka_errors.KafkaError, OSError) as error:
            raise translated(error, doing, outcome, heard) from error


async def let_go(client: Any, seconds: float) -> None:
    """Stop a consumer, producer or admin client; past the deadline its tasks are cancelled and it is forgotten.

    Never raises: with its broker down the library's ``stop`` may hang for ever or fail in ways of its own.
    """
    accumulator = getattr(client, "_message_accumulator", None)
    if accumulator is not None:
        # What was never sent can no longer be: without this, stop waits for it to be delivered.
        accumulator.fail_all(kafka_errors.ProducerClosed())
    stop = asyncio.ensure_future(client.close() if hasattr(client, "close") else client.stop())
    done, _ = await asyncio.wait({stop}, timeout=seconds)
    if done:
        _note_failure(stop)
        return
    stop.cancel()
    await asyncio.wait({stop}, timeout=1.0)
    if stop.done():
        _note_failure(stop)
    inner = getattr(client, "client", None) or getattr(client, "_client", None)
    if inner is not None:
        closing = asyncio.ensure_future(inner.close())
        done, _ = await asyncio.wait({closing}, timeout=1.0)
        for task in done:
            _note_failure(task)


def _note_failure(task: asyncio.Future[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logging.getLogger(__name__).debug("a Kafka client did not stop cleanly: %r", error)
