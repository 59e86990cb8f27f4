"""The lock that makes one process the owner of an embedded stream; the kernel lets go of it when the process ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from autoscaler.errors import StreamError


class OwnerLock:
    """A locked file beside the database, apart from it: closing the database elsewhere would drop a lock on itself."""

    def __init__(self, database: Path, prefix: str) -> None:
        self._path = database.with_name(f"{database.name}.{prefix}.lock")
        self._file = -1

    def acquire(self) -> None:
        """Become the owner. Raises `StreamError` that names the process which is."""
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StreamError(f"lock {self._path}: {error.strerror}. Make the directory writable") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            raise self._owned_by(self.holder() or "?") from error
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file

    def refuse_second(self) -> None:
        """Raise `StreamError` where another process is the owner; changes nothing."""
        holder = self.holder()
        if holder is not None:
            raise self._owned_by(holder)

    def _owned_by(self, holder: str) -> StreamError:
        text = f"the embedded stream is owned by process {holder} (lock {self._path})"
        return StreamError(f"{text}. Stop it, or use stream.kind kafka for several members")

    def holder(self) -> str | None:
        """The process that is the owner now, None where there is none; ``?`` where it has not said who it is yet."""
        try:
            file = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StreamError(f"lock {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return os.pread(file, 32, 0).decode("ascii", "replace").strip() or "?"
        finally:
            os.close(file)
        return None

    def release(self) -> None:
        """Own it no longer. The file stays: removing it would let two processes lock two files of one name."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
