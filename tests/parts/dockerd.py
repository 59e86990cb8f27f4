"""A Docker engine of the suite's own: its own data root, socket and bridge, no iptables rules, and nothing on TCP.

Ports are published by the engine's user-land proxy on 127.0.0.1, which needs no rule; containers reach nothing outside.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import docker
import psutil
from docker.errors import DockerException

from tests.parts.processes import PartMissing, Process, accepts, await_probe, find_program, remove_tree, run, spawn

REMEDY = "install Docker's engine (Debian: docker.io iproute2), or set DOCKER_HOST to an engine that may be used"

OLDEST_API = "1.41"


@dataclass(frozen=True)
class Dockerd:
    """A running engine."""

    directory: Path
    bridge: str
    process: Process

    @property
    def url(self) -> str:
        return f"unix://{self.directory}/docker.sock"

    def pause(self) -> None:
        self.process.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send(signal.SIGCONT)

    def stop(self) -> None:
        """Remove the containers, end the engine and take away what it mounted."""
        self.resume()
        if self.process.alive:
            _remove_containers(self.url)
        self.process.end(signal.SIGTERM, seconds=20.0)
        for pid_file in self.directory.glob("exec/containerd/containerd.pid"):
            _end_stray(int(pid_file.read_text()))
        remove_tree(self.directory)
        run("ip", "link", "delete", self.bridge, remedy=REMEDY)

    def record(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "directory": str(self.directory),
            "bridge": self.bridge,
            "process": self.process.record(),
        }

    def __enter__(self) -> Dockerd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(directory: Path) -> Dockerd:
    """Start an engine below a directory (created, and removed by ``stop``)."""
    for program in ("dockerd", "ip", "umount"):
        find_program(program, REMEDY)
    if os.geteuid() != 0:
        message = "a Docker engine can be started by root only: run as root, or set DOCKER_HOST"
        raise PartMissing(message)
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    bridge = _make_bridge()
    command = [
        "dockerd",
        f"--host=unix://{directory}/docker.sock",
        f"--data-root={directory}/data",
        f"--exec-root={directory}/exec",
    ]
    command += [f"--pidfile={directory}/dockerd.pid", f"--bridge={bridge}", "--iptables=false", "--ip-masq=false"]
    command += [f"--containerd-namespace={bridge}", f"--containerd-plugins-namespace={bridge}-plugins"]
    engine = Dockerd(directory, bridge, spawn(command, directory / "dockerd.log"))
    try:
        await_probe("Docker's engine", lambda: answers(engine.url), [engine.process], seconds=60.0)
    except BaseException:
        engine.stop()
        raise
    return engine


def answers(url: str) -> bool:
    """Whether an engine answers at a url within two seconds."""
    if not _listens(url):
        return False
    client = docker.DockerClient(base_url=url, version=OLDEST_API, timeout=2)
    try:
        return bool(client.ping())
    except (DockerException, OSError):
        return False
    finally:
        client.close()


def _listens(url: str) -> bool:
    """Whether anything listens there at all: docker's client leaves a socket open when it cannot connect."""
    address = urlsplit(url)
    try:
        if address.scheme == "unix":
            with socket.socket(socket.AF_UNIX) as candidate:
                candidate.connect(address.path)
        elif address.scheme == "tcp":
            accepts(address.port or 2375, address.hostname or "127.0.0.1")
    except OSError:
        return False
    return True


def stop_recorded(record: Mapping[str, Any]) -> None:
    Dockerd(Path(record["directory"]), str(record["bridge"]), Process.adopt(record["process"])).stop()


def _make_bridge() -> str:
    """A bridge of our own, in a subnet that no interface of this machine has."""
    taken = {address.address for addresses in psutil.net_if_addrs().values() for address in addresses}
    free = [number for number in range(256) if f"10.94.{number}.1" not in taken]
    number = secrets.choice(free)
    name = f"esparts{number}"
    run("ip", "link", "add", name, "type", "bridge", remedy=REMEDY)
    run("ip", "addr", "add", f"10.94.{number}.1/24", "dev", name, remedy=REMEDY)
    run("ip", "link", "set", name, "up", remedy=REMEDY)
    return name


def _remove_containers(url: str) -> None:
    client = docker.DockerClient(base_url=url, timeout=30)
    try:
        for container in client.containers.list(all=True):
            container.remove(force=True)
    finally:
        client.close()


def _end_stray(pid: int) -> None:
    """End the containerd of an engine that could not end it itself."""
    if psutil.pid_exists(pid) and psutil.Process(pid).name() == "containerd":
        psutil.Process(pid).kill()
