"""A revision's secrets: read from their files on the owner's machine, and known again by a mark of their content.

Called by the targets that deliver them. The text leaves this machine only for the replica it is meant for: no error, no
mark, no representation holds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from autoscaler.core.revision import Pairs

SIZE_MAX = 500 * 1024
"""Bytes of one secret: what Swarm takes as well."""

MARK_DIGITS = 6
"""Hexadecimal digits of a mark: another content has the same in one of 16 million cases, and who reads the mark learns
24 bits at most of what it was made of."""

COST = 2**14
"""scrypt's, with r 8: about 50 ms and 16 MiB a guess (RFC 7914). A mark is in the ledger for all to read, and a secret
may be a word out of a list."""


class SecretRefused(Exception):
    """A secret cannot be had, or is not what was accepted; the text names the secret and its file."""


def scope_of(cluster: str, service: str) -> str:
    """What makes equal secrets of different services look different."""
    return f"{cluster}/{service}"


def read_secrets(files: Pairs, marks: Pairs, scope: str) -> dict[str, bytes]:
    """Each secret's content, byte for byte as in its file. Raises SecretRefused where a file cannot be read or holds
    something else than its mark says; a secret without a mark was accepted by a program that made none."""
    accepted = dict(marks)
    found = {}
    for name, path in files:
        found[name] = _read(name, path)
        if name in accepted and _mark(scope, name, found[name]) != accepted[name]:
            text = f"{_called(name, path)} has changed since the revision was accepted. Deploy again to run with it"
            raise SecretRefused(text)
    return found


def marks_of(files: Pairs, scope: str) -> Pairs:
    """A mark of each secret's present content; ``scope`` as `scope_of` says it.
    Raises SecretRefused where a file cannot be read."""
    return tuple((name, _mark(scope, name, _read(name, path))) for name, path in files)


def told_paths(paths: Mapping[str, str], env: Mapping[str, str]) -> dict[str, str]:
    """The environment with ``NAME_FILE`` for each secret, the name by which many images know a secret's file; nothing
    in ``env`` leads elsewhere."""
    return dict(env) | {f"{name}_FILE": path for name, path in paths.items()}


def _read(name: str, path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            content = file.read(SIZE_MAX + 1)
    except OSError as error:
        text = f"{_called(name, path)} cannot be read on the owner's machine: {error.strerror}"
        raise SecretRefused(text) from None
    if len(content) > SIZE_MAX:
        raise SecretRefused(f"{_called(name, path)} is larger than {SIZE_MAX} bytes")
    return content


def _called(name: str, path: str) -> str:
    return f"secret {name}: its file {path}"


def _mark(scope: str, name: str, content: bytes) -> str:
    return _mark_of_digest(f"{scope}/{name}", hashlib.sha256(content).digest())


@lru_cache(maxsize=4096)
def _mark_of_digest(salt: str, digest: bytes) -> str:
    return hashlib.scrypt(digest, salt=salt.encode(), n=COST, r=8, p=1).hex()[:MARK_DIGITS]
