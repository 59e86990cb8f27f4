"""Several Docker engines on one machine, each with an address: the script ``container-hosts``, one user at a time."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.parts.processes import PartFailed, PartMissing, find_program, search_path

SCRIPT = Path(__file__).with_name("container-hosts")


@dataclass(frozen=True, slots=True)
class Site:
    """One set of engines of the machine, used by one process at a time.

    ``claim``: who uses it now. ``network``: the first three bytes of its addresses. ``settings``: of the script.
    """

    claim: Path
    network: str
    settings: Mapping[str, str]


SITE = Site(Path("/run/eventscaler-container-hosts.json"), "10.77.0", {})
"""The set of the tests."""


def start(count: int, *, owner: int, seconds: float = 600.0, site: Site = SITE) -> dict[str, Any]:
    """Start engines for the process ``owner``, waiting while another has them; returns the record to stop them with."""
    check_machine()
    _claim(site.claim, owner, seconds)
    try:
        control("down", site=site)  # what a run that was killed has left
        control("up", str(count), site=site)
    except BaseException:
        stop(site)
        raise
    return {"urls": [f"tcp://{site.network}.{10 + number}:2375" for number in range(1, count + 1)]}


def control(*arguments: str, site: Site = SITE) -> None:
    """Run the script: ``control("freeze", "1")``; see its first lines for what it can do."""
    environment = os.environ | {"PATH": search_path(), **site.settings}
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
    stop()


def stop(site: Site = SITE) -> None:
    """End the engines with all that runs on them, and let another have them."""
    try:
        control("down", site=site)
    finally:
        site.claim.unlink(missing_ok=True)


def check_machine() -> None:
    """Raises PartMissing where engines of their own cannot be started."""
    if os.geteuid() != 0:
        message = "engines in network namespaces need root: run as root"
        raise PartMissing(message)
    packages = {"dockerd": "docker.io", "docker": "docker.io", "ip": "iproute2", "iptables": "iptables", "curl": "curl"}
    for program, package in packages.items():
        find_program(program, f"install Debian's {package}")
    if not SCRIPT.exists():
        message = f"{SCRIPT.name} is not beside {Path(__file__).name}"
        raise PartMissing(message)


def _claim(path: Path, owner: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    mine = json.dumps({"pid": owner, "started": psutil.Process(owner).create_time()})
    while True:
        try:
            with path.open("x") as claim:
                claim.write(mine)
        except FileExistsError:
            _drop_stale_claim(path)
        else:
            return
        if time.monotonic() > deadline:
            message = f"the engines of container-hosts are in use by another run ({path}: {path.read_text()})"
            raise PartFailed(message)
        time.sleep(0.5)


def _drop_stale_claim(path: Path) -> None:
    try:
        claim = json.loads(path.read_text())
        alive = abs(psutil.Process(claim["pid"]).create_time() - claim["started"]) < 1.0
    except (FileNotFoundError, json.JSONDecodeError):
        return  # released, or not yet written: look again
    except psutil.NoSuchProcess:
        alive = False
    if not alive:
        path.unlink(missing_ok=True)
