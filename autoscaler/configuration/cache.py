"""The result of a load kept on disk, so that a restart with ten thousand services does not parse and validate again.

Called by `loading`. One file a configuration path: a line of JSON that says what the result was made of, then the
pickle. The line is checked before anything is unpickled, and only a file of mode 0600 that this user owns, in a
directory of mode 0700 that this user owns, is read at all: whoever can write there is this user already. Whatever is
wrong with a cache, it is ignored and written again.
"""

from __future__ import annotations

import contextlib
import copyreg
import hashlib
import io
import json
import os
import pickle
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from autoscaler.configuration.sources import INCLUDED_BYTES_MAX, Source, include_files, read_source

FORMAT = 1
CACHE_BYTES_MAX = 512 << 20
_BUILT_FROM = ("core/settings.py", "core/revision.py", "core/amount.py", "events/revision_model.py")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LoadKey:
    """What a result depends on besides the included files."""

    path: str
    digest: str

    @classmethod
    def of(cls, path: Path, main: Source, environ: Sequence[tuple[str, str]]) -> LoadKey:
        """The key of a load: program, interpreter, path, main file and environment."""
        absolute = str(path.absolute())
        parts = [_program(), absolute, str(path), _hash(main.content), [list(pair) for pair in environ]]
        return cls(absolute, _hash(json.dumps(parts).encode()))


class Cache:
    """A directory of kept results."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, key: LoadKey, base: Path, kind: type[T]) -> T | None:
        """The kept result, or None where there is none for this very content."""
        content = self._read(key)
        if content is None:
            return None
        line, _, rest = content.partition(b"\n")
        try:
            header = json.loads(line)
            fits = header["format"] == FORMAT and header["key"] == key.digest and header["payload"] == _hash(rest)
            if not fits or header["included"] != self._included(header["patterns"], base):
                return None
            # The file is this user's own and unchanged since it was written, see the module's docstring.
            result = pickle.loads(rest)  # noqa: S301
        except Exception:  # noqa: BLE001 - a pickle of another build can raise anything; the answer is to load afresh
            return None
        return result if isinstance(result, kind) else None

    def keep(self, key: LoadKey, patterns: Sequence[str], included: Sequence[Source], result: object) -> None:
        """Writes the result; a directory or disk that does not allow it is left alone."""
        buffer = io.BytesIO()
        pickler = pickle.Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL)
        pickler.dispatch_table = {**copyreg.dispatch_table, MappingProxyType: _reduce_proxy}
        pickler.dump(result)
        payload = buffer.getvalue()
        header = {
            "format": FORMAT,
            "key": key.digest,
            "payload": _hash(payload),
            "patterns": list(patterns),
            "included": [[source.name, _hash(source.content)] for source in included],
        }
        with contextlib.suppress(OSError):
            self._write(key, json.dumps(header).encode() + b"\n" + payload)

    def _file(self, key: LoadKey) -> Path:
        return self._directory / f"configuration-{_hash(key.path.encode())[:32]}.cache"

    def _read(self, key: LoadKey) -> bytes | None:
        try:
            if not _is_private(os.lstat(self._directory), stat.S_ISDIR, 0o700):
                return None
            descriptor = os.open(self._file(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                if not _is_private(status, stat.S_ISREG, 0o600) or status.st_size > CACHE_BYTES_MAX:
                    return None
                return file.read(CACHE_BYTES_MAX)
        except OSError:
            return None

    def _write(self, key: LoadKey, content: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(os.lstat(self._directory), stat.S_ISDIR, 0o700):
            return
        final = self._file(key)
        part = final.with_suffix(f".{os.getpid()}.part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            part.replace(final)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def _included(self, patterns: Sequence[str], base: Path) -> list[list[str]] | None:
        found, left = [], INCLUDED_BYTES_MAX
        for name, path in include_files(patterns, base):
            source = read_source(path, name, left)
            if not isinstance(source, Source):
                return None
            left -= len(source.content)
            found.append([name, _hash(source.content)])
        return found


def _reduce_proxy(proxy: MappingProxyType[Any, Any]) -> tuple[Any, ...]:
    return proxy_of, (dict(proxy),)


def proxy_of(mapping: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    """What a kept mapping proxy is made again with; pickle cannot name the type itself."""
    return MappingProxyType(mapping)


def _is_private(status: os.stat_result, is_kind: Any, mode: int) -> bool:
    return bool(is_kind(status.st_mode)) and status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == mode


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _program() -> list[str]:
    """What takes part in a load: versions, and the program's own files, which an editable install changes under one."""
    versions = [f"{name} {_version(name)}" for name in ("eventscaler", "pydantic", "pyyaml")]
    package = Path(__file__).parent
    files = [*sorted(package.glob("*.py")), *(package.parent / name for name in _BUILT_FROM)]
    states = [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files if file.is_file()]
    return [sys.version, *versions, *states]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"
