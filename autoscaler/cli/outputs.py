"""Files that a command was asked to write: tried before the work that fills them, so that nobody waits for a report
that cannot be kept."""

from __future__ import annotations

from pathlib import Path

from autoscaler.cli.context import wrong_usage


def try_outputs(*files: Path | None) -> None:
    """What is to be written can be; nothing is left behind, and nothing that is there is changed. Raises
    `CommandError`, in the words of `write_output`."""
    for file in files:
        if file is None:
            continue
        there = file.exists()
        try:
            with file.open("ab"):
                pass
        except OSError as error:
            raise wrong_usage(f"cannot be written ({error.strerror})", "Name another file.", str(file)) from error
        if not there:
            file.unlink()
