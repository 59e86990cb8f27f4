"""The kinds of options that several policies have."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

import autoscaler

REPLICAS_MAX = 10**6
"""More is no valid proposal; the service's own maximum lies below."""

Duration = Annotated[
    float,
    BeforeValidator(lambda value: value if isinstance(value, float) else autoscaler.parse_duration(value)),
    PlainSerializer(autoscaler.format_duration),
]
Ratio = Annotated[float, BeforeValidator(autoscaler.parse_ratio, json_schema_input_type=str | float)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0, le=REPLICAS_MAX)]


class Strict(BaseModel):
    """Options: frozen, and nothing is taken for something else."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_by_name=True)


def bounded(count: float) -> int:
    """A count that a proposal may carry."""
    return 0 if not count > 0 else int(min(count, REPLICAS_MAX))
