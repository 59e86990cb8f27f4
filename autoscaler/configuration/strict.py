"""What every block of the configuration file is, and the one block that most others hold: a plugin at work."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """What every block is: no unknown key, no conversion, no NaN, no input in messages."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


class UseModel(Strict):
    """One plugin at work in a service."""

    use: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]
    options: Annotated[dict[str, Any], Field(alias="with")] = {}
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")] | None = None
