"""What the figures were measured on: without it they mean nothing."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import psutil

from tests.parts.kafka import VERSION

LIBRARIES = ("eventscaler", "aiokafka", "docker", "pydantic", "uvloop")


def described() -> list[str]:
    """Machine, load and versions, a line each."""
    memory_gib = psutil.virtual_memory().total / 2**30
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    system = f"{platform.system()} {platform.release()}"
    libraries = ", ".join(f"{name} {version}" for name in LIBRARIES if (version := _version(name)))
    return [
        f"machine: {os.cpu_count()} cores of {_processor()}, {memory_gib:.0f} GiB of memory, {system}",
        f"load average: {load}",
        f"versions: Python {platform.python_version()}, Kafka {VERSION}, {libraries}",
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
