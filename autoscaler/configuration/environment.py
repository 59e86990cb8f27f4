"""Overrides from the environment: ``AUTOSCALER_STREAM__BROKERS=a:1,b:2`` is ``stream: {brokers: [a:1, b:2]}``.

Called by `loading` before validation, so that an override obeys the same rules as the file. Two underscores are a step
down. A list is JSON or separated by commas, a mapping is JSON, all else is read as in YAML, text where the key is text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoscaler.configuration.block import Block, Items, Origin, join
from autoscaler.configuration.complaints import problem_at
from autoscaler.configuration.document import DEPTH_MAX, scalar
from autoscaler.configuration.models import FileModel
from autoscaler.configuration.vocabulary import child, is_list, is_text, known_keys, suggestion
from autoscaler.errors import Problem

PREFIX = "AUTOSCALER_"
VALUE_CHARS_MAX = 65_536

_RESERVED = re.compile(r"AUTOSCALER_(?:CONFIG|REQUIRE|FAILPOINT|TEST_.*|[A-Z0-9_]+_PLUGINS)")
# What the kubelet injects for Services named autoscaler or autoscaler-*, where enableServiceLinks is on.
_INJECTED = re.compile(
    r"AUTOSCALER_(?:PORT(?:_.*)?|SERVICE_.*|(?:[A-Z0-9]+_)+SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)"
    r"|(?:[A-Z0-9]+_)+PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)


@dataclass(frozen=True, slots=True)
class Override:
    """One variable that sets a value of the file."""

    variable: str
    steps: tuple[str, ...]
    text: str


def overrides_of(environ: Mapping[str, str]) -> list[Override]:
    """The variables that are meant for the file, in the order of their names."""
    found = []
    for variable in sorted(environ):
        meant = variable.startswith(PREFIX) and not _RESERVED.fullmatch(variable) and not _INJECTED.fullmatch(variable)
        if meant:
            steps = tuple(step.lower() for step in variable.removeprefix(PREFIX).split("__"))
            found.append(Override(variable, steps, environ[variable]))
    return found


def apply_override(root: Block, override: Override) -> list[Problem]:
    """Sets the value in ``root``; returns why not where it can't be set."""
    block, annotation, names = root, FileModel, list[str]()
    for position, step in enumerate(override.steps):
        key = _key(block, step, known_keys(annotation, ()))
        annotation = child(annotation, key)
        if annotation is None or not step:
            known = known_keys(_annotation_of(names), ())
            return [_unknown(override, position, known)]
        names.append(key)
        if position == len(override.steps) - 1:
            return _set(block, key, override, annotation, names)
        below = block.get(key)
        if not isinstance(below, Block):
            below = Block(Origin("", 0, ".".join(names), override.variable))
            block.put(key, below, below.home)
        block = below
    return []


def _annotation_of(names: list[str]) -> Any:
    annotation: Any = FileModel
    for name in names:
        annotation = child(annotation, name)
    return annotation


def _key(block: Block, step: str, known: tuple[str, ...]) -> str:
    """The key that a step means: variables have no dashes and no lower case, keys do."""
    if step in block or step in known:
        return step
    for key in block:
        if key.lower().replace("-", "_").replace(".", "_") == step:
            return key
    return step.replace("_", "-") if not known else step


def _unknown(override: Override, position: int, known: tuple[str, ...]) -> Problem:
    wrong = override.steps[position]
    remedy = suggestion(wrong, known)
    if remedy.startswith("Did you mean"):
        right = (*override.steps[:position], remedy.split('"')[1], *override.steps[position + 1 :])
        remedy = f"Did you mean {PREFIX}{'__'.join(right).upper()}?"
    return Problem(override.variable, "names no key of the configuration", remedy)


def _set(block: Block, key: str, override: Override, annotation: Any, names: list[str]) -> list[Problem]:
    origin = Origin("", 0, ".".join(names), override.variable)
    try:
        block.put(key, _value(override.text, annotation, origin), origin)
    except ValueError as error:
        what, _, remedy = str(error).partition("; ")
        return [problem_at(origin, what, remedy)]
    return []


def _value(text: str, annotation: Any, origin: Origin) -> object:
    if len(text) > VALUE_CHARS_MAX or "\x00" in text:
        raise ValueError(f"is longer than {VALUE_CHARS_MAX} characters; Put it into the file.")
    if is_text(annotation):
        return text
    stripped = text.strip()
    if stripped.startswith(("{", "[")):
        return _tree(_json(stripped), origin, 0)
    if is_list(annotation):
        parts = [part.strip() for part in stripped.split(",")]
        return _tree([part for part in parts if part], origin, 0)
    return scalar(stripped)


def _json(text: str) -> object:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("has a key twice")
        return found

    def constant(_name: str) -> object:
        raise ValueError("has a number that is not finite")

    try:
        value: object = json.loads(text, object_pairs_hook=unique, parse_constant=constant)
    except (ValueError, RecursionError):
        raise ValueError('is not valid JSON; Write ["a", "b"] or {"key": "value"}.') from None
    return value


def _tree(value: object, origin: Origin, depth: int) -> object:
    if depth > DEPTH_MAX:
        raise ValueError(f"is nested deeper than {DEPTH_MAX} levels; Flatten it.")
    if isinstance(value, dict):
        block = Block(origin)
        for key, item in value.items():
            block[key] = _tree(item, Origin("", 0, join(origin.path, key), origin.variable), depth + 1)
        return block
    if isinstance(value, list):
        items = Items(origin)
        for index, item in enumerate(value):
            items.append(_tree(item, Origin("", 0, join(origin.path, index), origin.variable), depth + 1))
        return items
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("has a number that is not finite; Write a plain number.")
    return value
