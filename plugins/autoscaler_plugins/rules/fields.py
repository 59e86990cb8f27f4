"""The kinds of options that several policies have."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

import autoscaler

REPLICAS_MAX = 10**6
"""More is no valid proposal; the service's own maximum lies below."""

AMOUNT = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(m|[kMGTPE]|[KMGTPE]i)?")


def parse_amount(value: Any) -> Any:
    """A number as it is, or as Kubernetes writes one: ``500m``, ``1k``, ``512Mi``. Raises ValueError."""
    if not isinstance(value, str):
        return value
    match = AMOUNT.fullmatch(value.strip())
    if match is None:
        raise ValueError("not an amount; write it as 100, 1k, 500m or 512Mi")
    number, suffix = float(match[1]), match[2] or ""
    if suffix == "m":
        return number / 1000
    power = " kMGTPE".index(suffix[:1].replace("K", "k") or " ")
    return number * (math.pow(1024, power) if suffix.endswith("i") else math.pow(1000, power))


Duration = Annotated[
    float,
    BeforeValidator(lambda value: value if isinstance(value, float) else autoscaler.parse_duration(value)),
    PlainSerializer(autoscaler.format_duration),
]
Ratio = Annotated[float, BeforeValidator(autoscaler.parse_ratio, json_schema_input_type=str | float)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveAmount = Annotated[
    float, BeforeValidator(parse_amount, json_schema_input_type=str | float), Field(gt=0, allow_inf_nan=False)
]
Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0, le=REPLICAS_MAX)]


class Strict(BaseModel):
    """Options: frozen, and nothing is taken for something else."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_by_name=True)


def bounded(count: float) -> int:
    """A count that a proposal may carry."""
    return 0 if not count > 0 else int(min(count, REPLICAS_MAX))
