"""Replicas as processes of this machine, found in the process table."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from autoscaler.cli.demo import shop
from autoscaler.cli.demo.board import Seen
from autoscaler.cli.demo.stage import SERVICE

CLEAR_S = 10.0
PORT = 8080
"""Stands for the port's number in a container; a process gets a free one in its environment."""
HEALTHY = {"http": "/healthz", "every": "300ms", "timeout": "5s", "failures": 10, "start": "30s"}
"""Success counts at once; a busy machine gets half a minute before a failure does."""
BROKEN = {"http": "/healthz", "every": "300ms", "timeout": "5s", "failures": 4, "start": "2s"}


class ProcessStage:
    """Everything runs below one directory, whose name in a command line tells our processes from all others."""

    parts = "local processes"

    def __init__(self, directory: Path, cluster: str) -> None:
        self._directory = directory
        self._program = directory / "shop.py"
        self._cluster = cluster
        self._ports: dict[tuple[int, float], str] = {}

    def prepare(self) -> None:
        """The program lies in the directory."""
        shutil.copyfile(shop.__file__, self._program)

    def target(self) -> dict[str, Any]:
        """Processes, their records and logs beside the configuration."""
        return {"kind": "process", "dir": "./replicas"}

    def service(self) -> dict[str, Any]:
        """Deployment events may bring the same program in any version."""
        return {"commands": [f"{sys.executable} -I -S {self._program} **"], "revision": self.revision("1.0")}

    def revision(self, version: str, *, broken: bool = False) -> dict[str, Any]:
        """The program with the version as its argument."""
        command = [sys.executable, "-I", "-S", str(self._program), version, *(["broken"] if broken else [])]
        health = BROKEN if broken else HEALTHY
        return {"command": command, "ports": {"http": PORT}, "health": health, "stop": {"grace": "5s"}}

    def look(self) -> Sequence[Seen]:
        """Every process that runs the program, named as its record says."""
        names = self._names()
        found = []
        for process in self._ours():
            argv = process.info["cmdline"]
            if argv[3:4] != [str(self._program)]:
                continue
            port = self._port(process)
            if port:
                name = names.get(process.pid, f"pid {process.pid}")
                found.append(Seen(f"pid {process.pid}", name, "local", argv[4], f"127.0.0.1:{port}"))
        return sorted(found, key=lambda seen: seen.name)

    def identity(self, answer: Mapping[str, Any]) -> str:
        """The process says its number."""
        return f"pid {answer['pid']}"

    def shortened(self, text: str) -> str:
        """Without directories."""
        return text.replace(f"{sys.executable} -I -S {self._directory}{os.sep}", "python ")

    def kill(self, replica: Seen) -> None:
        """SIGKILL."""
        os.kill(int(replica.id.removeprefix("pid ")), signal.SIGKILL)

    def clear(self) -> list[str]:
        """No process of ours is left; supervisors first, the kernel ends their replicas with them."""
        until = time.monotonic() + CLEAR_S
        while left := [process for process in self._ours() if process.pid != os.getpid()]:
            if time.monotonic() > until:
                return [f"process {process.pid} could not be ended" for process in left]
            for process in left:
                _kill(process)
            time.sleep(0.05)
        return []

    def _ours(self) -> Iterator[psutil.Process]:
        """Python processes with something of the directory in their command line."""
        inside = f"{self._directory}{os.sep}"
        for process in psutil.process_iter(["cmdline"]):
            argv = process.info["cmdline"] or [""]
            if argv[0] == sys.executable and any(inside in argument for argument in argv):
                yield process

    def _names(self) -> dict[int, str]:
        names = {}
        for path in (self._directory / "replicas" / self._cluster).glob(f"{self._cluster}.{SERVICE}.*/run.json"):
            try:
                names[int(json.loads(path.read_text())["pid"])] = path.parent.name.removeprefix(f"{self._cluster}.")
            except FileNotFoundError:
                continue  # removed since it was listed
        return names

    def _port(self, process: psutil.Process) -> str:
        """From the process's own environment; empty where it ended meanwhile."""
        try:
            identity = (process.pid, process.create_time())
            if identity not in self._ports:
                self._ports[identity] = process.environ().get("PORT", "")
        except psutil.Error:
            return ""
        return self._ports[identity]


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
