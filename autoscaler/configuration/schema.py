"""The JSON Schema of the configuration file, for editors. Called by `autoscaler schema`."""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Any

from autoscaler.configuration.models import FileModel
from autoscaler.configuration.strict import Strict


def configuration_schema() -> dict[str, Any]:
    """The schema (draft 2020-12): keys, types and bounds; what keys say against each other only `check` knows."""
    schema = FileModel.model_json_schema(by_alias=True, mode="validation")
    _describe(schema, FileModel)
    for model in _below(Strict):
        if model.__name__ in schema["$defs"]:
            _describe(schema["$defs"][model.__name__], model)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The autoscaler's configuration file",
    }
    return {**schema, **head}


def _below(model: type[Strict]) -> list[type[Strict]]:
    return [one for below in model.__subclasses__() for one in (below, *_below(below))]


def _describe(schema: dict[str, Any], model: type[Strict]) -> None:
    """Give each key the text that stands below it in the model. pydantic can do so as well, but at every start."""
    for holder in reversed(model.__mro__):
        if issubclass(holder, Strict) and holder is not Strict:
            for name, text in _texts(holder).items():
                field = model.model_fields[name]
                schema["properties"][field.alias or name].setdefault("description", text)


def _texts(model: type[Strict]) -> dict[str, str]:
    (written,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(written, ast.ClassDef)  # noqa: S101 - the source of a class
    found = {}
    for line, below in pairwise(written.body):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(below, ast.Expr):
            text = ast.literal_eval(below.value)
            found[line.target.id] = inspect.cleandoc(text)
    return found
