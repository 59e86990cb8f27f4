"""What every block of the configuration file is, and the one block that most others hold: a plugin at work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag


class Strict(BaseModel):
    """What every block is: no unknown key, no conversion, no NaN, no input in messages."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


T = TypeVar("T")
AsText = Annotated[T, Tag("text")]
AsList = Annotated[T, Tag("list")]
AsMapping = Annotated[T, Tag("mapping")]


def _form(value: object) -> str:
    """In which of its forms something is written, so that what is wrong with it is said of that form alone."""
    return "mapping" if isinstance(value, Mapping | BaseModel) else "list" if isinstance(value, list) else "text"


BY_FORM = Discriminator(_form)
"""Of what may be written in several forms: text, a list, a mapping."""


class UseModel(Strict):
    """One plugin at work in a service."""

    use: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]
    options: Annotated[dict[str, Any], Field(alias="with")] = {}
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")] | None = None
