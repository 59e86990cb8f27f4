"""A Prometheus that scrapes itself and whatever addresses it is given, once a second."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from tests.parts.processes import Process, await_probe, find_program, free_ports, spawn

REMEDY = "install Prometheus (Debian: prometheus), or set AUTOSCALER_TEST_PROMETHEUS to the url of one"


@dataclass(frozen=True)
class Prometheus:
    """A running server. The first samples are there some five seconds after the start: poll the query."""

    directory: Path
    url: str
    process: Process

    def pause(self) -> None:
        self.process.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send(signal.SIGCONT)

    def stop(self) -> None:
        self.process.end(signal.SIGKILL)

    def record(self) -> dict[str, Any]:
        return {"url": self.url, "process": self.process.record()}

    def __enter__(self) -> Prometheus:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(directory: Path, *, targets: Sequence[str] = ()) -> Prometheus:
    """Start a server below a directory that scrapes ``/metrics`` of each ``host:port`` as job ``demo``."""
    find_program("prometheus", REMEDY)
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    jobs = [{"job_name": "prometheus", "static_configs": [{"targets": [address]}]}]
    if targets:
        jobs.append({"job_name": "demo", "static_configs": [{"targets": list(targets)}]})
    intervals = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    # JSON is YAML.
    (directory / "prometheus.yml").write_text(json.dumps({"global": intervals, "scrape_configs": jobs}))
    command = ["prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data"]
    command += [f"--web.listen-address={address}", "--web.enable-lifecycle"]
    server = Prometheus(directory, f"http://{address}", spawn(command, directory / "prometheus.log"))
    try:
        await_probe("Prometheus", lambda: ready(server.url), [server.process], seconds=30.0)
    except BaseException:
        server.stop()
        raise
    return server


def ready(url: str) -> bool:
    """Whether a server answers that it is ready."""
    try:
        return httpx.get(f"{url}/-/ready", timeout=2.0).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def stop_recorded(record: Mapping[str, Any]) -> None:
    Process.adopt(record["process"]).end(signal.SIGKILL)
