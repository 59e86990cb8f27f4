"""When each container of an engine was created, answered its first request and died, whoever made it.

The engine's own events tell of creation and death. The first answer is asked for inside the container's network, so
that nobody's load balancer, network or publishing counts: a thread of its own for each container.
"""

from __future__ import annotations

import asyncio
import ctypes
import http.client
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker.api.client import APIClient
from docker.errors import APIError

PORT = 8080
ASK_EVERY_S = 0.02
GIVE_UP_S = 60.0
NEW_NETWORK = 0x40000000
"""CLONE_NEWNET of Linux' sched.h."""

LOOK_EVERY_S = 0.01


@dataclass
class Life:
    """One container. Times in seconds since the epoch; ``text`` is what it answered first."""

    id: str
    labels: dict[str, str]
    created_at: float
    text: str = ""
    serves_at: float | None = None
    died_at: float | None = None

    @property
    def serves(self) -> bool:
        return self.serves_at is not None and self.died_at is None


@dataclass
class Lives:
    """Listens from its making to `close`."""

    url: str
    all: dict[str, Life] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._client = APIClient(base_url=self.url, version="1.41", timeout=60)
        self._events: Any = self._client.events(decode=True, filters={"type": "container"})
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._events.close()
        self._client.close()

    def of(self, label: tuple[str, str]) -> list[Life]:
        """The containers with that label, dead ones too."""
        return [life for life in list(self.all.values()) if life.labels.get(label[0]) == label[1]]

    def serving(self, label: tuple[str, str]) -> Counter[str]:
        """How many serve now, by what they answer."""
        return Counter(life.text for life in self.of(label) if life.serves)

    def standing(self, label: tuple[str, str]) -> int:
        """How many were created and have not died."""
        return sum(1 for life in self.of(label) if life.died_at is None)

    async def until(self, holds: Callable[[], bool], seconds: float) -> float:
        """When it was seen to hold. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110 - threads change what it looks at
                await asyncio.sleep(LOOK_EVERY_S)
        return time.time()

    def _listen(self) -> None:
        for event in self._events:
            identity, at = event["Actor"]["ID"], event["timeNano"] / 1e9
            labels = dict(event["Actor"]["Attributes"])
            match event["Action"]:
                case "create":
                    self.all[identity] = Life(identity, labels, at)
                case "start" if identity in self.all:
                    threading.Thread(target=self._meet, args=(self.all[identity],), daemon=True).start()
                case "die" | "destroy" if identity in self.all:
                    life = self.all[identity]
                    life.died_at = life.died_at or at

    def _meet(self, life: Life) -> None:
        client = APIClient(base_url=self.url, version="1.41", timeout=60)
        try:
            pid = client.inspect_container(life.id)["State"]["Pid"]
        except APIError:
            return  # it is gone already
        finally:
            client.close()
        if not pid or not _enter_network(pid):
            return
        give_up_at = time.monotonic() + GIVE_UP_S
        while life.died_at is None and time.monotonic() < give_up_at:
            asked = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
            try:
                asked.request("GET", "/")
                answer = asked.getresponse()
                text = answer.read().decode(errors="replace").strip()
            except (OSError, http.client.HTTPException):
                time.sleep(ASK_EVERY_S)
                continue
            finally:
                asked.close()
            if answer.status == http.client.OK:
                life.text, life.serves_at = text, time.time()
            return


def _enter_network(pid: int) -> bool:
    """Put this thread, for the rest of its life, into the network of a process."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        with Path(f"/proc/{pid}/ns/net").open() as network:
            return int(libc.setns(network.fileno(), NEW_NETWORK)) == 0
    except FileNotFoundError:
        return False


def kill(url: str, container: str) -> float:
    """End a container's first process behind everybody's back; when that was."""
    client = APIClient(base_url=url, version="1.41", timeout=60)
    try:
        pid = client.inspect_container(container)["State"]["Pid"]
    finally:
        client.close()
    at = time.time()
    os.kill(pid, 9)
    return at
