"""Configuration files for tests: the smallest valid one, and what a load of a text says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from autoscaler.configuration import Loaded, load
from autoscaler.errors import ConfigurationError

SMALL = """\
cluster: shop
targets:
  local: {kind: process}
services:
  web:
    target: local
    policies: [{use: target_value, with: {metric: m, per_replica: 5}}]
"""


def written(directory: Path, text: str, name: str = "autoscaler.yaml") -> Path:
    """A file with that text."""
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def loaded(directory: Path, text: str, environ: Mapping[str, str] | None = None) -> Loaded:
    """The configuration that the text holds."""
    return load(written(directory, text), environ or {})


def problems(directory: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """What a load of the text says is wrong, the directory left out of the places."""
    try:
        loaded(directory, text, environ)
    except ConfigurationError as error:
        return [str(problem).replace(f"{directory}/", "") for problem in error.problems]
    return []


def a_service(body: str, rest: str = "") -> str:
    """A file with one service `web` on a process target; `body` is its flow mapping's inside."""
    return (
        f"cluster: shop\ntargets: {{local: {{kind: process}}}}\n{rest}\nservices:\n  web: {{target: local, {body}}}\n"
    )
