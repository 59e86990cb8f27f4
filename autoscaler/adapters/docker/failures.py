"""What the engine's and the HTTP library's errors mean: one table from foreign errors to the words of an `Outcome`.

Called wherever a call to an engine ends badly. Status codes were measured with Engine 20.10 and read in moby
``api/server/httpstatus`` and ``daemon/errors.go``; texts are matched only where the status does not tell.
"""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass
from typing import Literal

import requests
import urllib3
from docker.errors import APIError, DockerException

from autoscaler.errors import TargetError

FOREIGN = (
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    DockerException,
    OSError,
)
"""All that a call to an engine may raise when the engine, and not our code, is at fault."""

TEXT_MAX = 500
"""Characters kept of a foreign error text."""

Verb = Literal["resolve", "pull", "create", "start", "stop", "remove", "list", "read"]
Result = Literal["done", "conflict", "refused", "unavailable", "unknown"]
Blame = Literal["", "revision", "host"]

_CONNECTION_NEVER_MADE = (
    ConnectionRefusedError,
    FileNotFoundError,
    PermissionError,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    requests.exceptions.ConnectTimeout,
    requests.exceptions.ProxyError,
    requests.exceptions.SSLError,
)

_TEXTS: tuple[tuple[tuple[str, ...], Result, Blame], ...] = (
    (("port is already allocated", "address already in use", "failed to listen on"), "refused", "host"),
    (("no space left on device", "quota exceeded", "read-only file system"), "refused", "host"),
    (("cannot allocate memory",), "refused", "host"),
    (("range of cpus is from", "network .* not found", "could not select device driver"), "refused", "host"),
    (("exec format error", "executable file not found", "exec: ", "no command specified"), "refused", "revision"),
    (("includes invalid characters", "invalid mount", "invalid volume specification"), "refused", "revision"),
    (("unable to find user", "no matching entries in passwd file"), "refused", "revision"),
    (("containerd.*connection refused", "transport is closing", "shutting down"), "unavailable", "host"),
    (("context deadline exceeded",), "unavailable", "host"),
)
"""Texts of engine errors, first match counts, whatever the status is."""

_REGISTRY_SAYS_NO = (
    "not found|manifest unknown|(?<!permission )denied|unauthorized|no basic auth|does not exist|invalid reference"
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed call. ``answered``: the engine itself said so, so it lives. ``status`` of HTTP, 0 where none.

    ``begun`` is False where the call waited for a thread in vain, which says nothing about the engine.
    """

    result: Result
    text: str
    blame: Blame = ""
    answered: bool = False
    status: int = 0
    begun: bool = True


class CallFailed(TargetError):
    """A call to an engine failed; ``failure`` says how."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        outcome = failure.result if failure.result in ("unavailable", "unknown") else "refused"
        super().__init__(failure.text, outcome)


def read_failure(error: Exception, verb: Verb) -> Failure:
    """What ``error`` means for a call of this kind."""
    if isinstance(error, CallFailed):
        return error.failure
    if isinstance(error, APIError) and error.response is not None:
        return _answered(error, error.response.status_code, verb)
    text = _short(str(error) or type(error).__name__)
    if _never_connected(error):
        return Failure("unavailable", f"the engine cannot be reached: {text}", "host")
    if verb in ("list", "resolve", "read"):  # it changed nothing, so nothing is unknown
        return Failure("unavailable", f"the engine did not answer: {text}", "host")
    return Failure("unknown", f"the engine did not answer: {text}", "host")


def _answered(error: APIError, status: int, verb: Verb) -> Failure:
    text = _short(str(error.explanation or error))
    if verb == "pull":
        return pull_failure(text, status)
    for patterns, result, blame in _TEXTS:
        if re.search("|".join(patterns), text, re.IGNORECASE):
            return Failure(result, text, blame, answered=True, status=status)
    result, blame = _by_status(status, verb)
    return Failure(result, text, blame, answered=True, status=status)


def _by_status(status: int, verb: Verb) -> tuple[Result, Blame]:
    if status == requests.codes.not_found:
        return ("done", "") if verb in ("stop", "remove") else ("refused", "")
    if status == requests.codes.conflict:
        return "conflict", ""
    if status == requests.codes.service_unavailable:
        return "unavailable", "host"
    if status >= requests.codes.internal_server_error:
        # The engine failed half-way; a new create or start belongs on another host, an end must be tried again here.
        return ("refused", "host") if verb in ("create", "start") else ("unavailable", "host")
    return "refused", "revision"


def pull_failure(text: str, status: int = 0) -> Failure:
    """What the words of a failed pull mean: the registry says no, or it cannot be reached now."""
    text = _short(text)
    if re.search(_REGISTRY_SAYS_NO, text, re.IGNORECASE):
        return Failure("refused", text, "revision", answered=True, status=status)
    if re.search(r"no space left|no matching manifest", text, re.IGNORECASE):
        return Failure("refused", text, "host", answered=True, status=status)
    return Failure("unavailable", text, "", answered=True, status=status)


def _never_connected(error: BaseException) -> bool:
    """Whether the request surely never left: looks through the layers that requests and urllib3 wrap round a cause."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        layer = waiting.pop()
        if not isinstance(layer, BaseException) or id(layer) in seen:
            continue
        seen.add(id(layer))
        if isinstance(layer, _CONNECTION_NEVER_MADE):
            return True
        waiting += [layer.__cause__, layer.__context__, getattr(layer, "reason", None), *layer.args]
    return False


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TEXT_MAX else f"{line[:TEXT_MAX]}..."
