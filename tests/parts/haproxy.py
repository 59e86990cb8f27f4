"""A HAProxy as somebody else would run it: backends without servers, and a stats socket."""

from __future__ import annotations

import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.parts.processes import Process, await_probe, find_program, free_ports, spawn

REMEDY = "install Debian's haproxy"

CONFIGURATION = """\
global
  stats socket {socket} mode 600 level admin expose-fd listeners
  hard-stop-after 10s
defaults
  mode http
  balance roundrobin
  timeout connect 2s
  timeout client 75s
  timeout server 60s
  option redispatch
"""
FRONTEND = """\
frontend {name}
  bind 127.0.0.1:{port}
  default_backend {name}
backend {name}
"""


@dataclass
class Haproxy:
    """A running HAProxy with a listener for each backend."""

    directory: Path
    socket: str
    ports: dict[str, int]
    process: Process

    def address(self, backend: str) -> str:
        return f"127.0.0.1:{self.ports[backend]}"

    def command(self, text: str) -> str:
        """The answer of its stats socket."""
        return ask(self.socket, text)

    def kill(self) -> None:
        self.process.end(signal.SIGKILL)

    def restart(self) -> None:
        """A new process with the configuration as it was: it knows no server that was added."""
        self.kill()
        self.process = _spawned(self.directory)
        _await(self)

    def stop(self) -> None:
        self.process.end(signal.SIGKILL)


def ask(path: str, text: str) -> str:
    """One command to a stats socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        connection.connect(path)
        connection.sendall(f"{text}\n".encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer.decode()


def start(directory: Path, backends: Sequence[str]) -> Haproxy:
    """Start one below a directory, whose path must be short enough for a socket."""
    find_program("haproxy", REMEDY)
    directory.mkdir(parents=True, exist_ok=True)
    ports = dict(zip(backends, free_ports(len(backends)), strict=True))
    path = str(directory.absolute() / "admin.sock")
    text = CONFIGURATION.format(socket=path)
    text += "".join(FRONTEND.format(name=name, port=port) for name, port in ports.items())
    (directory / "haproxy.cfg").write_text(text)
    started = Haproxy(directory, path, ports, _spawned(directory))
    try:
        _await(started)
    except BaseException:
        started.stop()
        raise
    return started


def kill_own(directory: Path) -> None:
    """End the HAProxy that the program keeps below a directory, master and worker; nothing where there is none."""
    try:
        master = psutil.Process(int((directory / "haproxy.pid").read_text()))
    except (FileNotFoundError, psutil.NoSuchProcess):
        return
    if str(directory) in " ".join(master.cmdline()):
        ending = [master, *master.children()]
        for process in ending:
            process.kill()
        psutil.wait_procs(ending, timeout=5)


def _spawned(directory: Path) -> Process:
    # One process in the foreground: ended with SIGKILL it leaves no worker behind.
    return spawn(["haproxy", "-db", "-f", str(directory / "haproxy.cfg")], directory / "haproxy.log")


def _await(server: Haproxy) -> None:
    await_probe("HAProxy", lambda: "Pid:" in server.command("show info"), [server.process], seconds=15.0)
