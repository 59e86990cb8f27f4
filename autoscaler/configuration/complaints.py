"""Problems in the words of the user's file: from a failed validation, and for what the program itself finds.

Called by `loading`, `services` and the checks. Never repeats a value: any of them may be a secret at the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from autoscaler.configuration.block import Block, Origin, entry, locate
from autoscaler.configuration.vocabulary import Step, child, choices, known_keys, nearest, suggestion
from autoscaler.errors import Problem, ended
from autoscaler.events.places import printable

Severity = Literal["error", "warning"]
Complain = Callable[[tuple[Step, ...], str, str], None]
"""Takes where in a service's body, what is wrong, and the remedy."""

_WORDS: dict[str, tuple[str, str]] = {
    "bool_type": ("must be true or false", "Write it without quotes."),
    "int_type": ("must be a whole number", "Write it as 3: no quotes, no point, no zero in front."),
    "int_from_float": ("must be a whole number", "Write it as 3: no quotes, no point, no zero in front."),
    "float_type": ("must be a number", "Write it without quotes."),
    "finite_number": ("must be a finite number", "Write a plain number."),
    "list_type": ("must be a list", "Write [a, b], or one item a line after a dash."),
    "dict_type": ("must be a mapping", "Write `key: value` lines below it."),
    "model_type": ("must be a mapping", "Write `key: value` lines below it."),
    "tuple_type": ("must be a list", "Write [a, b], or one item a line after a dash."),
}
_LIMITS: dict[str, tuple[str, str]] = {
    "greater_than_equal": ("is below the least value allowed, {ge}", "Raise it."),
    "greater_than": ("must be more than {gt}", "Raise it."),
    "less_than_equal": ("is above the greatest value allowed, {le}", "Lower it."),
    "less_than": ("must be less than {lt}", "Lower it."),
    "string_too_short": ("is empty", "Give it a value or remove the key."),
    "string_too_long": ("is longer than {max_length} characters", "Shorten it."),
    "too_long": ("has more than {max_length} entries", "Shorten it."),
    "too_short": ("has fewer than {min_length} entries", "Add some."),
}


_END_OF_WHAT = re.compile(r"[;.] ")


def problem_at(
    origin: Origin, what: str, remedy: str = "", *, severity: Severity = "error", path: str | None = None
) -> Problem:
    """A problem of the entry that was written at ``origin``; a value of the environment is named by its variable."""
    where = origin.path if path is None else path
    if origin.variable:
        return Problem(where or "file", f"{what} (set by {origin.variable})", remedy, 0, "", severity)
    return Problem(where or "file", what, remedy, origin.line, origin.file, severity)


def what_and_remedy(text: str) -> tuple[str, str]:
    """The two parts of a problem that is told in one text: a validator's *what; remedy*, or the sentences of a plugin
    or of an adapter, of which the first says what is wrong. The remedy ends with a mark, and is empty where none is
    told."""
    what, *rest = _END_OF_WHAT.split(text, maxsplit=1)
    remedy = "".join(rest)
    return what, ended(remedy[:1].upper() + remedy[1:]) if remedy else ""


def validation_problems(error: ValidationError, root: Block, model: type[BaseModel]) -> list[Problem]:
    """Every problem of a failed validation of ``root``, each at its line, at most one a place."""
    found: dict[tuple[str, str, int], Problem] = {}
    details = error.errors(include_url=False, include_input=False)
    for detail in details:
        steps = tuple(detail["loc"])
        if steps and steps[-1] == "[key]":
            steps = steps[:-1]
        origin = locate(root, steps)
        what, remedy = _words(detail, steps, model, root)
        problem = problem_at(origin, what, remedy)
        found.setdefault((problem.path, problem.file, problem.line), problem)
    return _without_other_branches(list(found.values()))


def _without_other_branches(problems: list[Problem]) -> list[Problem]:
    """Where one branch of a union complains inside the value, the other branches' word about the value is noise."""
    type_words = {_WORDS[kind][0] for kind in ("dict_type", "model_type", "list_type")} | {"must be text"}
    paths = [problem.path for problem in problems]
    return [
        problem
        for problem in problems
        if problem.what not in type_words
        or not any(path != problem.path and path.startswith((problem.path + ".", problem.path + "[")) for path in paths)
    ]


_FORMS = {"text": "text", "list": "a list", "mapping": "a mapping"}
_FORM_REMEDIES = {"list": "Write text, or [a, b].", "mapping": "Write text, or `key: value` lines below it."}


def _words(detail: Any, steps: tuple[Step, ...], model: type[BaseModel], root: Block) -> tuple[str, str]:
    kind: str = detail["type"]
    context: dict[str, Any] = detail.get("ctx") or {}
    name = str(steps[-1]) if steps else ""
    match kind:
        case "extra_forbidden":
            return "there is no such key", suggestion(name, known_keys(model, steps[:-1]))
        case "missing":
            return "is missing", f"Add `{printable(name)}:`."
        case "value_error":
            return what_and_remedy(str(context.get("error", "not usable")))
        case "literal_error":
            return _literal_words(str(context.get("expected", "one of a fixed list")), steps, model, root)
        case "string_type":
            return "must be text", "Put it in quotes."
        case "union_tag_invalid":
            forms = str(context.get("expected_tags", "")).replace("'", "").split(", ")
            return f"must be {' or '.join(_FORMS[form] for form in forms)}", _FORM_REMEDIES[forms[-1]]
        case "string_pattern_mismatch":
            return "has characters that cannot stand there", _pattern_remedy(name)
    if kind in _WORDS:
        return _WORDS[kind]
    if kind in _LIMITS:
        what, remedy = _LIMITS[kind]
        return what.format(**context), remedy
    return str(detail["msg"]).removeprefix("Input ").removeprefix("Value error, ")[:200], ""


_LATER = {
    "swarm": "Use docker or process.",
    "kubernetes": "Use docker or process.",
}
"""Words that are planned; only these given words are repeated."""


def _literal_words(expected: str, steps: tuple[Step, ...], model: type[BaseModel], root: Block) -> tuple[str, str]:
    annotation: Any = model
    node: object = root
    for step in steps:
        annotation = child(annotation, step)
        found = entry(node, step)
        node = found[0] if found else None
    allowed = [
        value for plain in choices(annotation) for value in getattr(plain, "__args__", ()) if isinstance(value, str)
    ]
    if isinstance(node, str) and node in _LATER and steps[-1] == "kind":
        return f"{node} comes in a later version", _LATER[node]
    match = nearest(node, allowed) if isinstance(node, str) else ""
    what = f"must be one of {', '.join(allowed)}" if len(allowed) > 1 else f"must be {expected}"
    return what, f'Did you mean "{match}"?' if match else ""


_PATTERNS = {
    "image": "Write it as shop/web:2.4.1 or registry.example/shop/web@sha256:...",
    "prefix": "Use letters, digits and . _ -, at most 200.",
    "member": "Use letters, digits and . _ -, at most 200, or auto.",
    "use": "Use the name of a plugin: letters, digits and . _ -.",
    "signal": "Write it as TERM, INT, QUIT, HUP, USR1 or another signal's name.",
    "http": "Write a path that begins with /, such as /healthz.",
    "host": "Write the registry's host name, with a port where it has one.",
    "address": "Write a host name or an address, without a scheme and a port.",
    "bind": "Write an IP address, such as 0.0.0.0.",
}


def _pattern_remedy(name: str) -> str:
    return _PATTERNS.get(name, "Use letters, digits and . _ - only.")
