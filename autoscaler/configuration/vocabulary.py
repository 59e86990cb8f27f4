"""Which keys exist where in the file, read off the models: for suggestions, environment overrides and the nearest name.

Called by `complaints` and `environment`.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

Step = str | int
SHOWN_MAX = 30


@lru_cache(maxsize=1024)
def choices(annotation: Any) -> tuple[Any, ...]:
    """The plain types that an annotation allows: unions and Annotated taken apart, None left out."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return choices(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return tuple(plain for branch in get_args(annotation) for plain in choices(branch))
    return () if annotation is type(None) else (annotation,)


def keys_of(model: type[BaseModel]) -> dict[str, Any]:
    """The keys of a block as the file writes them, each with its annotation."""
    return {field.alias or name: field.rebuild_annotation() for name, field in model.model_fields.items()}


def child(annotation: Any, step: Step) -> Any:
    """The annotation of the entry under ``step``, or None where there is no such entry."""
    for plain in choices(annotation):
        if isinstance(plain, type) and issubclass(plain, BaseModel):
            found = keys_of(plain).get(str(step))
            if found is not None:
                return found
        elif get_origin(plain) is dict:
            return get_args(plain)[1]
        elif get_origin(plain) in (list, tuple) and isinstance(step, int):
            return get_args(plain)[0]
    return None


def known_keys(annotation: Any, steps: Sequence[Step]) -> tuple[str, ...]:
    """The keys that the block at ``steps`` may have; empty where any key may stand.

    Steps that lead nowhere are skipped.
    """
    for step in steps:
        found = child(annotation, step)
        annotation = annotation if found is None else found
    names: list[str] = []
    for plain in choices(annotation):
        if isinstance(plain, type) and issubclass(plain, BaseModel):
            names.extend(keys_of(plain))
    return tuple(names)


def is_list(annotation: Any) -> bool:
    """Whether the environment gives this entry as a list."""
    return any(get_origin(plain) is list for plain in choices(annotation))


def is_text(annotation: Any) -> bool:
    """Whether the entry is text whatever it looks like."""
    plains = choices(annotation)
    return bool(plains) and all(plain is str or get_origin(plain) is Literal for plain in plains)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that ``name`` was probably meant to be, or an empty text."""
    candidates = list(known)
    matches = difflib.get_close_matches(name[:100].lower(), candidates, n=1, cutoff=0.6)
    return matches[0] if matches else ""


def suggestion(name: str, known: Iterable[str]) -> str:
    """``Did you mean "x"?``, or the list of what is known."""
    candidates = list(known)
    match = nearest(name, candidates)
    if match:
        return f'Did you mean "{match}"?'
    if not candidates:
        return "Remove it."
    more = ", ..." if len(candidates) > SHOWN_MAX else ""
    shown = ", ".join(candidates[:SHOWN_MAX]) + more
    return f"Known here: {shown}."
