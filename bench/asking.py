"""A client that asks at a constant rate, some of its requests long, and counts what it did not get.

A process of its own. Settings: ``address`` (host, port), or ``tasks``: a name that Docker's own name server, in whose
network this process then runs, resolves anew for each request. Every request is a connection of its own: no client
library hides a failure by trying again.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.child import serve

NAME_SERVER = ("127.0.0.11", 53)
PORT = 8080
LONG_EVERY = 8
"""One request in so many takes 1 to 5 s."""

LONGEST_S = 5
PATIENCE_S = 20.0
ANSWER = b"version"


class NoAddressError(OSError):
    """The name server knows no address."""


@dataclass
class Tally:
    """What came of the requests that began in one scene."""

    asked: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    def entry(self) -> dict[str, Any]:
        return {"asked": self.asked, "failed": sum(self.failed.values()), "how": dict(self.failed)}


class Client:
    """Asks from its first scene on until it is told to end."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._tallies: dict[str, Tally] = {}
        self._tally = Tally()
        self._clock: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[None]] = set()

    async def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """``scene`` and ``rate``: what follows counts for it. Without: end; what came of the requests of each scene,
        the last of them waited for."""
        if "scene" in request:
            self._tally = self._tallies.setdefault(str(request["scene"]), Tally())
            if self._clock is None:
                self._clock = asyncio.create_task(self._ask_at(float(request["rate"])))
            return {}
        if self._clock is not None:
            self._clock.cancel()
            await asyncio.wait({self._clock, *self._asking})
        return {scene: tally.entry() for scene, tally in self._tallies.items()}

    async def _ask_at(self, rate: float) -> None:
        loop = asyncio.get_running_loop()
        begun, number = loop.time(), 0
        while True:
            long = number % LONG_EVERY == 0
            path = f"/cgi-bin/slow?{1 + number // LONG_EVERY % LONGEST_S}" if long else "/"
            task = asyncio.create_task(self._ask(path, self._tally))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
            number += 1
            await asyncio.sleep(max(0.0, begun + number / rate - loop.time()))

    async def _ask(self, path: str, tally: Tally) -> None:
        tally.asked += 1
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await self._get(path)
        except (OSError, TimeoutError) as error:
            tally.failed[type(error).__name__] += 1
            return
        head, _, body = answer.partition(b"\r\n\r\n")
        if not (b" 200 " in head.partition(b"\r\n")[0] and body.startswith(ANSWER)):
            tally.failed[head.partition(b"\r\n")[0].decode(errors="replace") or "cut off"] += 1

    async def _get(self, path: str) -> bytes:
        host, port = self._settings.get("address") or (await resolve(self._settings["tasks"]), PORT)
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
            return await reader.read()
        finally:
            writer.close()


async def resolve(name: str) -> str:
    """One of the addresses that Docker's name server has for a name now, chosen by chance."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.setblocking(False)  # noqa: FBT003 - the socket's own interface
        await loop.sock_connect(asked, NAME_SERVER)
        await loop.sock_sendall(asked, question(name))
        found = addresses(await loop.sock_recv(asked, 4096))
    if not found:
        raise NoAddressError(name)
    return random.choice(found)  # noqa: S311 - which replica is asked is no secret


def question(name: str) -> bytes:
    """A query for A records (RFC 1035, section 4)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"


def addresses(answer: bytes) -> list[str]:
    """The addresses in an answer to `question`; names in answers are pointers or are written out."""
    count = int.from_bytes(answer[6:8], "big")
    place = answer.index(b"\x00", 12) + 5
    found = []
    for _ in range(count):
        place = place + 2 if answer[place] >= 0xC0 else answer.index(b"\x00", place) + 1
        kind, length = (
            int.from_bytes(answer[place : place + 2], "big"),
            int.from_bytes(answer[place + 8 : place + 10], "big"),
        )
        place += 10
        if kind == 1:
            found.append(socket.inet_ntoa(answer[place : place + length]))
        place += length
    return found


if __name__ == "__main__":
    asyncio.run(serve({"ready": True}, Client(json.loads(sys.argv[1])).answer))
