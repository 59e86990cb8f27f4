"""Polls one Prometheus for the services that this member owns. Implements `autoscaler.ports.metrics.MetricsSource`.

prometheus-api-client blocks, so a poll runs in a daemon thread: one at a time, and it is not waited for past its
deadline. Queries go out one after the other. A query is asked to give one number; where it is a bare selector, the time
of the newest scrape is asked for as well, as an instant query looks back five minutes and would call an old value new.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from autoscaler.adapters.prometheus.bounded_session import BoundedSession
from autoscaler.configuration.settings import PrometheusSettings
from autoscaler.errors import TargetError
from autoscaler.ports.metrics import PolledSample

BARE_SELECTOR = re.compile(r"\s*[a-zA-Z_:][a-zA-Z0-9_:]*\s*(\{[^{}]*\})?\s*")
QUERY_REFUSED = re.compile(r"HTTP Status Code 4(00|22)\b")
TEXT_CHARS_MAX = 200
POLL_MARGIN_S = 1.0

log = logging.getLogger(__name__)


class _QueryAtFault(Exception):
    """One query gives no number; others may."""


class PrometheusSource:
    """One configured Prometheus.

    ``problems`` says, by (service, metric), why a query gave no sample at its last poll: no series, several, not a
    finite number, or not PromQL.
    """

    def __init__(self, settings: PrometheusSettings) -> None:
        address = urlsplit(settings.url)
        # Not the url itself: it may carry a password.
        self.name = f"prometheus {address.hostname}:{address.port or (443 if address.scheme == 'https' else 80)}"
        self.every_s = settings.every_s
        self.problems: dict[tuple[str, str], str] = {}
        self._queries: Mapping[str, Mapping[str, str]] = settings.queries
        self._timeout_s = settings.timeout_s
        self._session = BoundedSession(settings.timeout_s)
        self._connection = PrometheusConnect(
            settings.url.rstrip("/"),
            session=self._session,
            retry=Retry(0, read=False),  # without read=False a read that timed out is told as a connection error
            timeout=settings.timeout_s,
        )
        self._busy = threading.Lock()
        self._next = 0

    def services(self) -> frozenset[str]:
        """The services it has queries for."""
        return frozenset(self._queries)

    async def poll(self, services: frozenset[str]) -> Sequence[PolledSample]:
        """Samples of those services. Raises `TargetError`: unavailable where nothing could be asked, unknown where no
        answer came in time."""
        queries = [(s, m, query) for s in sorted(services & self.services()) for m, query in self._queries[s].items()]
        if not queries:
            return ()
        if not self._busy.acquire(blocking=False):
            raise TargetError(f"{self.name}: the poll before has not ended", "unknown")
        deadline_s = max(self._timeout_s, self.every_s)
        try:
            async with asyncio.timeout(deadline_s + self._timeout_s + POLL_MARGIN_S):
                return await _in_daemon_thread(lambda: self._ask_all(queries, deadline_s), self._busy.release)
        except TimeoutError as error:
            raise TargetError(f"{self.name}: no answer within {deadline_s:g} s", "unknown") from error

    async def close(self) -> None:
        """Lets go of connections; a poll under way ends by itself."""
        self._session.close()

    def _ask_all(self, queries: Sequence[tuple[str, str, str]], deadline_s: float) -> Sequence[PolledSample]:
        """Asks until the deadline, next time from where it stopped, so that a slow query does not starve others."""
        until = time.monotonic() + deadline_s
        samples: list[PolledSample] = []
        failed: TargetError | None = None
        first = self._next
        for turn in range(len(queries)):
            self._next = (first + turn) % len(queries)
            service, metric, query = queries[self._next]
            if time.monotonic() >= until:
                failed = failed or TargetError(f"{self.name}: not all queries answered in {deadline_s:g} s", "unknown")
                break
            try:
                value, at = self._ask(query)
            except _QueryAtFault as error:
                self._note(service, metric, str(error))
                continue
            except TargetError as error:
                failed = error
                if error.outcome == "unavailable":
                    break
                continue
            self._note(service, metric, "")
            samples.append(PolledSample(service, metric, value, at, sample_id(service, metric, query, at)))
        else:
            self._next = first
        if failed is not None and not samples:
            raise failed
        return samples

    def _ask(self, query: str) -> tuple[float, float]:
        """The query's one number and when it was true."""
        at, value = self._answer(query, {})
        if not math.isfinite(value):
            raise _QueryAtFault(f"not a finite number: {value}")
        if BARE_SELECTOR.fullmatch(query):
            _, scraped_at = self._answer(f"timestamp({query})", {"time": repr(at)})
            at = scraped_at if math.isfinite(scraped_at) else at
        return value, at

    def _answer(self, query: str, params: dict[str, str]) -> tuple[float, float]:
        try:
            return _only_pair(self._connection.custom_query(query, params=params))
        except PrometheusApiClientException as error:
            text = str(error)[:TEXT_CHARS_MAX]
            if text.startswith("HTTP Status Code 3"):
                text = "it redirects, which is not followed. Give the address it redirects to"
            if QUERY_REFUSED.match(text):
                raise _QueryAtFault(f"refused: {text}") from error
            raise TargetError(f"{self.name}: {text}", "unavailable") from error
        except requests.Timeout as error:
            text = f"{self.name}: no answer within {self._timeout_s:g} s"
            connected = not isinstance(error, requests.ConnectTimeout)
            raise TargetError(text, "unknown" if connected else "unavailable") from error
        except (requests.exceptions.InvalidJSONError, ValueError, KeyError, TypeError) as error:
            raise TargetError(f"{self.name}: answers otherwise than Prometheus does", "unavailable") from error
        except requests.RequestException as error:
            # The class says enough; the message may hold the url and with it a password.
            raise TargetError(f"{self.name}: cannot be asked ({type(error).__name__})", "unavailable") from error

    def _note(self, service: str, metric: str, problem: str) -> None:
        key = (service, metric)
        if problem and self.problems.get(key) != problem:
            log.warning("%s: %s of %s gives no sample: %s", self.name, metric, service, problem)
        if problem:
            self.problems[key] = problem
        else:
            self.problems.pop(key, None)


def sample_id(service: str, metric: str, query: str, at: float) -> str:
    """The same for the same query and time, whoever polled."""
    return hashlib.sha256(f"{service}\0{metric}\0{query}\0{at!r}".encode()).hexdigest()[:32]


def _only_pair(result: Any) -> tuple[float, float]:
    """(time, value) of an instant query's result: a vector of one series, or a scalar."""
    if isinstance(result, list) and len(result) == 2 and not any(isinstance(part, dict) for part in result):  # noqa: PLR2004
        return float(result[0]), float(result[1])
    if not isinstance(result, list) or not result:
        raise _QueryAtFault("no series")
    if len(result) > 1:
        raise _QueryAtFault(f"{len(result)} series. Aggregate them to one, as by sum(...)")
    if not isinstance(result[0], dict) or "value" not in result[0]:
        raise _QueryAtFault("not one value but a range or a histogram")
    at, value = result[0]["value"]
    return float(at), float(value)


async def _in_daemon_thread(
    work: Callable[[], Sequence[PolledSample]], ended: Callable[[], None]
) -> Sequence[PolledSample]:
    """The work's result. A daemon thread, as an ordinary one would keep the program from ending while it hangs."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Sequence[PolledSample]] = loop.create_future()

    def tell(samples: Sequence[PolledSample], error: Exception | None) -> None:
        if result.done():
            return
        if error is None:
            result.set_result(samples)
        else:
            result.set_exception(error)

    def run() -> None:
        samples: Sequence[PolledSample] = ()
        failed: Exception | None = None
        try:
            samples = work()
        except Exception as error:  # noqa: BLE001 -- raised again in the loop, where somebody waits for it
            failed = error
        finally:
            ended()
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, samples, failed)

    threading.Thread(target=run, name="prometheus-poll", daemon=True).start()
    return await result
