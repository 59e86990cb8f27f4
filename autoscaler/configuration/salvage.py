"""What is valid of an invalid block, so that the rest of its problems can be found in the same pass.

Called by `loading` and `services` after a failed validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from autoscaler.configuration.block import Block, Items, entry, without
from autoscaler.errors import Problem

ROUNDS_MAX = 8
M = TypeVar("M", bound=BaseModel)


def salvage(model: type[M], tree: Block) -> M | None:
    """The model of ``tree`` without the entries that are wrong, or None where nothing useful is left."""
    for _round in range(ROUNDS_MAX):
        try:
            return model.model_validate(tree)
        except ValidationError as error:
            wrong = _wrong(tree, error)
        for steps in wrong:
            if not steps:
                return None
            tree = _pruned(tree, steps)
    return None


def news(known: Sequence[Problem], found: Sequence[Problem]) -> list[Problem]:
    """The problems of ``found`` that are not only there because an entry of ``known`` was taken out."""
    paths = [problem.path for problem in known]
    return [problem for problem in found if not any(_within(path, problem.path) for path in paths)]


def _within(path: str, outer: str) -> bool:
    return path == outer or path.startswith((outer + ".", outer + "["))


def _wrong(tree: Block, error: ValidationError) -> list[tuple[str, ...]]:
    """The entries to take out, as keys from the root; of a list that holds something wrong, the whole list."""
    found: dict[tuple[str, ...], None] = {}
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        node: object = tree
        keys: list[str] = []
        inside_list = False
        for step in detail["loc"]:
            below = entry(node, step)
            if below is None:
                continue
            if not inside_list and isinstance(step, str):
                keys.append(step)
            node = below[0]
            inside_list = inside_list or isinstance(node, Items)
        found[tuple(keys)] = None
    return list(found)


def _pruned(tree: Block, steps: Sequence[str]) -> Block:
    head, *rest = steps
    below = tree.get(head)
    if not rest or not isinstance(below, Block):
        pruned = without(tree, head)
        # An allow-list that cannot be read must not make its image look refused.
        if head == "images" and head in tree:
            pruned[head] = ["*"]
        return pruned
    changed = without(tree, head)
    changed[head] = _pruned(below, rest)
    return changed
