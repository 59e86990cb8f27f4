"""Several Docker engines on one machine, each with an address: the script ``container-hosts``, one user at a time."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from tests.parts.processes import PartFailed, PartMissing, find_program, search_path

SCRIPT = Path(__file__).with_name("container-hosts")
CLAIM = Path("/run/eventscaler-container-hosts.json")
"""Who uses the engines now. The script has one set of names and addresses for the whole machine."""


def start(count: int, *, owner: int, seconds: float = 600.0) -> dict[str, Any]:
    """Start engines for the process ``owner``, waiting while another has them; returns the record to stop them with."""
    _check_machine()
    _claim(owner, seconds)
    try:
        control("up", str(count))
    except BaseException:
        CLAIM.unlink(missing_ok=True)
        raise
    return {"urls": [f"tcp://10.77.0.{10 + number}:2375" for number in range(1, count + 1)]}


def control(*arguments: str) -> None:
    """Run the script: ``control("freeze", "1")``; see its first lines for what it can do."""
    environment = os.environ | {"PATH": search_path()}
    command = ["bash", str(SCRIPT), *arguments]
    # Into files, as the engines inherit what the script has and would keep a pipe open.
    with tempfile.TemporaryFile("w+") as log:
        done = subprocess.run(command, env=environment, stdout=log, stderr=log, check=False, timeout=180)
        log.seek(0)
        said = log.read()[-2000:]
    if done.returncode != 0:
        message = f"container-hosts {' '.join(arguments)}: {said}"
        raise PartFailed(message)


def stop_recorded(record: Mapping[str, Any]) -> None:
    del record  # the script knows its engines
    try:
        control("down")
    finally:
        CLAIM.unlink(missing_ok=True)


def _check_machine() -> None:
    if os.geteuid() != 0:
        message = "engines in network namespaces need root: run as root"
        raise PartMissing(message)
    packages = {"dockerd": "docker.io", "docker": "docker.io", "ip": "iproute2", "iptables": "iptables", "curl": "curl"}
    for program, package in packages.items():
        find_program(program, f"install Debian's {package}")
    if not SCRIPT.exists():
        message = f"{SCRIPT.name} is not beside {Path(__file__).name}"
        raise PartMissing(message)


def _claim(owner: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    mine = json.dumps({"pid": owner, "started": psutil.Process(owner).create_time()})
    while True:
        try:
            with CLAIM.open("x") as claim:
                claim.write(mine)
        except FileExistsError:
            _drop_stale_claim()
        else:
            return
        if time.monotonic() > deadline:
            message = f"the engines of container-hosts are in use by another run ({CLAIM}: {CLAIM.read_text()})"
            raise PartFailed(message)
        time.sleep(0.5)


def _drop_stale_claim() -> None:
    try:
        claim = json.loads(CLAIM.read_text())
        alive = abs(psutil.Process(claim["pid"]).create_time() - claim["started"]) < 1.0
    except (FileNotFoundError, json.JSONDecodeError):
        return  # released, or not yet written: look again
    except psutil.NoSuchProcess:
        alive = False
    if not alive:
        CLAIM.unlink(missing_ok=True)
