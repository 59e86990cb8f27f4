"""The files of a configuration: read with limits, and the main file's tree completed by those that it includes.

Called by `loading` and `cache`. A file is read once, so that what was hashed is what was parsed.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoscaler.configuration.block import Block, Items, Origin
from autoscaler.configuration.complaints import problem_at
from autoscaler.configuration.document import read_document
from autoscaler.configuration.environment import Override, apply_override
from autoscaler.configuration.vocabulary import suggestion
from autoscaler.errors import Problem

MAIN_BYTES_MAX = 1 << 20
INCLUDED_BYTES_MAX = 64 << 20
INCLUDED_FILES_MAX = 20_000
PATTERNS_MAX = 1000
UNREAD = frozenset({"file", "yaml"})
"""The paths of problems after which a file is not known as a whole."""
_SHARED = ("templates", "services")


@dataclass(frozen=True, slots=True)
class Source:
    """One file as it was read; ``name`` is how problems call it."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Gathered:
    """The whole configuration as one tree; the included files; the patterns that found them."""

    root: Block
    included: tuple[Source, ...]
    patterns: tuple[str, ...]
    problems: tuple[Problem, ...]


def read_source(path: Path, name: str, bytes_max: int) -> Source | Problem:
    """The file's content, or why it can't be had; never waits on a pipe or a device."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return Problem("file", "is not a regular file", "Give a YAML file.", 0, name)
            content = file.read(bytes_max + 1)
    except IsADirectoryError:
        return Problem("file", "is a directory", "Give a YAML file.", 0, name)
    except FileNotFoundError:
        return Problem("file", "does not exist", "`autoscaler init` writes one; -c FILE names another.", 0, name)
    except (OSError, ValueError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "not a usable path"
        return Problem("file", f"cannot be read: {why}", "", 0, name)
    if len(content) > bytes_max:
        remedy = "Move services into files that `include:` names, or use templates."
        return Problem("file", f"is larger than {bytes_max} bytes", remedy, 0, name)
    return Source(name, content)


def parse(source: Source) -> tuple[Block, list[Problem]]:
    """The tree of one file."""
    try:
        text = source.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = source.content.count(b"\n", 0, error.start) + 1
        problem = Problem("file", "is not UTF-8 text", "Save it as UTF-8.", line, source.name)
        return Block(Origin(source.name, 1, "")), [problem]
    return read_document(text, source.name)


def include_files(patterns: Sequence[str], directory: Path) -> list[tuple[str, Path]]:
    """The files that the patterns name, each once, sorted; with the name that problems call it."""
    found: dict[str, Path] = {}
    for pattern in patterns:
        # Not Path.glob: that refuses absolute patterns and `..`.
        for match in glob.iglob(str(directory / pattern), recursive=True):  # noqa: PTH207
            path = Path(match)
            if not path.is_dir():
                found.setdefault(os.path.normpath(match), path)
            if len(found) > INCLUDED_FILES_MAX:
                return sorted(found.items())
    return sorted(found.items())


def gather(main: Source, path: Path, overrides: Sequence[Override]) -> Gathered:
    """The main file's tree with the included files' services and templates and the environment's values in it."""
    root, problems = parse(main)
    late = [override for override in overrides if override.steps[0] in _SHARED]
    for override in overrides:
        if override not in late:
            problems.extend(apply_override(root, override))
    patterns = _patterns(root)
    included = _include(root, patterns, path, problems)
    for override in late:
        problems.extend(apply_override(root, override))
    return Gathered(root, included, patterns, tuple(problems))


def _patterns(root: Block) -> tuple[str, ...]:
    include = root.get("include")
    usable = isinstance(include, Items) and len(include) <= PATTERNS_MAX
    return (
        tuple(item for item in include if isinstance(item, str) and item)
        if usable and isinstance(include, Items)
        else ()
    )


def _include(root: Block, patterns: Sequence[str], main: Path, problems: list[Problem]) -> tuple[Source, ...]:
    files = include_files(patterns, main.parent)
    origin = root.origin("include")
    if len(files) > INCLUDED_FILES_MAX:
        problems.append(problem_at(origin, f"names more than {INCLUDED_FILES_MAX} files", "Put more into each."))
        return ()
    for pattern in patterns:
        if not include_files([pattern], main.parent):
            exact = not glob.has_magic(pattern)
            what = f"{pattern!r} matches no file"
            remedy = "Correct the path; it is relative to this file." if exact else ""
            problems.append(problem_at(origin, what, remedy, severity="error" if exact else "warning"))
    sources: list[Source] = []
    left = INCLUDED_BYTES_MAX
    for name, path in files:
        source = read_source(path, name, left)
        if isinstance(source, Problem):
            problems.append(source)
            continue
        left -= len(source.content)
        sources.append(source)
        tree, found = parse(source)
        problems.extend(found)
        _adopt(root, tree, problems)
    return tuple(sources)


def _adopt(root: Block, tree: Block, problems: list[Problem]) -> None:
    """Adds the services and templates of an included file; anything else is out of place there."""
    for key, entries in tree.items():
        origin = tree.origin(key)
        if key not in _SHARED:
            remedy = suggestion(key, _SHARED) if key != "defaults" else "Move it to the main file."
            problems.append(problem_at(origin, "an included file holds `services` and `templates` only", remedy))
            continue
        if entries is None:
            continue
        if not isinstance(entries, Block):
            problems.append(problem_at(origin, "must be a mapping", "Write `name:` lines below it."))
            continue
        mine = root.get(key)
        if not isinstance(mine, Block):
            mine = Block(origin)
            root.put(key, mine, origin)
        foreign = dict(mine.foreign or {})
        for name, value in entries.items():
            if name in mine:
                first = mine.origin(name)
                problems.append(
                    problem_at(entries.origin(name), f"written twice, first at {first}", "Keep one of them.")
                )
                continue
            mine[name] = value
            foreign[name] = entries.origin(name)
        mine.foreign = foreign


def fingerprint(environ: Mapping[str, str], prefix: str) -> list[tuple[str, str]]:
    """The variables that a configuration depends on."""
    return sorted((name, value) for name, value in environ.items() if name.startswith(prefix))
