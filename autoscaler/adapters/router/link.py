"""One HTTP/1.1 connection: h11's state machine over asyncio's streams, in either role.

The only place that turns bytes into events. Raises `LinkBroken` for whatever the network or the peer does wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

import h11

READ_BYTES = 65536
LINGER_S = 1.0

Event = h11.Request | h11.InformationalResponse | h11.Response | h11.Data | h11.EndOfMessage | h11.ConnectionClosed


class LinkBroken(Exception):
    """The connection cannot be used any more. ``status``: how to answer a client whose request was at fault."""

    def __init__(self, text: str, status: int = 400, *, timed_out: bool = False) -> None:
        self.status = status
        self.timed_out = timed_out
        super().__init__(text)


class Link:
    """A connection in the role of server or client."""

    def __init__(
        self, role: type[h11.SERVER | h11.CLIENT], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.state = h11.Connection(role)
        self._reader = reader
        self._writer = writer

    @property
    def peer(self) -> str:
        """The other side's IP address, empty where unknown."""
        name = self._writer.get_extra_info("peername")
        return str(name[0]) if name else ""

    @property
    def usable(self) -> bool:
        """Whether neither side has closed it as far as is known."""
        return not (self._reader.at_eof() or self._writer.is_closing())

    @property
    def may_answer(self) -> bool:
        """Of a server's: no response has been begun."""
        return self.state.our_state in (h11.IDLE, h11.SEND_RESPONSE)

    async def receive(self, timeout_s: float) -> Event:
        """The next event. Asks for the body where the client waits to be asked. Raises `LinkBroken`."""
        try:
            while True:
                event = self.state.next_event()
                if event is h11.PAUSED:
                    raise LinkBroken("more came than this exchange may hold")
                if event is not h11.NEED_DATA:
                    return cast(Event, event)
                if self.state.they_are_waiting_for_100_continue:
                    await self.send(h11.InformationalResponse(status_code=100, headers=[]))
                async with asyncio.timeout(timeout_s):
                    self.state.receive_data(await self._reader.read(READ_BYTES))
        except h11.RemoteProtocolError as error:
            raise LinkBroken(str(error), error.error_status_hint) from error
        except TimeoutError as error:
            raise LinkBroken(f"nothing came within {timeout_s:g} s", 408, timed_out=True) from error
        except OSError as error:
            raise LinkBroken(str(error)) from error

    async def left(self) -> None:
        """Returns when the peer has closed its side. What it sends meanwhile is kept, up to a bound where this stops
        looking."""
        kept = 0
        with contextlib.suppress(OSError):
            while data := await self._reader.read(READ_BYTES):
                self.state.receive_data(data)
                kept += len(data)
                if kept >= READ_BYTES:
                    await asyncio.get_running_loop().create_future()

    async def send(self, *events: h11.Event) -> None:
        """Writes the events, and waits while the peer is slow. Raises `LinkBroken`."""
        try:
            for event in events:
                data = self.state.send(event)
                if data:
                    self._writer.write(data)
            await self._writer.drain()
        except h11.LocalProtocolError as error:
            raise LinkBroken(str(error)) from error
        except OSError as error:
            raise LinkBroken(str(error)) from error

    def reusable(self) -> bool:
        """Readies it for the next request; False where it has to be closed."""
        if self.state.our_state is h11.DONE and self.state.their_state is h11.DONE and self.usable:
            self.state.start_next_cycle()
            return True
        return False

    async def linger(self) -> None:
        """Closes it after an answer that did not wait for the request's end: what still comes is read and dropped.

        Closed at once with bytes unread, the kernel would reset the connection and take the answer along.
        """
        try:
            self._writer.write_eof()
            async with asyncio.timeout(LINGER_S):
                while await self._reader.read(READ_BYTES):
                    pass
        except (TimeoutError, OSError):
            self.abort()
        self._writer.close()

    def close(self) -> None:
        """Closes it when what was written has gone out."""
        self._writer.close()

    async def gone(self) -> None:
        """It has been closed; cut off where the peer takes what is left too slowly."""
        try:
            async with asyncio.timeout(LINGER_S):
                await self._writer.wait_closed()
        except (TimeoutError, OSError):
            self.abort()

    def abort(self) -> None:
        """Closes it so that the peer notices that something is missing."""
        self._writer.transport.abort()


async def connect(address: str, timeout_s: float) -> Link:
    """A new connection to a backend's ``host:port``. Raises `LinkBroken`."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except TimeoutError as error:
        raise LinkBroken(f"{address}: no connection within {timeout_s:g} s") from error
    except OSError as error:
        raise LinkBroken(f"{address}: {error.strerror or error}") from error
    return Link(h11.CLIENT, reader, writer)
