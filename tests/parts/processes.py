"""Processes of the parts: each in its own session, with its own log, known by pid *and* start time, ended by pid."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

RECORD_SUFFIX = ".process.json"
PORTS = range(15_000, 32_000)
"""Below the range that the kernel takes for outgoing connections, so that none of those steals a port in between."""


class PartMissing(RuntimeError):
    """The machine lacks something; the message says what, and how to get it."""


class PartFailed(RuntimeError):
    """A part that is installed did not do what it should; the message holds the tail of its log."""


@dataclass(frozen=True)
class Process:
    """A started process. It survives its starter, and another process may adopt it from its record."""

    pid: int
    started: float
    log: Path

    @classmethod
    def adopt(cls, record: Mapping[str, Any]) -> Process:
        return cls(int(record["pid"]), float(record["started"]), Path(record["log"]))

    def record(self) -> dict[str, Any]:
        return {"pid": self.pid, "started": self.started, "log": str(self.log)}

    @property
    def alive(self) -> bool:
        found = self._found()
        return found is not None and found.status() != psutil.STATUS_ZOMBIE

    def send(self, number: signal.Signals) -> None:
        found = self._found()
        if found is not None:
            found.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGKILL, seconds: float = 10.0) -> None:
        """Send a signal, wait for the end, and use SIGKILL where the time does not suffice."""
        found = self._found()
        if found is not None:
            found.send_signal(number)
            try:
                found.wait(seconds)
            except psutil.TimeoutExpired:
                found.kill()
                found.wait(10.0)
        self.log.with_suffix(RECORD_SUFFIX).unlink(missing_ok=True)

    def tail(self, lines: int = 30) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _found(self) -> psutil.Process | None:
        """The process with this pid, unless the pid belongs to a later one."""
        try:
            found = psutil.Process(self.pid)
        except psutil.NoSuchProcess:
            return None
        return found if abs(found.create_time() - self.started) < 1.0 else None


def spawn(command: Sequence[str], log: Path) -> Process:
    """Start a command in its own session, its output appended to ``log``, its pid recorded beside it."""
    program = find_program(command[0], f"the program {command[0]}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        program,
        [program, *command[1:]],
        os.environ | {"PATH": search_path()},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    process = Process(pid, psutil.Process(pid).create_time(), log)
    log.with_suffix(RECORD_SUFFIX).write_text(json.dumps(process.record()))
    return process


def end_all(directory: Path) -> None:
    """End every process that is still recorded below a directory: what a crashed run leaves behind."""
    for record in directory.rglob(f"*{RECORD_SUFFIX}"):
        Process.adopt(json.loads(record.read_text())).end()


def remove_tree(directory: Path) -> None:
    """Take away what is mounted below a directory, and the directory."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted((mount for mount in mounts if mount.startswith(f"{directory}/")), reverse=True):
        run("umount", "-l", mount, remedy="install Debian's mount")
    shutil.rmtree(directory)


def find_program(name: str, remedy: str) -> str:
    """The absolute path of a program; `PartMissing` with the remedy where there is none."""
    found = shutil.which(name, path=search_path())
    if found is None:
        message = f"no {name} on this machine: {remedy}"
        raise PartMissing(message)
    return found


def search_path() -> str:
    """The path, then what the cache holds, then administrators' programs, which not every user's path has."""
    return f"{os.environ.get('PATH', os.defpath)}:{cache()}/bin:/usr/local/sbin:/usr/sbin:/sbin"


def cache() -> Path:
    """Where what was fetched or built for the suite is kept, outside the checkout."""
    default = Path.home() / ".cache" / "eventscaler-parts"
    return Path(os.environ.get("AUTOSCALER_TEST_PARTS_CACHE", default)).absolute()


def run(*command: str, remedy: str) -> None:
    """Run a command of the machine to its end; `PartFailed` with what it said where it fails."""
    program = find_program(command[0], remedy)
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        message = f"{' '.join(command)}: {done.stderr}"
        raise PartFailed(message)


def await_probe(what: str, probe: Callable[[], object], processes: Sequence[Process], seconds: float) -> None:
    """Wait until the probe returns something true; fail at once where a process ends first.

    A probe answers false, or raises `OSError` (of which connection errors are a kind), as long as the part is not up.
    """
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        for process in processes:
            if not process.alive:
                message = f"{what}: the process ended before it was up; the end of {process.log}:\n{process.tail()}"
                raise PartFailed(message)
        try:
            last = probe()
        except OSError as error:
            last = error
        else:
            if last:
                return
        time.sleep(0.05)
    tails = "\n".join(process.tail() for process in processes)
    message = f"{what}: not up after {seconds:.0f} s; last seen: {last!r}\n{tails}"
    raise PartFailed(message)


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nothing listens on."""
    ports: list[int] = []
    while len(ports) < count:
        port = PORTS[secrets.randbelow(len(PORTS))]
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts connections there; `OSError` where nothing does."""
    with socket.create_connection((host, port), timeout=1.0):
        return True
