"""Port numbers for replicas, chosen at creation and reserved among the members of a machine.

Numbers come from below the kernel's ephemeral range (32768 and up on Linux), so that no outgoing connection takes one
between a replica's creation and its start. A reservation is a symlink to the replica's directory, which is atomic to
make and dangles by itself once the replica is gone.
"""

from __future__ import annotations

import errno
import secrets
import socket
import time
from pathlib import Path

FIRST, LAST = 20000, 32767
STALE_AFTER_S = 60.0
TRIES = 200


def is_free(number: int) -> bool:
    """Whether a listener could bind it now, on any of the machine's addresses."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", number))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def free_numbers(count: int) -> list[int]:
    """So many different numbers that are free now, reserved for nobody; for listeners that open at once."""
    found: dict[int, None] = {}
    for _ in range(TRIES):
        number = _drawn()
        if is_free(number):
            found[number] = None
        if len(found) == count:
            return list(found)
    raise OSError(errno.EADDRNOTAVAIL, f"fewer than {count} free ports found between {FIRST} and {LAST}")


def _drawn() -> int:
    return FIRST + secrets.randbelow(LAST - FIRST + 1)


class PortReservations:
    """Reservations under ``<dir>/.ports``, shared by all clusters of that directory."""

    def __init__(self, base: Path) -> None:
        self._directory = base.absolute() / ".ports"

    def reserve(self, replica: Path) -> int:
        """A number that is free now and reserved for ``replica`` from now on. Raises OSError where none is found."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for _ in range(TRIES):
            number = _drawn()
            if not self._take(number, replica):
                continue
            if is_free(number):
                return number
            self.release(number, replica)
        raise OSError(errno.EADDRNOTAVAIL, f"no free port found between {FIRST} and {LAST}")

    def release(self, number: int, replica: Path) -> None:
        """The number may be reserved again; nothing happens where it is another's."""
        link = self._directory / str(number)
        try:
            if link.readlink() == replica:
                link.unlink()
        except FileNotFoundError:
            return

    def _take(self, number: int, replica: Path) -> bool:
        link = self._directory / str(number)
        try:
            link.symlink_to(replica)
        except FileExistsError:
            self._drop_if_stale(link)
            return False
        return True

    def _drop_if_stale(self, link: Path) -> None:
        try:
            # A young dangling link is a creation under way.
            if not link.exists() and time.time() - link.lstat().st_mtime > STALE_AFTER_S:
                link.unlink()
        except FileNotFoundError:
            return
