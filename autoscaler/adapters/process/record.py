"""The directory of one replica: what was asked for (written once) and how it stands (written by its supervisor).

``<dir>/<cluster>/<name>/record.json`` holds the labels. A directory appears whole, by a rename that fails where one is
there already, and vanishes whole, by a rename too: the name is the compare-and-set between members and between threads.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from autoscaler.adapters.process.identity import ProcessIdentity
from autoscaler.core.world import ObservedReplica, ReplicaCondition

HOST = "local"
ADDRESS = "127.0.0.1"
LEFTOVER_AGE_S = 3600.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PortNumber:
    """A declared port's number on this machine; ``fixed`` where the revision pins it."""

    number: int
    fixed: bool


@dataclass(frozen=True, slots=True)
class Record:
    """The labels and all that a start needs; never changes. ``secrets`` are file paths, read at the start, and
    ``secret_marks`` what their content must be. ``made_at`` in seconds since the epoch."""

    id: str
    name: str
    cluster: str
    service: str
    slot: int
    revision: int
    attempt: int
    generation: int
    token: int
    content: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    secrets: Mapping[str, str]
    ports: Mapping[str, PortNumber]
    cpu_millis: int
    memory_bytes: int
    working_directory: str
    secret_marks: Mapping[str, str] = field(default_factory=dict)
    made_at: float | None = None
    displaces: tuple[str, ...] = ()

    @property
    def marker(self) -> str:
        """The environment entry that proves whose a process is."""
        return f"EVENTSCALER_REPLICA={self.id}"

    def same_replica(self, other: Record) -> bool:
        """Whether both are the same step of the same service: generation and token may differ between two owners."""
        mine = (self.cluster, self.service, self.slot, self.revision, self.attempt, self.content)
        return mine == (other.cluster, other.service, other.slot, other.revision, other.attempt, other.content)

    def encoded(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def decoded(cls, text: str) -> Record:
        """From JSON. Raises ValueError, KeyError or TypeError where it is not a record."""
        fields = json.loads(text)
        fields["argv"] = tuple(fields["argv"])
        fields["ports"] = {name: PortNumber(**port) for name, port in fields["ports"].items()}
        fields["displaces"] = tuple(fields.get("displaces", ()))
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a replica stands: its main process and supervisor where known, its end where it ended."""

    condition: ReplicaCondition
    supervisor: ProcessIdentity | None = None
    main: ProcessIdentity | None = None
    started_at: float | None = None
    exit_code: int | None = None
    stopping: bool = False
    note: str = ""
    claimed_by: Literal["", "supervisor", "removal"] = ""


class ReplicaDirectories:
    """All replicas of one cluster on this machine. Synchronous and short; safe between threads and processes.

    Methods raise OSError where the disk does.
    """

    def __init__(self, base: Path, cluster: str) -> None:
        self.root = base.absolute() / cluster
        self._records: dict[str, tuple[tuple[int, int], Record]] = {}
        self._foreign: set[str] = set()

    def prepare(self) -> None:
        """The root exists."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def clear_leftovers(self) -> None:
        """What a crash in the middle of a creation or removal left long ago is gone."""
        for entry in [entry for entry in os.scandir(self.root) if entry.name.startswith(".")]:
            with contextlib.suppress(FileNotFoundError):  # another member ended its own work just now
                if time.time() - entry.stat().st_mtime > LEFTOVER_AGE_S:
                    shutil.rmtree(entry.path)

    def path(self, name: str) -> Path:
        """Where the replica of that name is or would be."""
        return self.root / name

    def names(self) -> frozenset[str]:
        """Every replica's name."""
        try:
            return frozenset(entry.name for entry in os.scandir(self.root) if not entry.name.startswith("."))
        except FileNotFoundError:
            return frozenset()

    def record(self, name: str) -> Record | None:
        """What was asked for; None where there is no such replica. Raises ValueError where the record is not ours."""
        # A directory that appears or vanishes between two looks is looked at again.
        for _ in range(3):
            try:
                return self._read(name)
            except (FileNotFoundError, NotADirectoryError):
                self._records.pop(name, None)
                if not (self.root / name).exists():
                    return None
        raise ValueError(f"{self.root / name} holds no record.json")

    def _read(self, name: str) -> Record:
        path = self.root / name / "record.json"
        stat = path.stat()
        version = (stat.st_ino, stat.st_mtime_ns)
        cached = self._records.get(name)
        if cached is not None and cached[0] == version:
            return cached[1]
        try:
            record = Record.decoded(path.read_text(encoding="utf-8"))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: {error!r}") from error
        self._records[name] = (version, record)
        return record

    def make(self, record: Record) -> bool:
        """Makes the replica's directory; False, and nothing changes, where the name is taken."""
        temporary = self.root / f".new-{secrets.token_hex(8)}"
        temporary.mkdir(mode=0o700)
        try:
            descriptor = os.open(temporary / "record.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(record.encoded())
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self.root / record.name)
        except OSError as error:
            shutil.rmtree(temporary)
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                return False
            raise
        return True

    def claim_for_removal(self, name: str) -> bool:
        """True where nobody can start it from now on; False where a supervisor has claimed it."""
        try:
            (self.root / name / "claim").symlink_to("removal")
        except FileExistsError:
            return self.standing(name).claimed_by == "removal"
        return True

    def delete(self, name: str) -> None:
        """The directory is gone, at once for every observer."""
        gone = self.root / f".gone-{secrets.token_hex(8)}"
        try:
            (self.root / name).rename(gone)
        except FileNotFoundError:
            return
        self._records.pop(name, None)
        shutil.rmtree(gone)

    def announce(self) -> None:
        """Other members look again: the root's time stamp is what they watch."""
        os.utime(self.root)

    def write_stop(self, name: str, kill_at: float) -> None:
        """Notes for every member and for the supervisor that a stop is under way, until ``kill_at`` (epoch seconds)."""
        path = self.root / name / "stop"
        temporary = path.with_name(f"stop.{secrets.token_hex(4)}")
        temporary.write_text(f"{kill_at:.3f}", encoding="ascii")
        temporary.rename(path)

    def standing(self, name: str) -> Standing:
        """How it stands now. A vanished replica looks like one never started."""
        path = self.root / name
        supervisor, claimed_by = _claim(path)
        # The run file is read before the end is looked for: reading them the other way round could miss both.
        run = _json(path / "run.json")
        alive = supervisor is not None and supervisor.alive
        stopping = (path / "stop").exists()
        end = _json(path / "exit.json")
        if supervisor is None or (run is None and alive):
            return Standing("created", supervisor, claimed_by=claimed_by)
        if run is None:
            return Standing("exited", note="its supervisor ended before the command ran", claimed_by=claimed_by)
        main = ProcessIdentity(int(run["pid"]), str(run["birth"]))
        started_at = float(run["started_at"])
        if end is not None:
            lost = int(end["log_lost"])
            note = f"{lost} bytes of its output could not be logged" if lost else ""
            return Standing("exited", supervisor, main, started_at, int(end["code"]), note=note, claimed_by=claimed_by)
        if alive or main.alive:
            return Standing("running", supervisor, main, started_at, stopping=stopping, claimed_by=claimed_by)
        end = _json(path / "exit.json")  # written since, between the two looks above
        code = None if end is None else int(end["code"])
        note = "" if end is not None else "its supervisor or the machine ended, its exit code is not known"
        return Standing("exited", supervisor, main, started_at, code, note=note, claimed_by=claimed_by)

    def observe(self, name: str) -> ObservedReplica | None:
        """The replica as the core sees it; None where it is gone or was not made by this program."""
        try:
            record = self.record(name)
        except ValueError as error:
            if name not in self._foreign:
                self._foreign.add(name)
                log.warning("left alone, not a replica: %s", error)
            return None
        if record is None:
            return None
        standing = self.standing(name)
        if not (self.root / name / "record.json").exists():  # removed while it was looked at
            return None
        return ObservedReplica(
            id=record.id,
            name=record.name,
            service=record.service,
            slot=record.slot,
            revision=record.revision,
            attempt=record.attempt,
            host=HOST,
            condition=standing.condition,
            started_at=standing.started_at,
            exit_code=standing.exit_code,
            address={port: f"{ADDRESS}:{number.number}" for port, number in record.ports.items()},
            generation=record.generation,
            token=record.token,
            stopping=standing.stopping,
            cpu_millis=record.cpu_millis,
            memory_bytes=record.memory_bytes,
            note=standing.note,
            made_at=record.made_at,
            displaces=record.displaces,
        )


def _claim(path: Path) -> tuple[ProcessIdentity | None, Literal["", "supervisor", "removal"]]:
    try:
        text = str((path / "claim").readlink())
    except FileNotFoundError:
        return None, ""
    if text == "removal":
        return None, "removal"
    pid, _, birth = text.partition(":")
    return ProcessIdentity(int(pid), birth), "supervisor"


def _json(path: Path) -> dict[str, float | str] | None:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    content: dict[str, float | str] = json.loads(text)
    return content
