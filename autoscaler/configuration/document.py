"""YAML text to a `Block`: strict, safe, bounded.

Called by `sources`, and for values of the environment. The text is composed from the parser's events, not by PyYAML's
own loaders: those keep the last of duplicate keys, read ``17:00`` as 1020, ``no`` as False and ``0123`` as 83, build a
tree without lines, and recurse as deep as the text asks. Here plain scalars follow JSON's rules (plus ``~`` and
``.5``), all else is text. Messages never repeat a scalar, a tag or an anchor: an unquoted password may look like any of
them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, cast

import yaml

from autoscaler.configuration.block import Block, Items, Origin, join
from autoscaler.errors import Problem

DEPTH_MAX = 32
ENTRIES_MAX = 4_000_000
ALIASES_MAX = 10_000
ALIASED_ENTRIES_MAX = 200_000
PROBLEMS_MAX = 200
NUMBER_CHARS_MAX = 40

_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)?\.?[0-9]+(?:[eE][-+]?[0-9]{1,3})?")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
_TAGS = {"tag:yaml.org,2002:" + name for name in ("str", "int", "float", "bool", "null", "seq", "map")}
_ODD_NUMBER = re.compile(r"-?0[0-9]+(?:\.[0-9]+)?")


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet; ``key`` is the pending key of a mapping."""

    node: Block | Items
    anchor: str | None
    key: str | None = None
    key_line: int = 0
    merges: list[Block] = field(default_factory=list)
    skipped: bool = False


class _Stop(Exception):
    """No sense in reading on."""


def read_document(text: str, file: str) -> tuple[Block, list[Problem]]:
    """The mapping that ``text`` holds and everything wrong with its form; the mapping is what could be read of it."""
    composer = _Composer(file)
    try:
        composer.run(text)
    except _Stop:
        pass
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = _syntax(str(getattr(error, "problem", "") or getattr(error, "reason", "")))
        composer.complain(what, "Check the indentation, quotes and brackets there.", mark.line + 1 if mark else 1)
    root = composer.root
    if root is None:
        if not composer.problems:
            composer.complain("the file is empty", "`autoscaler init` writes one to start from.", 1)
        root = Block(Origin(file, 1, ""))
    if not isinstance(root, Block):
        composer.complain("the file is not a mapping", "Write `key: value` lines.", 1)
        root = Block(Origin(file, 1, ""))
    return root, composer.problems


def _syntax(problem: str) -> str:
    """The parser's words, which are fixed, single characters of the text aside; those about tags may quote one."""
    if re.fullmatch(r"[A-Za-z ,<>:()'&*?|{}\[\]-]{3,120}", problem) and "tag" not in problem:
        return f"not valid YAML: {problem}"
    return "not valid YAML"


def scalar(text: str) -> object:
    """What a plain scalar means: null, true or false, a number as JSON writes it, or else text."""
    if text in _NULLS:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if _INT.fullmatch(text):
        return int(text)
    if (
        _FLOAT.fullmatch(text)
        and not _ODD_NUMBER.match(text)
        and len(text) <= NUMBER_CHARS_MAX
        and ("." in text or "e" in text.lower())
    ):
        number = float(text)
        return number if math.isfinite(number) else text
    return text


class _Composer:
    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.root: object = None
        self._stack: list[_Open] = []
        self._anchors: dict[str, object] = {}
        self._sizes: dict[str, int] = {}
        self._entries = 0
        self._aliased = 0
        self._aliases = 0
        self._documents = 0

    def complain(self, what: str, remedy: str, line: int, path: str = "yaml") -> None:
        self.problems.append(Problem(path, what, remedy, line, self.file))
        if len(self.problems) >= PROBLEMS_MAX:
            raise _Stop

    def run(self, text: str) -> None:
        parser = _PARSER(text)
        try:
            while parser.check_event():
                self._take(parser.get_event())
        finally:
            parser.dispose()

    def _take(self, event: Any) -> None:
        line = event.start_mark.line + 1
        match event:
            case yaml.ScalarEvent():
                self._count(line)
                self._scalar(event, line)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._count(line)
                self._open(event, line)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close(line)
            case yaml.AliasEvent():
                self._alias(event, line)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self.complain("more than one document", "Keep one document a file, without a second ---.", line)
                    raise _Stop
            case _:
                pass

    def _count(self, line: int) -> None:
        self._entries += 1
        if self._entries > ENTRIES_MAX:
            self.complain(f"more than {ENTRIES_MAX} entries", "Use templates instead.", line)
            raise _Stop

    def _count_aliased(self, line: int, entries: int) -> None:
        self._aliased += entries
        if self._aliased > ALIASED_ENTRIES_MAX:
            what = f"aliases that stand for more than {ALIASED_ENTRIES_MAX} entries"
            self.complain(what, "Use templates instead.", line)
            raise _Stop

    def _scalar(self, event: Any, line: int) -> None:
        text: str = event.value
        if _UNUSABLE.search(text):
            self.complain("a text holds a NUL character or half a surrogate pair", "Remove it.", line)
            text = ""
        value: object = text
        self._check_tag(event.tag, line)
        if event.implicit[0] and not event.tag:
            value = scalar(text)
        self._anchor(event.anchor, value, 1)
        self._place(value, line, text, plain=bool(event.implicit[0]))

    def _check_tag(self, tag: str | None, line: int) -> None:
        if tag is not None and tag != "!" and tag not in _TAGS:
            self.complain("a YAML tag that has no meaning here", "Put a text that begins with ! in quotes.", line)

    def _open(self, event: Any, line: int) -> None:
        if len(self._stack) >= DEPTH_MAX:
            self.complain(f"nested deeper than {DEPTH_MAX} levels", "Flatten it.", line)
            raise _Stop
        self._check_tag(event.tag, line)
        home = Origin(self.file, line, self._path_of_next())
        node: Block | Items = Block(home) if isinstance(event, yaml.MappingStartEvent) else Items(home)
        top = self._stack[-1] if self._stack else None
        is_key = top is not None and isinstance(top.node, Block) and top.key is None
        if is_key:
            self.complain("a list or mapping used as a key", "Quote texts that hold { [ or ?.", line)
        self._stack.append(_Open(node, event.anchor, skipped=is_key))

    def _path_of_next(self) -> str:
        if not self._stack:
            return ""
        top = self._stack[-1]
        step = len(top.node) if isinstance(top.node, Items) else top.key or ""
        return join(top.node.home.path, step)

    def _close(self, line: int) -> None:
        done = self._stack.pop()
        for base in done.merges:
            for key in base:
                if key not in done.node:
                    cast(Block, done.node).put(key, base[key], base.origin(key))
        # Registered at its end only, so that a collection can't hold itself.
        if done.anchor is not None:
            self._anchor(done.anchor, done.node, _size(done.node))
        if done.skipped:
            self._place("", line, "", plain=False)
        else:
            self._place(done.node, done.node.home.line, "", plain=False)

    def _anchor(self, name: str | None, value: object, size: int) -> None:
        if name is not None:
            self._anchors[name] = value
            self._sizes[name] = size

    def _alias(self, event: Any, line: int) -> None:
        self._aliases += 1
        if self._aliases > ALIASES_MAX:
            self.complain(f"more than {ALIASES_MAX} aliases", "Use templates instead.", line)
            raise _Stop
        if event.anchor not in self._anchors:
            self.complain("an alias without an anchor before it", "Put a text that begins with * in quotes.", line)
            self._place("", line, "", plain=False)
            return
        self._count_aliased(line, self._sizes[event.anchor])
        value = self._anchors[event.anchor]
        if isinstance(value, Block | Items) and len(self._stack) + _depth(value) > DEPTH_MAX:
            self.complain(f"nested deeper than {DEPTH_MAX} levels", "Flatten it.", line)
            raise _Stop
        self._place(value, line, "", plain=False, alias=True)

    def _place(self, value: object, line: int, text: str, *, plain: bool, alias: bool = False) -> None:
        if not self._stack:
            self.root = value
            return
        top = self._stack[-1]
        if isinstance(top.node, Items):
            top.node.append(value)
            top.node.lines.append(line)
        elif top.key is None:
            self._key(top, value, line, text, plain=plain, alias=alias)
        elif top.key == "<<":
            self._merge(top, value, line)
            top.key = None
        else:
            if top.key not in top.node:
                top.node[top.key] = value
                top.node.lines[top.key] = top.key_line
            top.key = None

    def _key(self, top: _Open, value: object, line: int, text: str, *, plain: bool, alias: bool) -> None:
        key = text if not alias else value if isinstance(value, str) else ""
        top.key, top.key_line = key, line
        if alias and not isinstance(value, str):
            self.complain("an alias used as a key", "Write the key out.", line)
        elif plain and value is None:
            self.complain("an empty key", "Write the key before the colon.", line)
        elif key in cast(Block, top.node) and not top.skipped:
            first = cast(Block, top.node).lines[key]
            path = join(top.node.home.path, key)
            self.complain(f"written twice, first in line {first}", "Keep one of them.", line, path)

    def _merge(self, top: _Open, value: object, line: int) -> None:
        bases = value if isinstance(value, Items) else [value]
        for base in bases:
            if isinstance(base, Block):
                self._count_aliased(line, len(base))
                top.merges.append(base)
            else:
                self.complain("<< takes a mapping or a list of mappings", "Give it an alias of a mapping.", line)


def _size(node: Block | Items) -> int:
    """How many entries the node stands for, aliases expanded; counted no further than the limit."""
    total = 0
    stack: list[object] = [node]
    while stack and total <= ALIASED_ENTRIES_MAX:
        item = stack.pop()
        total += 1
        if isinstance(item, Block):
            stack.extend(item.values())
        elif isinstance(item, Items):
            stack.extend(item)
    return total


def _depth(node: object) -> int:
    deepest = 0
    stack = [(node, 1)]
    while stack:
        item, depth = stack.pop()
        deepest = max(deepest, depth)
        children = item.values() if isinstance(item, Block) else item if isinstance(item, Items) else ()
        stack.extend((child, depth + 1) for child in children)
    return deepest
