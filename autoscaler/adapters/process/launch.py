"""Starting a created replica: its environment, its ports' last check, and the hand-over to a supervisor."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autoscaler.adapters.process import supervisor
from autoscaler.adapters.process.ports import is_free
from autoscaler.adapters.process.record import Record
from autoscaler.adapters.secret_files import SecretRefused, read_secrets, scope_of, told_paths

INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "VIRTUAL_ENV")
"""Of this process's environment a replica gets these only: the rest may hold the autoscaler's own secrets."""
REPORT_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Launch:
    """How a start ended, in the words of `autoscaler.core.actions.Outcome`."""

    result: Literal["done", "refused", "unknown"]
    text: str = ""
    blame: Literal["", "revision", "host"] = ""


def environment(record: Record, secrets: Mapping[str, str]) -> dict[str, str]:
    """What the replica finds: the inherited few, PORT and PORT_<NAME>, the revision's, where its ``secrets`` are, its
    marker."""
    env = {name: os.environ[name] for name in INHERITED if name in os.environ}
    for name, port in record.ports.items():
        env.setdefault("PORT", str(port.number))
        env[f"PORT_{name.upper().replace('-', '_')}"] = str(port.number)
    env |= told_paths(secrets, record.env)
    marker, _, value = record.marker.partition("=")
    return env | {marker: value}


def start(directory: Path, record: Record, log_limit_bytes: int) -> Launch:
    """Starts the replica's supervisor and waits for its word. Blocks at most 10 s."""
    for name, port in record.ports.items():
        if not is_free(port.number):
            return Launch("refused", f"{record.name}: port {port.number} ({name}) is taken", "host")
    try:
        env = environment(record, _deliver(directory, record))
    except SecretRefused as why:
        return Launch("refused", f"{record.name}: {why}", "host")
    parts = [record.working_directory, str(len(record.argv)), *record.argv]
    parts += [f"{name}={value}" for name, value in env.items()]
    argv = [sys.executable, "-I", "-S", supervisor.__file__, str(directory), str(log_limit_bytes)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, env={}
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both were asked for as pipes")
        process.stdin.write(b"\0".join(os.fsencode(part) for part in parts))
        process.stdin.close()
        word = _read_until_closed(process.stdout.fileno())
    return _understood(record, word)


def _deliver(directory: Path, record: Record) -> dict[str, str]:
    """Copy the replica's secrets below its directory, where only this user reads them; where each is, by name. They go
    with the replica."""
    scope = scope_of(record.cluster, record.service)
    contents = read_secrets(tuple(record.secrets.items()), tuple(record.secret_marks.items()), scope)
    folder = directory / "secrets"
    if contents:
        folder.mkdir(mode=0o700, exist_ok=True)
    for name, content in contents.items():
        temporary = folder / f".{name}.new"
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        temporary.replace(folder / name)
    return {name: str(folder / name) for name in contents}


def _read_until_closed(descriptor: int) -> str | None:
    """What the supervisor says until it closes its end or has said a line; None after too long."""
    said = b""
    until = time.monotonic() + REPORT_WITHIN_S
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while not said.endswith(b"\n"):
        if not poll.poll(1000 * max(0.0, until - time.monotonic())):
            return None
        chunk = os.read(descriptor, 4096)
        if not chunk:
            break
        said += chunk
    return said.decode(errors="replace").strip()


def _understood(record: Record, word: str | None) -> Launch:
    if word == "started":
        return Launch("done")
    if word == "claimed":
        return Launch("done", "another start was first")
    if word is not None and word.startswith("failed "):
        return Launch("refused", f"{record.name}: cannot run {word.removeprefix('failed ')}", "revision")
    return Launch("unknown", f"{record.name}: its supervisor said {word!r}")
