"""Connecting to the brokers: addresses, security, deadlines, and foreign errors made our own.

Used by the member, the client and the admin of this package; the only place that reads the password file. Never puts a
secret into an error.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from aiokafka import errors as kafka_errors
from aiokafka.conn import collect_hosts, create_conn

from autoscaler.configuration.settings import StreamSecurity, StreamSettings
from autoscaler.errors import ConfigurationError, Fenced, Problem, StreamError

LOGGER = logging.getLogger(__name__)

CONNECT_S = 10.0
"""The longest that a connection (bootstrap, login, first metadata) may take."""

DIAGNOSE_S = 3.0
TEAR_S = 0.5
TEXT_MAX = 300

T = TypeVar("T")
Outcome = Literal["unavailable", "unknown"]

PARTS = ("_coordinator", "_fetcher", "_sender", "_client", "client")
"""The parts of the client library's clients that run tasks of their own."""

FENCED = (kafka_errors.ProducerFenced, kafka_errors.InvalidProducerEpoch)
"""Another producer with our transactional id has started since."""

FOREIGN = (TimeoutError, kafka_errors.KafkaError, OSError, AssertionError, AttributeError)
"""What a call of the client library raises while brokers are away or return: it asserts that there are brokers and
takes a controller for granted, while a broker that has just come back tells of neither."""

DENIED = (
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.GroupAuthorizationFailedError,
    kafka_errors.TransactionalIdAuthorizationFailed,
)


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


def translated(error: BaseException, doing: str, outcome: Outcome = "unavailable") -> StreamError:
    """The program's error for one of the client library: what could not be done, why, and what to do; keys are named as
    they stand both under ``stream:`` and in an entry of ``metrics.kafka:``."""
    if isinstance(error, StreamError):
        return error
    if isinstance(error, FENCED):
        return Fenced(f"{doing}: another member owns the partition now")
    return StreamError(f"{doing}: {_reason(error)}", outcome)


def _reason(error: BaseException) -> str:
    match error:
        case AssertionError() | AttributeError():
            return f"the brokers are not ready ({_first_line(error)}). Try again"
        case TimeoutError():
            return "no answer in time. Check that the brokers run and can be reached"
        case kafka_errors.UnsupportedSaslMechanismError():
            return "the broker does not offer this mechanism. Check security.mechanism"
        case kafka_errors.SaslAuthenticationFailed():
            return "login refused (SaslAuthenticationFailed). Check username, password_file and mechanism of security"
        case ssl.SSLCertVerificationError():
            return "the certificate is not trusted (CERTIFICATE_VERIFY_FAILED). Check security.ca_file and brokers"
        case _ if isinstance(error, DENIED):
            return f"not authorised ({_first_line(error)}). Grant this user the rights of a member"
        case kafka_errors.KafkaConnectionError() if " closed" in str(error):
            # Under TLS 1.3 a missing client certificate is told after the handshake, and the library drops the alert.
            return "the broker closed the connection. Check protocol, cert_file and key_file of security"
        case kafka_errors.KafkaConnectionError() | OSError():
            return f"no broker could be reached ({_first_line(error)}). Check brokers and security.protocol"
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
    try:
        async with asyncio.timeout(seconds):
            return await call
    except FOREIGN as error:
        raise translated(error, doing, outcome) from error


async def start(client: Any, options: Mapping[str, Any], doing: str, seconds: float = CONNECT_S) -> None:
    """Start a consumer, producer or admin client that was made with these options, or let go of it again.

    Raises `StreamError` (unavailable) with the reason why no broker let us in.
    """
    try:
        async with asyncio.timeout(seconds):
            await client.start()
    except FOREIGN as error:
        await let_go(client, 1.0)
        cause = await _refusal(options) if isinstance(error, kafka_errors.KafkaConnectionError) else None
        raise translated(cause or error, doing) from error
    except BaseException:
        # Cancellation included: half started, it keeps sockets and a task.
        await let_go(client, 1.0)
        raise


async def _refusal(options: Mapping[str, Any]) -> BaseException | None:
    """Why the brokers refuse us; the client library tells only its log, the same error for all reasons."""
    wanted = ("client_id", "request_timeout_ms", "ssl_context", "security_protocol", "sasl_mechanism")
    login = ("sasl_plain_username", "sasl_plain_password")
    given = {name: options[name] for name in (*wanted, *login) if name in options}
    found: BaseException | None = None
    try:
        async with asyncio.timeout(DIAGNOSE_S):
            for host, port, _ in collect_hosts(options["bootstrap_servers"]):
                try:
                    connection = await create_conn(host, port, **given)
                except (kafka_errors.KafkaError, OSError) as error:
                    # A broker that is merely down says less than one that refuses.
                    if found is None or not isinstance(error, ConnectionRefusedError):
                        found = error
                else:
                    connection.close()
    except TimeoutError:
        return found
    return found


async def let_go(client: Any, seconds: float) -> None:
    """Stop a consumer, producer or admin client; past the deadline, or when cancelled, it is torn down and forgotten.

    Never raises of itself: with its broker down the library's ``stop`` may hang for ever or fail in ways of its own.
    """
    _give_up_unsent(client)
    stopping = asyncio.ensure_future(client.close() if hasattr(client, "close") else client.stop())
    try:
        await asyncio.wait({stopping}, timeout=seconds)
    finally:
        if not stopping.done() or stopping.cancelled() or stopping.exception() is not None:
            # A task of its own: whoever lets go may be cancelled once more meanwhile, and it has to end all the same.
            tearing = asyncio.create_task(_tear_down(client, stopping))
            _tearing.add(tearing)
            tearing.add_done_callback(_tearing.discard)
            await asyncio.wait({tearing}, timeout=3 * TEAR_S)
        else:
            _note_failure(stopping)


_tearing: set[asyncio.Task[None]] = set()


async def _tear_down(client: Any, stopping: asyncio.Future[Any]) -> None:
    """End what ``stop``, cut short or failed, leaves behind: connections, and tasks that would connect again."""
    left = {stopping, *_tasks_of(client)}
    for task in left:
        task.cancel()
    await asyncio.wait(left, timeout=TEAR_S)
    for task in left:
        _note_failure(task)
    inner = getattr(client, "client", None) or getattr(client, "_client", None)
    if inner is not None:
        closing = asyncio.ensure_future(inner.close())
        await asyncio.wait({closing}, timeout=TEAR_S)
        _note_failure(closing)


def _tasks_of(client: Any) -> set[asyncio.Task[Any]]:
    """What a consumer or a producer runs in the background, requests under way included, as far as it has not ended."""
    owners = [client, *(part for name in PARTS if (part := getattr(client, name, None)) is not None)]
    found = set()
    for task in asyncio.all_tasks():
        # The library keeps most of them to itself; whose method a task runs tells whose it is.
        frame = getattr(task.get_coro(), "cr_frame", None)
        owner = frame.f_locals.get("self") if frame is not None else None
        if any(owner is each for each in owners):
            found.add(task)
    return found - {task for task in (asyncio.current_task(),) if task is not None}


def _give_up_unsent(client: Any) -> None:
    """Fail what a producer has not sent: without this its ``stop`` waits until it is delivered."""
    accumulator = getattr(client, "_message_accumulator", None)
    if accumulator is None:
        return
    batches = [batch for queue in accumulator._batches.values() for batch in queue]  # noqa: SLF001 - nothing public does
    # A batch that waits to be sent again is no longer pending, yet its end is noted there.
    accumulator._pending_batches.update(batch for batch in batches if batch.retry_count)  # noqa: SLF001
    accumulator.fail_all(kafka_errors.ProducerClosed())
    for batch in batches:
        # Nobody waits for it any more; unretrieved it would be reported as a fault of ours.
        if batch._drain_waiter.done():  # noqa: SLF001
            batch._drain_waiter.exception()  # noqa: SLF001


def _note_failure(task: asyncio.Future[Any]) -> None:
    if task.done() and not task.cancelled() and (error := task.exception()) is not None:
        LOGGER.debug("a Kafka client did not stop cleanly: %r", error)
