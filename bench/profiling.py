"""Where the time goes, for whoever improves a figure: ``--profile DIRECTORY`` writes one cProfile file a process."""

from __future__ import annotations

import cProfile
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def profiled(directory: str | None) -> Iterator[None]:
    """Profile the body into a file of this process's below ``directory``; without one, do nothing."""
    if directory is None:
        yield
        return
    profile = cProfile.Profile()
    profile.enable()
    try:
        yield
    finally:
        profile.disable()
        profile.dump_stats(Path(directory) / f"{os.getpid()}.prof")
