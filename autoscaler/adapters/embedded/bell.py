"""Tells waiting processes at once that the database has news: one named pipe per listener, in a directory beside it.

Whoever commits rings every pipe. It is only a hint: a listener looks by itself now and then, too.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os
from contextlib import suppress
from pathlib import Path

LOGGER = logging.getLogger(__name__)

_numbers = itertools.count()


def bell_directory(database: Path) -> Path:
    """Where the pipes of a database's listeners are."""
    return database.with_name(f"{database.name}-listeners")


class Bell:
    """A pipe that others write a byte to; `wait` returns when they did."""

    def __init__(self, database: Path) -> None:
        self._directory = bell_directory(database)
        self._path: Path | None = None
        self._pipe = -1
        self._rung = asyncio.Event()

    def hang(self) -> None:
        """Listen from now on. Where the file system has no pipes, `wait` merely ends at its time-out."""
        name = f"{os.getpid()}-{next(_numbers)}"
        hidden = self._directory / f".{name}"
        try:
            self._make(hidden)
            # Opened before others can see it: a pipe in sight without a reader is one whose owner died.
            self._pipe = os.open(hidden, os.O_RDWR | os.O_NONBLOCK)
            self._path = hidden.rename(self._directory / name)
        except OSError as error:
            LOGGER.debug("no named pipe in %s: %s", self._directory, error)
            self.unhang()
            return
        asyncio.get_running_loop().add_reader(self._pipe, self._hear)

    def _make(self, hidden: Path) -> None:
        for last in (False, True):
            self._directory.mkdir(exist_ok=True)
            try:
                os.mkfifo(hidden, 0o600)
                return
            except FileNotFoundError:
                # The last of the other listeners has just taken the directory away.
                if last:
                    raise

    async def wait(self, seconds: float) -> bool:
        """Whether it rang, or had rung since the last call, within so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        rang = self._rung.is_set()
        self._rung.clear()
        return rang

    def ring(self) -> None:
        """Wake the waiter of this very bell."""
        self._rung.set()

    def unhang(self) -> None:
        """Listen no longer."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None
            with suppress(OSError):
                self._directory.rmdir()
        if self._pipe >= 0:
            asyncio.get_running_loop().remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = -1

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._pipe, 4096)
        self._rung.set()


def ring_all(database: Path) -> None:
    """Wake every listener of the database; the pipes of dead ones are removed."""
    try:
        pipes = list(bell_directory(database).iterdir())
    except OSError:
        return
    for pipe in pipes:
        if not pipe.name.startswith("."):
            _ring(pipe)


def _ring(path: Path) -> None:
    try:
        pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ENXIO:
            path.unlink(missing_ok=True)
        return
    try:
        # Full: it has rung already.
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(pipe, b"\0")
    finally:
        os.close(pipe)
