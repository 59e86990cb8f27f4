"""The thread that follows one engine's event stream and looks at what it names.

Events are hints (an engine keeps few, and ends the stream silently when it restarts): each is answered with a fresh
look at the container, and each new connection with "look at the whole host". The thread looks with its own client, so
that a change never waits behind the host's other calls.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from autoscaler.adapters.docker import calls
from autoscaler.adapters.docker.client import EngineClient, EngineStream
from autoscaler.adapters.docker.containers import cluster_filter
from autoscaler.adapters.docker.failures import FOREIGN
from autoscaler.adapters.docker.host import Host
from autoscaler.ports.target import HostChange

ACTIONS = ("create", "start", "die", "destroy", "rename", "pause", "unpause", "oom", "update", "health_status")
"""Without a list, health checks alone send three exec events each."""

RETRY_FIRST_S, RETRY_LAST_S = 0.2, 5.0
"""Wait before the stream is opened again, doubled while that fails."""

LOG = logging.getLogger(__name__)


class EventReader(threading.Thread):
    """Follows one host's events until closed. ``post`` is called on this thread with each change; a whole-host change
    means that the stream has (again) begun."""

    def __init__(self, host: Host, post: Callable[[HostChange], None]) -> None:
        super().__init__(name=f"docker-{host.name}-events", daemon=True)
        self._host = host
        self._post = post
        self._stream: EngineStream | None = None
        self._ended = False
        self._nudged = threading.Event()

    def run(self) -> None:
        """Follow, and after any end begin again."""
        wait_s = RETRY_FIRST_S
        while not self._ended:
            self._nudged.clear()
            began = time.monotonic()
            try:
                self._follow()
            except FOREIGN as error:
                LOG.debug("events of host %s: %s", self._host.name, type(error).__name__)
            except Exception:
                LOG.exception("events of host %s could not be read; beginning again", self._host.name)
            lasted = time.monotonic() - began > RETRY_LAST_S
            nudged = self._nudged.wait(RETRY_FIRST_S if lasted else wait_s)
            wait_s = RETRY_FIRST_S if lasted or nudged else min(RETRY_LAST_S, 2 * wait_s)

    def begin_again(self) -> None:
        """Drop the present connection, which may be half dead, and connect anew; from any thread."""
        self.hurry()
        stream = self._stream
        if stream is not None:
            stream.cut()

    def hurry(self) -> None:
        """If it waits before connecting again, let it connect now; from any thread."""
        self._nudged.set()

    def close(self) -> None:
        """End the thread; does not wait."""
        self._ended = True
        self.begin_again()

    def _follow(self) -> None:
        seconds = self._host.deadlines.list_s
        listener = self._host.connect(seconds)
        looker = self._host.connect(seconds)
        filters = cluster_filter(self._host.place.cluster) | {"type": "container"}
        words = {name: [value] for name, value in filters.items()} | {"event": list(ACTIONS)}
        try:
            listener.ends_at = time.monotonic() + seconds
            self._stream = listener.open_stream("/events", filters=json.dumps(words))
            if self._ended:
                return
            self._post(HostChange(self._host.name))
            for event in self._stream.documents():
                looker.ends_at = time.monotonic() + seconds
                self._tell(looker, event)
        finally:
            self._stream = None
            listener.close()
            looker.close()

    def _tell(self, looker: EngineClient, event: dict[str, Any]) -> None:
        container = str(event["Actor"]["ID"])
        replica = None
        if event["Action"] != "destroy":
            replica = calls.observe(looker, container, self._host.place, stopping=container in self._host.stopping)
        removed = container if replica is None else None
        self._post(HostChange(self._host.name, replica=replica, removed=removed))
