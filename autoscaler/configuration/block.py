"""The tree that a YAML text becomes: plain mappings and lists that remember where each entry was written.

Made by `document` and `environment`, merged by `services`, read by everything that has to name a line. Knows no schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoscaler.events.places import printable

ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an entry was written: ``path`` dotted as written there; ``variable`` where the environment gave it."""

    file: str
    line: int
    path: str
    variable: str = ""

    def __str__(self) -> str:
        return f"{ENVIRONMENT} {self.variable}" if self.variable else f"{self.file}:{self.line}"


class Block(dict[str, object]):
    """A YAML mapping. ``lines`` holds the line of each own key, ``foreign`` the origin of those merged in."""

    __slots__ = ("foreign", "home", "lines")

    def __init__(self, home: Origin) -> None:
        super().__init__()
        self.home = home
        self.lines: dict[str, int] = {}
        self.foreign: dict[str, Origin] | None = None

    def origin(self, key: str) -> Origin:
        """Where the entry under ``key`` was written."""
        if self.foreign and key in self.foreign:
            return self.foreign[key]
        home = self.home
        return Origin(home.file, self.lines.get(key, home.line), join(home.path, key), home.variable)

    def put(self, key: str, value: object, origin: Origin) -> None:
        """Sets an entry that was written elsewhere."""
        self[key] = value
        self.foreign = {**(self.foreign or {}), key: origin}


class Items(list[object]):
    """A YAML list; ``lines`` holds the line of each item."""

    __slots__ = ("home", "lines")

    def __init__(self, home: Origin) -> None:
        super().__init__()
        self.home = home
        self.lines: list[int] = []

    def origin(self, index: int) -> Origin:
        """Where the item at ``index`` was written."""
        home = self.home
        line = self.lines[index] if index < len(self.lines) else home.line
        return Origin(home.file, line, join(home.path, index), home.variable)


def join(path: str, step: str | int) -> str:
    """A dotted path with one more step: ``policies[0].use``; an odd key is cut and made printable."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    shown = printable(step)
    return f"{path}.{shown}" if path else shown


def merged(base: Block, over: Block) -> Block:
    """``over`` laid on ``base``, key by key through all mappings; lists and scalars replace. Both stay as they are."""
    result = Block(over.home)
    result.lines = over.lines
    foreign = dict(over.foreign or {})
    for key, value in base.items():
        if key not in over:
            result[key] = value
            foreign[key] = base.origin(key)
            continue
        upper = over[key]
        result[key] = merged(value, upper) if isinstance(value, Block) and isinstance(upper, Block) else upper
    for key, value in over.items():
        if key not in base:
            result[key] = value
    result.foreign = foreign or None
    return result


def without(block: Block, key: str) -> Block:
    """The block without one key; the same block where it has no such key."""
    if key not in block:
        return block
    rest = Block(block.home)
    rest.lines, rest.foreign = block.lines, block.foreign
    for name, value in block.items():
        if name != key:
            rest[name] = value
    return rest


def locate(root: Block, steps: Sequence[str | int]) -> Origin:
    """Where the entry at ``steps`` was written, or where it is missing from.

    Steps that name nothing in the tree are the labels that a validator puts between (the branch of a union): left out,
    unless the last one, which then is a missing key.
    """
    node: object = root
    origin = root.home
    for position, step in enumerate(steps):
        found = entry(node, step)
        if found is not None:
            node, origin = found
        elif isinstance(node, Block) and not str(step).startswith("<") and position == len(steps) - 1:
            origin = Origin(origin.file, origin.line, join(origin.path, step), origin.variable)
    return origin


def entry(node: object, step: str | int) -> tuple[object, Origin] | None:
    """What stands under ``step`` of a mapping or list and where it was written, or None where nothing does."""
    if isinstance(node, Block) and isinstance(step, str) and step in node:
        return node[step], node.origin(step)
    if isinstance(node, Items) and isinstance(step, int) and step < len(node):
        return node[step], node.origin(step)
    return None
