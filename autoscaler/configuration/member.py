"""The member's static id, held by a lock as long as the process lives. Called by `run`.

``member: auto`` is the host name and the lowest number that no other process of this machine holds, so that a restart
gets the same id and two members on one machine differ. The kernel gives a lock back when its process ends, however it
ends; lock files stay, because removing one while another process opens it would let two hold the same number.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoscaler.configuration.settings import Configuration
from autoscaler.errors import ConfigurationError, Problem

MEMBERS_MAX = 256
ID_CHARS_MAX = 200


@dataclass(slots=True)
class Member:
    """A held id; `release` lets another process have it."""

    id: str
    _descriptor: int
    _path: Path
    _pattern: str

    def others(self) -> bool:
        """Whether another process of this machine holds an id of the same cluster now."""
        return any(path != self._path and _is_held(path) for path in self._path.parent.glob(self._pattern))

    def release(self) -> None:
        """Gives the id back; a second call changes nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def lock_directory(configuration: Configuration, environ: Mapping[str, str]) -> Path:
    """Where members of one machine find each other's locks: in the process target's ``dir``, else this user's own."""
    for target in configuration.targets.values():
        if target.dir is not None:
            return target.dir / "members"
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if runtime and Path(runtime).is_dir() and os.access(runtime, os.W_OK):
        return Path(runtime) / "autoscaler"
    return Path(tempfile.gettempdir()) / f"autoscaler-{os.geteuid()}"


def hold_member(configuration: Configuration, directory: Path, host_name: str | None = None) -> Member:
    """The id of this member, locked in ``directory``.

    Raises ConfigurationError where a configured id is held by another process, or no number is free.
    """
    cluster, member = configuration.cluster, configuration.stream.member
    _prepare(directory)
    if member != "auto":
        held = _held(directory, cluster, member)
        if held is None:
            what = "is held by another process on this machine"
            raise ConfigurationError([Problem("stream.member", what, "Give each member its own, or use auto.")])
        return held
    host = _usable(socket.gethostname() if host_name is None else host_name)
    for number in range(MEMBERS_MAX):
        held = _held(directory, cluster, f"{host}-{number}")
        if held is not None:
            return held
    what = f"auto finds none of {MEMBERS_MAX} numbers free on this machine"
    raise ConfigurationError([Problem("stream.member", what, "End members that are not needed.")])


def _held(directory: Path, cluster: str, member: str) -> Member | None:
    """The member whose id is locked now; None where another process holds it."""
    path = directory / f"{cluster}.{member}.lock"
    descriptor = _lock(path)
    return Member(member, descriptor, path, f"{cluster}.*.lock") if descriptor is not None else None


def _usable(host_name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", host_name)[: ID_CHARS_MAX - 4].strip("-.") or "member"


def _prepare(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = os.lstat(directory)
    except OSError as error:
        raise _unusable(directory, os.strerror(error.errno or 0)) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise _unusable(directory, "it is not this user's own directory")


def _lock(path: Path) -> int | None:
    """The descriptor that holds the lock, or None where another process does."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _unusable(path, os.strerror(error.errno or 0)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        os.close(descriptor)
        raise _unusable(path, os.strerror(error.errno or 0)) from error
    return descriptor


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        # Shared, and for a moment: a process that takes a number just now takes the next one.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _unusable(path: Path, why: str) -> ConfigurationError:
    what = f"cannot be locked at {path}: {why}"
    return ConfigurationError([Problem("stream.member", what, "Make the directory writable for this user.")])
