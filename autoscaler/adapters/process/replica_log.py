"""Reading the bounded log of a replica: ``log.1`` (older) and ``log``."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO

FOLLOW_S = 0.2


def _last_lines(directory: Path, tail: int) -> tuple[list[bytes], BinaryIO | None]:
    """The last ``tail`` lines and the newest file, positioned at its end."""
    kept: deque[bytes] = deque(maxlen=max(tail, 0))
    newest: BinaryIO | None = None
    for name in ("log.1", "log"):
        try:
            newest = (directory / name).open("rb")
        except FileNotFoundError:
            newest = None
            continue
        kept.extend(newest)
        if name == "log.1":
            newest.close()
    return list(kept), newest


def _rotated(directory: Path, file: BinaryIO) -> bool:
    try:
        return (directory / "log").stat().st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


async def lines(directory: Path, *, follow: bool, tail: int, running: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Lines without their newline. Following ends when the replica has ended and everything was read."""
    kept, file = await asyncio.to_thread(_last_lines, directory, tail)
    try:
        for line in kept:
            yield line.rstrip(b"\n")
        rest = b""
        while follow:
            last_look = not running()
            if file is None and (directory / "log").exists():
                file = (directory / "log").open("rb")
            moved = file is not None and _rotated(directory, file)
            chunk = file.read() if file is not None else b""
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line
            if moved and file is not None:
                file.close()
                file = None
            elif last_look:
                break
            else:
                await asyncio.sleep(FOLLOW_S)
        if rest:
            yield rest
    finally:
        if file is not None:
            file.close()
