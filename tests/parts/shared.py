"""One broker, engine and server for a whole run, also under pytest-xdist: started by whoever needs it first.

The run has a directory. The first worker that needs a part takes the part's lock, starts it there and leaves a record;
the others read the record; whoever opened the run ends everything that has a record.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from tests.parts import dockerd, hosts, kafka, processes, prometheus

VARIABLE = "AUTOSCALER_TEST_PARTS_RUN"
STOP: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    "kafka": kafka.stop_recorded,
    "docker": dockerd.stop_recorded,
    "container-hosts": hosts.stop_recorded,
    "prometheus": prometheus.stop_recorded,
}


def open_run() -> Path:
    """A new run's directory, announced to the workers that are started from now on; ends what dead runs left."""
    root = Path(tempfile.gettempdir()) / f"eventscaler-parts-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    with root.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in root.iterdir():
            if not psutil.pid_exists(int(left.name.partition("-")[0])):
                _sweep(left)
    directory = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=root))
    os.environ[VARIABLE] = str(directory)
    return directory


def close_run(directory: Path) -> None:
    """End every part of a run and remove its directory."""
    for name, stop in STOP.items():
        record = directory / f"{name}.json"
        if record.exists():
            stop(json.loads(record.read_text())["record"])
    processes.end_all(directory)
    processes.remove_tree(directory)
    if os.environ.get(VARIABLE) == str(directory):
        del os.environ[VARIABLE]


def obtain(name: str, start: Callable[[Path], Mapping[str, Any]]) -> Mapping[str, Any]:
    """The record of a shared part; ``start`` makes it where nobody has. Its failure is everybody's."""
    run = Path(os.environ[VARIABLE])
    record = run / f"{name}.json"
    with (run / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        failure = run / f"{name}.failure"
        if failure.exists():
            raise processes.PartFailed(failure.read_text())
        if not record.exists():
            try:
                made = start(run / name)
            except processes.PartFailed as error:
                failure.write_text(str(error))
                raise
            record.write_text(json.dumps({"record": dict(made)}))
    found: Mapping[str, Any] = json.loads(record.read_text())["record"]
    return found


def _sweep(left: Path) -> None:
    """Close what a killed run left. Where that fails, this run goes on: what is left is said, and is not in its way."""
    try:
        close_run(left)
    except (processes.PartFailed, processes.PartMissing, OSError) as error:
        sys.stderr.write(f"an earlier run left {left}, which could not be removed: {error}\n")


def owner() -> int:
    """The process that opened the run and will close it."""
    return int(Path(os.environ[VARIABLE]).name.partition("-")[0])
