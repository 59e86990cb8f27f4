"""A relay before an engine's socket that puts TLS round it, or loses and delays its answers."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["", "lose", "drip"]
DRIP_S = 0.5


@dataclass
class Relay:
    """``fault`` holds for answers to requests that contain ``to``: *lose* ends the connection where the answer would
    begin, *drip* sends a byte each half second."""

    url: str
    listener: socket.socket
    context: ssl.SSLContext | None
    fault: Fault = ""
    to: bytes = b""
    threads: list[threading.Thread] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)
    heads: list[tuple[float, str]] = field(default_factory=list)
    """The first line of each request, and when it came, in seconds since the epoch."""

    @property
    def port(self) -> int:
        """Where it listens on loopback."""
        return int(self.listener.getsockname()[1])

    def start(self, work: object, *arguments: object) -> None:
        """Run a part of the relay on a thread that `close` waits for."""
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self.threads.append(thread)
        thread.start()

    def accept(self) -> None:
        """Relay every connection until closed."""
        self.listener.settimeout(0.1)
        while not self.closed.is_set():
            with suppress(TimeoutError):
                client, _ = self.listener.accept()
                self.sockets.append(client)
                self.start(self.relay, client)

    def relay(self, client: socket.socket) -> None:
        """Carry one connection's requests, and its answers on another thread."""
        client.settimeout(10)
        if self.context is not None:
            try:
                client = self.context.wrap_socket(client, server_side=True)
            except (ssl.SSLError, OSError):
                client.close()
                return
            self.sockets.append(client)
        engine = connection(self.url)
        self.sockets.append(engine)
        for end in (client, engine):
            end.settimeout(None)
        asked = bytearray()
        self.start(self.carry_answers, engine, client, asked)
        with suppress(OSError):
            while data := client.recv(65536):
                if b" HTTP/1.1\r\n" in data:  # a request's head; its body may come apart
                    asked[:] = data
                    self.heads.append((time.time(), data.partition(b"\r\n")[0].decode("latin-1")))
                engine.sendall(data)
        end_connection(engine, client)

    def carry_answers(self, engine: socket.socket, client: socket.socket, asked: bytearray) -> None:
        """Carry one connection's answers, with the fault where it holds."""
        with suppress(OSError):
            while data := engine.recv(65536):
                hit = bool(self.fault) and self.to in asked
                if hit and self.fault == "lose":
                    break
                for at in range(0, len(data), 1 if hit else len(data)):
                    client.sendall(data[at : at + (1 if hit else len(data))])
                    time.sleep(DRIP_S if hit else 0)
                    if self.closed.is_set():
                        break
        end_connection(engine, client)

    def close(self) -> None:
        """End every connection and thread."""
        self.closed.set()
        for opened in self.sockets:
            end_connection(opened)
        for thread in self.threads:
            thread.join(5)
        for opened in (*self.sockets, self.listener):
            opened.close()


def connection(url: str) -> socket.socket:
    """One to the engine at a ``unix://`` or ``tcp://`` url."""
    parts = urlsplit(url)
    if parts.scheme == "tcp":
        return socket.create_connection((parts.hostname or "", parts.port or 0))
    opened = socket.socket(socket.AF_UNIX)
    opened.connect(parts.path)
    return opened


def end_connection(*ends: socket.socket) -> None:
    """Wake whoever reads from these sockets."""
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay(url: str, certificates: Path | None = None) -> Iterator[Relay]:
    """A relay to an engine; with ``certificates`` (of `tests.parts.tls`) it asks for the client's."""
    context = None
    if certificates is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.pem"))
        context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
        context.verify_mode = ssl.CERT_REQUIRED
    opened = Relay(url, socket.create_server(("127.0.0.1", 0)), context)
    opened.start(opened.accept)
    try:
        yield opened
    finally:
        opened.close()
