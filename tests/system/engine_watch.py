"""Everything that Docker engines say of their containers, heard from the start: an engine itself keeps 256 events."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from docker.api.client import APIClient
from docker.errors import DockerException
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

CLUSTER_LABEL = "io.eventscaler.cluster"
TOKEN_LABEL = "io.eventscaler.token"
ACTIONS = frozenset({"create", "start", "kill", "die", "destroy"})
RECONNECT_S = 0.1


@dataclass(frozen=True)
class EngineEvent:
    """One thing that happened to a container; ``at`` in seconds since the epoch, by the engine's clock. ``cluster`` and
    ``token`` are its labels: whose it is, and which owner of the partition made it. ``image`` is what it was made of,
    ``signal`` what a kill sent (0: none)."""

    at: float
    action: str
    name: str
    cluster: str
    token: int
    engine: str
    image: str = ""
    signal: int = 0


class EngineWatch:
    """Listens to engines from its making to `close`. An engine that ends is listened to again when it is back, from
    where its last event was."""

    def __init__(self, urls: Iterable[str]) -> None:
        self._events: list[EngineEvent] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._streams: dict[str, Any] = {}
        self._threads = [threading.Thread(target=self._listen, args=(url, *_subscribe(url, None))) for url in urls]
        for thread in self._threads:
            thread.start()

    def of(self, cluster: str, *actions: str) -> list[EngineEvent]:
        """What happened to the containers with the cluster's label, in order of time; of these actions, or all."""
        with self._lock:
            found = [e for e in self._events if e.cluster == cluster and (not actions or e.action in actions)]
        return sorted(found, key=lambda event: event.at)

    def close(self) -> None:
        self._ended.set()
        for stream in list(self._streams.values()):
            stream.close()
        for thread in self._threads:
            thread.join(10.0)

    def __enter__(self) -> EngineWatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self, url: str, client: APIClient, stream: Any) -> None:
        heard: set[tuple[float, str, str]] = set()
        since = time.time()
        while True:
            self._streams[url] = stream
            try:
                for told in stream:
                    event = _event(told, url)
                    since = max(since, event.at)
                    # After a reconnection the engine repeats what it has kept.
                    if event.action in ACTIONS and (event.at, event.action, event.name) not in heard:
                        heard.add((event.at, event.action, event.name))
                        with self._lock:
                            self._events.append(event)
            except (DockerException, RequestException, HTTPError, OSError, AttributeError, ValueError):
                # The stream was closed under the reader, by us or by the engine's end.
                if not self._ended.is_set():
                    self._ended.wait(RECONNECT_S)
            client.close()
            again = self._again(url, since)
            if again is None:
                return
            client, stream = again

    def _again(self, url: str, since: float) -> tuple[APIClient, Any] | None:
        while not self._ended.wait(RECONNECT_S):
            try:
                return _subscribe(url, since)
            except (DockerException, RequestException, OSError):
                continue
        return None


def _subscribe(url: str, since: float | None) -> tuple[APIClient, Any]:
    client = APIClient(base_url=url, version="1.41", timeout=60)
    try:
        return client, client.events(
            decode=True, filters={"type": "container"}, since=None if since is None else int(since)
        )
    except BaseException:
        client.close()
        raise


def _event(told: dict[str, Any], url: str) -> EngineEvent:
    attributes = told["Actor"]["Attributes"]
    name, cluster = str(attributes.get("name", "")), str(attributes.get(CLUSTER_LABEL, ""))
    token = int(attributes.get(TOKEN_LABEL, 0))
    image, signal = str(attributes.get("image", "")), int(attributes.get("signal", 0))
    return EngineEvent(told["timeNano"] / 1e9, str(told["Action"]), name, cluster, token, url, image, signal)
