"""Paths that the configuration names: resolved against the file's directory, and readable. Called by the builders."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from autoscaler.configuration.block import Origin
from autoscaler.configuration.complaints import problem_at
from autoscaler.errors import Problem


@dataclass(slots=True)
class FileCheck:
    """Resolves paths; asks the file system once a path."""

    directory: Path
    _asked: dict[Path, str] = field(default_factory=dict)

    @property
    def asked(self) -> tuple[Path, ...]:
        """The files that were looked for."""
        return tuple(self._asked)

    def resolve(self, written: str) -> Path:
        """The path as the program uses it: absolute."""
        return Path(os.path.normpath(self.directory / written))

    def readable(self, written: str, origin: Origin, problems: list[Problem]) -> Path:
        """The resolved path; adds a problem where it is no file that this user may read."""
        path = self.resolve(written)
        if path not in self._asked:
            self._asked[path] = _why_not(path)
        if self._asked[path]:
            problems.append(problem_at(origin, self._asked[path], "Correct the path or the file's permissions."))
        return path


def all_readable(paths: Iterable[Path]) -> bool:
    """Whether every one of the files can be read."""
    return not any(_why_not(path) for path in paths)


def _why_not(path: Path) -> str:
    try:
        if not path.exists():
            return "the file does not exist"
        if path.is_dir():
            return "names a directory, not a file"
    except (OSError, ValueError):
        return "not a usable path"
    return "" if os.access(path, os.R_OK) else "the file cannot be read"
