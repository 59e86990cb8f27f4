"""HAProxy's runtime API: one connection a command, as its own command line does, each with a deadline.

A client of our own, since the ones on the package index (haproxy-cli, haproxyadmin) block and know no ``add server``.
Source: HAProxy 2.6 management guide, section 9.3.
"""

from __future__ import annotations

import asyncio
import csv
import io
from dataclasses import dataclass

from autoscaler.errors import TargetError

CALL_S = 2.0
ADMIN_MAINT = 0x01 | 0x02 | 0x04 | 0x20
"""Bits of ``srv_admin_state`` that mean maintenance: forced, inherited, configured, by DNS."""
ADMIN_DRAIN = 0x08 | 0x10
DONE = ("", "New server registered.", "Server deleted.")
"""What a command answers that did what it should."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server of a backend as HAProxy shows it."""

    backend: str
    name: str
    address: str
    weight: int
    admin: int

    @property
    def ready(self) -> bool:
        """Whether new requests go to it where its weight is not 0."""
        return not self.admin & (ADMIN_MAINT | ADMIN_DRAIN)

    @property
    def in_maintenance(self) -> bool:
        """Whether it may be deleted once nothing is connected."""
        return bool(self.admin & ADMIN_MAINT)


class Runtime:
    """The stats socket at ``address``: an absolute path, or ``host:port``. Raises `TargetError` only."""

    def __init__(self, address: str, timeout_s: float = CALL_S) -> None:
        self.address = address
        self._timeout_s = timeout_s

    async def ask(self, command: str) -> str:
        """The answer to one command. ``unavailable``: not sent. ``unknown``: sent, no whole answer in time."""
        sent = False
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await self._connect()
                writer.write(f"{command}\n".encode())
                sent = True
                await writer.drain()
                writer.write_eof()  # the master's socket waits for more until then
                answer = await reader.read(-1)
        except TimeoutError as error:
            text = f"HAProxy at {self.address} does not answer within {self._timeout_s:g} s"
            raise TargetError(text, "unknown" if sent else "unavailable") from error
        except (OSError, ValueError) as error:
            text = f"HAProxy at {self.address} cannot be asked: {error}. Start it, or correct socket"
            raise TargetError(text, "unknown" if sent else "unavailable") from error
        finally:
            if writer is not None:
                writer.close()
        return answer.decode(errors="replace").strip()

    async def tell(self, command: str) -> None:
        """A command that changes something. ``refused``: HAProxy says why not."""
        answer = await self.ask(command)
        if answer not in DONE:
            raise TargetError(f"HAProxy refuses {command!r}: {answer.splitlines()[0]}", "refused", "haproxy")

    async def info(self) -> dict[str, str]:
        """What ``show info`` says; ``Pid`` and ``Start_time_sec`` together change with each new process."""
        lines = (line.partition(":") for line in (await self.ask("show info")).splitlines())
        return {name.strip(): value.strip() for name, _, value in lines}

    async def servers(self) -> list[Server]:
        """Every server of every backend."""
        found = []
        names: list[str] = []
        for line in (await self.ask("show servers state")).splitlines():
            if line.startswith("#"):
                names = line[1:].split()
            elif names and len(fields := line.split()) >= len(names):
                found.append(self._server(dict(zip(names, fields, strict=False))))
        return found

    def _server(self, row: dict[str, str]) -> Server:
        try:
            host = f"[{row['srv_addr']}]" if ":" in row["srv_addr"] else row["srv_addr"]
            address = f"{host}:{row['srv_port']}"
            weight, admin = int(row["srv_uweight"]), int(row["srv_admin_state"])
            return Server(row["be_name"], row["srv_name"], address, weight, admin)
        except (KeyError, ValueError) as error:
            raise self._strange("show servers state") from error

    async def backends(self) -> dict[str, int]:
        """The backends' numbers by name: a frontend may have the same name, and is found first by it."""
        rows = await self._statistics("-1 2 -1")
        try:
            return {row["pxname"]: int(row["iid"]) for row in rows}
        except (KeyError, ValueError) as error:
            raise self._strange("show stat") from error

    async def busy(self, backend: int) -> dict[str, int]:
        """Requests in flight and waiting by server of the backend of that number."""
        rows = await self._statistics(f"{backend} 4 -1")
        try:
            return {row["svname"]: int(row["scur"] or 0) + int(row["qcur"] or 0) for row in rows}
        except (KeyError, ValueError) as error:
            raise self._strange("show stat") from error

    def _strange(self, command: str) -> TargetError:
        return TargetError(f"HAProxy at {self.address} answers {command!r} in a form that is not known", "unknown")

    async def _statistics(self, which: str) -> list[dict[str, str]]:
        table = (await self.ask(f"show stat {which}")).removeprefix("# ")
        return [row for row in csv.DictReader(io.StringIO(table)) if row.get("svname")]

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.address.startswith("/"):
            return await asyncio.open_unix_connection(self.address)
        host, _, port = self.address.rpartition(":")
        return await asyncio.open_connection(host.strip("[]"), int(port))
