"""What happens to the engines of `container_hosts`, for as long as a block lasts."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.parts import hosts

ROOT = Path(os.environ.get("CONTAINER_HOSTS_ROOT", "/var/lib/container-hosts"))


@contextmanager
def frozen(number: int) -> Iterator[None]:
    """The engine hangs: it takes connections and answers nothing."""
    hosts.control("freeze", str(number))
    try:
        yield
    finally:
        hosts.control("thaw", str(number))


@contextmanager
def cut(number: int) -> Iterator[None]:
    """The host is off the network: what is sent to it is lost without a word."""
    hosts.control("cut", str(number))
    try:
        yield
    finally:
        hosts.control("mend", str(number))


@contextmanager
def killed(number: int) -> Iterator[None]:
    """The engine is killed with -9, and started again at the end."""
    hosts.control("kill", str(number))
    try:
        yield
    finally:
        _await_the_end_of_containerd(number)
        hosts.control("start", str(number))


def _await_the_end_of_containerd(number: int) -> None:
    """It dies with its engine, a moment later; an engine that starts before takes it for alive and fails."""
    pid_file = ROOT / f"host-{number}" / "exec" / "containerd" / "containerd.pid"
    until = time.monotonic() + 20.0
    while pid_file.exists() and psutil.pid_exists(int(pid_file.read_text())) and time.monotonic() < until:
        time.sleep(0.05)
