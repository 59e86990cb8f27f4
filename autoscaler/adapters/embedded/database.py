"""The SQLite file behind the embedded stream: how it is opened, in which thread it is used, what its errors mean.

WAL with ``synchronous=FULL``: a commit that returned has reached the disk. Not for network file systems.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from autoscaler.configuration.settings import StreamSettings
from autoscaler.errors import ConfigurationError, Problem, StreamError

T = TypeVar("T")

CALL_S = 10.0
"""The longest that one call may take."""

BUSY_S = 5.0
"""How long a writer waits for another process's transaction."""


class CommitFailed(Exception):
    """COMMIT itself failed: the transaction may or may not be there."""


def database_path(settings: StreamSettings) -> Path:
    """Where the file is. Raises `ConfigurationError` where the settings name none, or its directory is missing."""
    if settings.path is None:
        raise ConfigurationError([Problem("stream.path", "is missing", "Name the file of the embedded stream.")])
    if not settings.path.parent.is_dir():
        what = f"directory {settings.path.parent} does not exist"
        raise ConfigurationError([Problem("stream.path", what, "Make it or correct the path.")])
    return settings.path


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is done inside, or nothing. Raises `CommitFailed` where nobody can tell which."""
    # A transaction that begins as a reader cannot become a writer once another one has written, whatever it waits.
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        # A full disk has rolled back by itself already.
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise CommitFailed(str(error)) from error


class Database:
    """One connection in a thread of its own; calls wait in line for it."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None

    async def run(self, work: Callable[[sqlite3.Connection], T], doing: str) -> T:
        """What ``work`` returns; once begun it is not interrupted, not even by a cancellation of this call.

        Raises `StreamError`: *unavailable* where the work raised, which rolls back; *unknown* where it is late or where
        the commit failed.
        """
        try:
            call = asyncio.get_running_loop().run_in_executor(self._thread, self._call, work)
        except RuntimeError as error:
            raise StreamError(f"{doing}: the database is closed") from error
        try:
            async with asyncio.timeout(CALL_S):
                return await asyncio.shield(call)
        except CommitFailed as error:
            raise StreamError(f"{doing}: commit failed ({error}). Check the disk", "unknown") from error
        except sqlite3.Error as error:
            raise StreamError(f"{doing}: {error}. Check the disk and the rights of {self._path}") from error
        except TimeoutError as error:
            raise StreamError(f"{doing}: not done within {CALL_S:.0f} s. Check the disk", "unknown") from error
        finally:
            call.add_done_callback(_retrieved)

    async def close(self, seconds: float) -> None:
        """Close the connection after the work in hand, or give up waiting for it."""
        closing = asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        await asyncio.wait({closing}, timeout=seconds)
        self._thread.shutdown(wait=False)

    def _call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = _connected(self._path)
        return work(self._connection)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        _journal(connection)
        connection.execute("PRAGMA synchronous=FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _journal(connection: sqlite3.Connection) -> None:
    """Switch to WAL; while another process does so this may be refused at once, in spite of the busy time-out."""
    give_up_at = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.02)


def _retrieved(call: asyncio.Future[Any]) -> None:
    # After a deadline nobody asks any more; an error that is not asked for would be reported as a fault of ours.
    if not call.cancelled():
        call.exception()
