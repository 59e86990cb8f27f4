"""`target_value`: as many replicas as share the metric's total at ``per_replica`` each.

The total of the newest sample is what counts, so a wish does not compound while replicas start. Where the total is
within ``tolerance`` of what today's demand carries, today's demand is the wish. Where samples name their revision, the
total is the sum over the revisions that run.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

import autoscaler

DUST = 1e-9
"""Of a replica: 3.0000000001 replicas are 3."""

REPLICAS_MAX = 10**6
"""More is no valid proposal; the service's own maximum lies below."""

Ratio = Annotated[float, BeforeValidator(autoscaler.parse_ratio, json_schema_input_type=str | float)]


class Options(BaseModel):
    """``metric``: whose total is shared. ``per_replica``: how much of it one replica carries. ``tolerance``: as 10%
    or 0.1."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    metric: Annotated[str, Field(min_length=1)]
    per_replica: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    tolerance: Annotated[Ratio, Field(ge=0, lt=1)] = 0.1


@autoscaler.hookimpl
def propose(
    service: autoscaler.ServiceFacts, signals: autoscaler.SignalsView, options: Options
) -> autoscaler.Scale | autoscaler.Hold | None:
    """Wish ``ceil(total / per_replica)``; today's demand where the total is negative, which no load is."""
    signal = signals[options.metric]
    total = signal.latest
    if total is None:
        total = signal.total()
        if total is None:
            return None
    if total < 0:
        return autoscaler.Hold(f"{total:.6g} {options.metric} is no load")
    per_replica, demand = options.per_replica, service.demand
    carried = per_replica * demand
    load = f"{total:.6g} {options.metric} over {per_replica:g} a replica"
    if demand and abs(total - carried) <= options.tolerance * carried + DUST:
        return autoscaler.Scale(demand, f"{load} is within {options.tolerance:.0%} of {demand}")
    wish = min(math.ceil(total / per_replica - DUST), REPLICAS_MAX)
    return autoscaler.Scale(wish, f"{load} = {wish}")
