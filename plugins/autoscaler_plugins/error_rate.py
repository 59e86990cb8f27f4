"""`error_rate`: votes against a revision whose metric stays above a limit while it is being rolled out or soaks.

Only samples since the present rollout or soak began count, so that old trouble is never put down to a new revision.
Samples that name the revision are preferred to those of the whole service. Silence proves nothing: an unknown metric
is no vote.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

import autoscaler

PROPOSES = frozenset({"rollback"})
REACH_S = 300.0
"""How far back a signal surely remembers its samples; a longer run could never be seen."""
Duration = Annotated[
    float,
    BeforeValidator(lambda value: value if isinstance(value, float) else autoscaler.parse_duration(value)),
    PlainSerializer(autoscaler.format_duration),
]


class Options(BaseModel):
    """``metric`` has to be ``above`` the limit in every sample ``for`` so long, in at least ``min_samples`` of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_by_name=True)

    metric: Annotated[str, Field(min_length=1)]
    above: Annotated[float, Field(allow_inf_nan=False)]
    for_s: Annotated[Duration, Field(alias="for", ge=0, le=REACH_S)]
    min_samples: Annotated[int, Field(ge=1)] = 2


@autoscaler.hookimpl
def propose(
    service: autoscaler.ServiceFacts, signals: autoscaler.SignalsView, now: float, options: Options
) -> autoscaler.Rollback | autoscaler.Hold | None:
    """A `Rollback` once the limit was exceeded for long enough; before that a `Hold` that says when to look again."""
    whole = signals[options.metric]
    if service.phase_since is None:
        return None
    own = whole.by_revision(service.revision)
    signal = own if own.known else whole
    run = signal.run(at_least=math.nextafter(options.above, math.inf), since=service.phase_since)
    if run is None:
        return None
    started_at, samples = run
    lasted_s = now - started_at
    text = f"{options.metric} {signal.latest:.4g} above {options.above:g} in {samples} samples"
    if lasted_s >= options.for_s and samples >= options.min_samples:
        return autoscaler.Rollback(f"{text} over {autoscaler.format_duration(lasted_s)}")
    wake_at = started_at + options.for_s
    return autoscaler.Hold(
        f"{text}, for {autoscaler.format_duration(lasted_s)} of {autoscaler.format_duration(options.for_s)}",
        wake_at if wake_at > now else None,
    )
