"""`step`: bands of a metric, each with a change of demand: the thresholds that people know from alarms.

A band holds values from ``above`` (included) up to ``below`` (excluded), so that two bands can meet without a gap. With
``for:`` every sample of so long has to lie in it; a gap longer than the metric's max_age, or a change of demand,
starts the count anew, so that one alarm makes one step.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

import autoscaler

DUST = 1e-9
"""Of a replica: 3.0000000001 replicas are 3."""

REACH_S = 300.0
"""How far back a signal surely remembers its samples; a longer run could never be seen."""
Duration = Annotated[
    float,
    BeforeValidator(lambda value: value if isinstance(value, float) else autoscaler.parse_duration(value)),
    PlainSerializer(autoscaler.format_duration),
]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Band(BaseModel):
    """Values from ``above`` to ``below`` (one may be open), and one change: ``add`` replicas, ``percent`` of them, or
    ``to``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_by_name=True)

    above: Finite | None = None
    below: Finite | None = None
    add: int | None = None
    percent: Finite | None = None
    to: Annotated[int, Field(ge=0)] | None = None
    for_s: Annotated[Duration, Field(alias="for", ge=0, le=REACH_S)] = 0.0

    @property
    def lower(self) -> float:
        """The lower end, included."""
        return -math.inf if self.above is None else self.above

    @property
    def upper(self) -> float:
        """The upper end, excluded."""
        return math.inf if self.below is None else self.below

    @model_validator(mode="after")
    def _is_one_change(self) -> Self:
        if sum(value is not None for value in (self.add, self.percent, self.to)) != 1:
            raise ValueError("a band needs exactly one of add, percent and to")
        if self.above is None and self.below is None:
            raise ValueError("a band needs above, below or both")
        if self.lower >= self.upper:
            raise ValueError("above must be lower than below")
        return self

    def wish(self, demand: int) -> int:
        """The demand after the change; never below zero."""
        if self.to is not None:
            return self.to
        if self.add is not None:
            return max(0, demand + self.add)
        return max(0, math.ceil(demand * (1 + (self.percent or 0.0) / 100) - DUST))


class Options(BaseModel):
    """``bands`` of ``metric``, without overlap; a value in none of them wishes today's demand."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    metric: Annotated[str, Field(min_length=1)]
    bands: Annotated[list[Band], Field(min_length=1, max_length=32)]

    @model_validator(mode="after")
    def _are_apart(self) -> Self:
        ordered = sorted(self.bands, key=lambda band: band.lower)
        for one, next_ in itertools.pairwise(ordered):
            if one.upper > next_.lower:
                raise ValueError(f"two bands overlap from {next_.lower:g} to {min(one.upper, next_.upper):g}")
        return self


@autoscaler.hookimpl
def propose(
    service: autoscaler.ServiceFacts,
    signals: autoscaler.SignalsView,
    now: float,
    options: Options,
    memory: dict[str, Any],
) -> autoscaler.Scale | None:
    """The change of the band that the newest value is in, once it lasted; else today's demand."""
    signal = signals[options.metric]
    demand = service.demand
    if memory.get("demand") != demand:
        # the first sight of a service is no change of its demand
        memory["since"] = now if "demand" in memory else None
        memory["demand"] = demand
    value = signal.latest
    if value is None:
        return None
    band = next((band for band in options.bands if band.lower <= value < band.upper), None)
    text = f"{value:.6g} {options.metric}"
    if band is None:
        return autoscaler.Scale(demand, f"{text} is in no band")
    since = memory.get("since")
    run = signal.run(band.lower, band.upper, -math.inf if since is None else since)
    if run is None:
        return autoscaler.Scale(demand, f"{text}: no sample yet since demand became {demand}")
    lasted_s = now - run[0]
    if lasted_s < band.for_s:
        return autoscaler.Scale(
            demand,
            f"{text} in its band for {lasted_s:.0f} s of {autoscaler.format_duration(band.for_s)}",
            run[0] + band.for_s,
        )
    wish = band.wish(demand)
    return autoscaler.Scale(
        wish, f"{text} in its band for {autoscaler.format_duration(lasted_s)}: {demand} becomes {wish}"
    )
