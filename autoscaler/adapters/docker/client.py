"""One engine's API as this adapter uses it: docker's low-level client with a time budget, and nothing of the user's.

Made and used by one worker thread each (the SDK's client is not thread-safe). Credentials, proxies and headers of
``~/.docker/config.json`` and of the environment are dropped: what a pull may use comes from the configuration alone.
"""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import requests
from docker.api.client import APIClient
from docker.auth import AuthConfig
from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.errors import APIError, TLSParameterError
from docker.tls import TLSConfig
from docker.transport import UnixHTTPAdapter
from docker.transport.unixconn import UnixHTTPConnection
from docker.utils.proxy import ProxyConfig

from autoscaler.adapters.docker.tunnel import check_ssh
from autoscaler.configuration.settings import HostSettings, HostTls
from autoscaler.errors import ConfigurationError, Problem

CONNECT_S = 2.0
"""Longest wait for a connection to an engine; within a call's deadline."""

ENGINE = "http+docker://localhost"
"""The SDK's name of the engine behind a socket."""

SIGNAL_SINCE = (1, 42)
"""The API version whose stop call takes a signal of its own."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is at a path inside a container: ``mode`` holds Go's permission and type bits, ``target`` a link's end."""

    mode: int
    target: str

    @property
    def executable_file(self) -> bool:
        """Whether the kernel would take it as a program (a directory's bit is Go's highest)."""
        return not self.mode >> 31 & 1 and bool(self.mode & 0o111)


class _OneSocket(UnixHTTPAdapter):
    """The SDK's adapter for sockets, which keeps a connection for each *url* that was asked (docker 7.2): up to 25 a
    client, none of them used again. Here all urls share the engine's one connection."""

    def get_connection(self, url: Any, proxies: Any = None) -> Any:
        del url
        pool = cast("Any", super()).get_connection(ENGINE, proxies)
        pool._new_conn = partial(_Connection, pool.base_url, pool.socket_path, pool.timeout)  # noqa: SLF001 - no other way
        return pool


class _Connection(UnixHTTPConnection):
    """The SDK's connection, which leaves its socket to the collector where it cannot connect."""

    def connect(self) -> None:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(self.timeout)
        try:
            made.connect(self.unix_socket)
        except BaseException:
            made.close()
            raise
        self.sock = made


class EngineClient(APIClient):
    """The SDK's client with a budget: every request of a piece of work shares one deadline, ``ends_at`` (monotonic)."""

    def __init__(self, base_url: str, tls: TLSConfig | None, version: str) -> None:
        self.ends_at = time.monotonic() + CONNECT_S
        self._streams: list[EngineStream] = []
        super().__init__(base_url, version or DEFAULT_DOCKER_API_VERSION, timeout=int(CONNECT_S), tls=tls or False)
        # The SDK has read the user's config.json by now: forget it, with the environment's proxies and netrc.
        self.trust_env = False
        self._auth_configs = AuthConfig({})
        self._general_configs: dict[str, Any] = {}
        self._proxy_configs = ProxyConfig()
        if base_url.startswith("unix://"):
            self._custom_adapter = _OneSocket(f"http+{base_url}", int(CONNECT_S), 1)
            self.mount("http+docker://", self._custom_adapter)

    if TYPE_CHECKING:  # the SDK's inner methods, which its type stubs leave out

        def _url(self, pathfmt: str, *arguments: str) -> str: ...
        def _get(self, url: str, **settings: Any) -> requests.Response: ...
        def _post(self, url: str, **settings: Any) -> requests.Response: ...
        def _raise_for_status(self, response: requests.Response) -> None: ...
        def _stream_helper(self, response: requests.Response, *, decode: bool) -> Iterator[dict[str, Any]]: ...
        def _get_raw_response_socket(self, response: requests.Response) -> Any: ...

    def _set_request_timeout(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        left_s = self.left_s()
        kwargs["timeout"] = (min(CONNECT_S, left_s), left_s)
        return kwargs

    def left_s(self) -> float:
        """Seconds left of the present budget; raises requests' Timeout where none are."""
        left_s = self.ends_at - time.monotonic()
        if left_s <= 0:
            raise requests.exceptions.Timeout("the call's deadline has passed")
        return left_s

    def negotiate(self) -> str:
        """Agree with the engine on an API version, use it from now on, and return it."""
        offered = str(self.version(api_version=False)["ApiVersion"])
        self._version = min(offered, DEFAULT_DOCKER_API_VERSION, key=version_parts)
        return self._version

    def stop_replica(self, container: str, *, grace_s: int, signal: str) -> None:
        """Stop with a grace in whole seconds; ``signal`` counts from API 1.42 on, before that the container's own."""
        params: dict[str, Any] = {"t": grace_s}
        if version_parts(self._version) >= SIGNAL_SINCE:
            params["signal"] = signal
        self._raise_for_status(self._post(self._url("/containers/{0}/stop", container), params=params))

    def create_replica(self, body: dict[str, Any], name: str) -> dict[str, Any]:
        """Create a container from the engine's own words; its answer holds ``Id``."""
        return cast("dict[str, Any]", cast("Any", self).create_container_from_config(body, name))

    def image(self, reference: str) -> dict[str, Any]:
        """An image as the engine describes it. Raises the SDK's ImageNotFound."""
        return cast("dict[str, Any]", cast("Any", self).inspect_image(reference))

    def find(self, container: str, path: str) -> Found | None:
        """What lies at ``path`` in a container (running or not); None where there is nothing."""
        url = self._url("/containers/{0}/archive", container)
        response = self.head(url, params={"path": path}, **self._set_request_timeout({}))
        if response.status_code == requests.codes.not_found:
            return None
        if not response.ok:  # a HEAD has no body: the SDK would fail to read the engine's words out of it
            raise APIError(f"looking at {path} failed with status {response.status_code}", response=response)
        found = json.loads(base64.b64decode(response.headers["X-Docker-Container-Path-Stat"]))
        return Found(int(found["mode"]), str(found["linkTarget"]))

    def open_stream(self, path: str, *arguments: str, **params: Any) -> EngineStream:
        """Begin a response without end. The budget covers its beginning, afterwards reads wait for ever: cut it."""
        response = self._get(self._url(path, *arguments), params=params, stream=True)
        self._raise_for_status(response)
        self._streams.append(EngineStream(self, response))
        return self._streams[-1]

    def close(self) -> None:
        """Let go of every connection, those under streams included; by the client's own thread."""
        for stream in self._streams:
            stream.close()
        self._streams.clear()
        super().close()

    def lines_of(self, response: requests.Response) -> Iterator[dict[str, Any]]:
        """The JSON documents of an endless response."""
        return self._stream_helper(response, decode=True)

    def socket_of(self, response: requests.Response) -> Any:
        """The socket under a response."""
        return self._get_raw_response_socket(response)


class EngineStream:
    """An endless response that another thread can cut."""

    def __init__(self, client: EngineClient, response: requests.Response) -> None:
        self._client = client
        self._response = response
        self._socket = _innermost(client.socket_of(response))
        self._socket.settimeout(None)

    def documents(self) -> Iterator[dict[str, Any]]:
        """JSON documents until the engine ends the stream or it is cut."""
        return self._client.lines_of(self._response)

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes, or fewer at the end."""
        return cast("bytes", self._response.raw.read(size))

    def cut(self) -> None:
        """End it from any thread: a blocked read returns. Harmless on a stream that has ended."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            # Already disconnected by the other side, which is all that was wanted.
            return

    def close(self) -> None:
        """Let go of the connection; by the thread that reads. The client does so when it is closed."""
        self._response.close()


def connect(settings: HostSettings, version: str, deadline_s: float) -> EngineClient:
    """A client of this host. ``version`` empty: ask the engine. Raises the SDK's and requests' errors."""
    client = EngineClient(settings.url, _tls(settings.tls), version)
    client.ends_at = time.monotonic() + deadline_s
    if not version:
        client.negotiate()
    return client


def check_host(target: str, settings: HostSettings) -> list[Problem]:
    """What is wrong with a host's address for this adapter."""
    path = f"targets.{target}.hosts.{settings.name}"
    if settings.url.startswith("ssh://"):
        return check_ssh(settings, path)
    if not settings.url.startswith(("unix://", "tcp://", "http://", "https://")):
        remedy = "Write unix:///var/run/docker.sock, tcp://host:2376 or ssh://user@host"
        return [Problem(f"{path}.url", "the url's scheme is none of unix, tcp, ssh, http, https", remedy)]
    if settings.tls is not None:
        try:
            _tls(settings.tls)
        except TLSParameterError as error:
            what = str(error).split("\n", maxsplit=1)[0]
            return [Problem(f"{path}.tls", f"the certificate files cannot be used: {what}", "Name readable PEM files")]
    return []


def version_parts(version: str) -> tuple[int, ...]:
    """``1.41`` as numbers that compare in the right order."""
    return tuple(int(part) for part in version.split("."))


def refuse_problems(problems: list[Problem]) -> None:
    """Raise ConfigurationError with all of them, if any."""
    if problems:
        raise ConfigurationError(problems)


def _tls(tls: HostTls | None) -> TLSConfig | None:
    if tls is None:
        return None
    return TLSConfig(client_cert=(str(tls.cert_file), str(tls.key_file)), ca_cert=str(tls.ca_file), verify=True)


def _innermost(wrapped: Any) -> Any:
    return getattr(wrapped, "_sock", wrapped)
