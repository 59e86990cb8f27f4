"""Which process a pid means: pid and birth together, so that a number used again is never taken for the replica's.

Linux only: births come from /proc, waiting from pidfds, with polling where a sandbox has none.
"""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import psutil

from autoscaler.adapters.process.supervisor import birth_of

POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process for ever: ``pid`` and ``birth`` (see `birth_of`)."""

    pid: int
    birth: str

    @property
    def alive(self) -> bool:
        """Whether that very process runs (a zombie has ended)."""
        return bool(self.birth) and birth_of(self.pid) == self.birth

    def open_pidfd(self) -> int | None:
        """A descriptor that gets readable at its end, the caller closes it; None where it has ended.

        Raises OSError where none can be had (EMFILE, ENOSYS): poll `alive` instead.
        """
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.alive:  # asked after opening: from here on the descriptor means this process
            return descriptor
        os.close(descriptor)
        return None

    def signal_group(self, number: int) -> bool:
        """Signals the process group it leads; False, and nothing is signalled, where it is no longer alive."""
        if not self.alive:
            return False
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    async def ended(self, timeout_s: float) -> bool:
        """True as soon as it has ended, False after ``timeout_s``."""
        try:
            descriptor = self.open_pidfd()
        except OSError:
            return await self._ended_by_polling(timeout_s)
        if descriptor is None:
            return True
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        loop.add_reader(descriptor, gone.set)
        try:
            await asyncio.wait_for(gone.wait(), timeout_s)
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return True

    async def _ended_by_polling(self, timeout_s: float) -> bool:
        clock = asyncio.get_running_loop()
        until = clock.time() + timeout_s
        while self.alive:
            if clock.time() >= until:
                return False
            await asyncio.sleep(POLL_S)
        return True


def reap(pid: int) -> None:
    """Collects a supervisor that became our child because we are the first process of a container."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def kill_marked(marker: str, group: int) -> int:
    """SIGKILLs processes left in ``group`` whose environment carries ``marker``; returns how many.

    For a replica whose supervisor was killed: nobody else clears what it had forked, and the leader is gone, so that
    the environment is what proves whose they are.
    """
    killed = 0
    for pid in psutil.pids():
        try:
            if os.getpgid(pid) != group:
                continue
            descriptor = os.pidfd_open(pid)
        except (ProcessLookupError, PermissionError):
            continue
        try:
            if marker.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                killed += 1
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        finally:
            os.close(descriptor)
    return killed
