"""The routers that the router suite is run over; another implementation joins by a class and a line in `KINDS`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psutil

from autoscaler.adapters.haproxy import HaproxyRouter
from autoscaler.adapters.haproxy.own_process import OwnProcess
from autoscaler.adapters.haproxy.runtime import Runtime
from autoscaler.adapters.router import EmbeddedRouter
from autoscaler.core.settings import Route
from autoscaler.ports.router import Router
from tests.parts import haproxy
from tests.parts.processes import find_program, free_ports

SERVICES = ("web", "api")


class RouterKind(Protocol):
    """A way to come by routers for the services ``web`` and ``api``."""

    separate: bool
    """Whether it is a process of its own, which goes on without us."""

    def make(self) -> Router:
        """One that is not open yet; made again, it stands for a member that is started again."""

    def address(self, service: str) -> str:
        """Where clients go, once it is open."""

    def restart(self) -> None:
        """The process of a separate one dies, and is there again as far as nobody of ours brings it back."""


class Embedded:
    separate = False

    def __init__(self, directory: Path) -> None:
        self.router: EmbeddedRouter | None = None

    def make(self) -> Router:
        self.router = EmbeddedRouter({service: Route("127.0.0.1:0", hold=0) for service in SERVICES})
        return self.router

    def address(self, service: str) -> str:
        assert self.router is not None
        return self.router.listen_address(service)

    def restart(self) -> None:
        raise NotImplementedError

    def clean(self) -> None:
        """Nothing outlives the test."""


class AttachedHaproxy:
    separate = True

    def __init__(self, directory: Path) -> None:
        self.server = haproxy.start(directory, SERVICES)

    def make(self) -> Router:
        return HaproxyRouter("edge", Runtime(self.server.socket), {service: service for service in SERVICES})

    def address(self, service: str) -> str:
        return self.server.address(service)

    def command(self, text: str) -> str:
        return self.server.command(text)

    def restart(self) -> None:
        self.server.restart()

    def clean(self) -> None:
        self.server.stop()


class OwnHaproxy:
    separate = True

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.program = find_program("haproxy", haproxy.REMEDY)
        self.listeners = {s: f"127.0.0.1:{port}" for s, port in zip(SERVICES, free_ports(2), strict=True)}

    def make(self) -> Router:
        own = OwnProcess(self.program, self.directory, self.listeners)
        return HaproxyRouter("edge", own.runtime, {service: service for service in SERVICES}, own)

    def address(self, service: str) -> str:
        return self.listeners[service]

    def command(self, text: str) -> str:
        return haproxy.ask(str(self.directory / "admin.sock"), text)

    @property
    def master(self) -> psutil.Process:
        return psutil.Process(int((self.directory / "haproxy.pid").read_text()))

    def restart(self) -> None:
        """Only dies: whoever owns it starts it again."""
        haproxy.kill_own(self.directory)

    def clean(self) -> None:
        haproxy.kill_own(self.directory)


KINDS = {"embedded": Embedded, "haproxy": AttachedHaproxy, "own haproxy": OwnHaproxy}


@contextmanager
def open_kind(name: str) -> Iterator[Embedded | AttachedHaproxy | OwnHaproxy]:
    """A kind in a short directory of its own, since a socket's path has a limit."""
    directory = Path(tempfile.mkdtemp(prefix="router-"))
    try:
        kind = KINDS[name](directory / "r")
        try:
            yield kind
        finally:
            kind.clean()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
