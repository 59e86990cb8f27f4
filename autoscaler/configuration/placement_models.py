"""The `placement:` block of a service in the configuration file. Used by `models`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from autoscaler.configuration.fields import Count, Duration, Name, Percent, PositiveDuration, Text
from autoscaler.configuration.strict import BY_FORM, AsList, AsMapping, AsText, Strict, UseModel

LabelKey = Annotated[str, Field(min_length=1, max_length=128)]
LabelValues = Annotated[AsText[Text] | AsList[Annotated[list[Text], Field(min_length=1, max_length=64)]], BY_FORM]
Weight = Annotated[int, Field(ge=0, le=100)]


class TolerationModel(Strict):
    """A taint that the replicas put up with; a part that is not given tolerates any."""

    key: Annotated[str, Field(max_length=128)] = ""
    value: Text = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class AffinityModel(Strict):
    """Hosts with any of these labels' values are liked by ``weight``, or disliked where it is negative."""

    labels: Annotated[dict[LabelKey, LabelValues], Field(min_length=1, max_length=8)]
    weight: Annotated[int, Field(ge=-100, le=100)] = 1


class WeightsModel(Strict):
    """How much each scorer counts; 0 leaves it out."""

    fit: Weight = 1
    balance: Weight = 1
    load: Weight = 1
    image: Weight = 1
    affinity: Weight = 2
    taints: Weight = 3
    anti_affinity: Weight = 1
    failed_here: Weight = 1
    shares: Weight = 2


class ScorerModel(UseModel):
    """A plugin with `score_host`, and how much it counts."""

    weight: Weight = 1


class PlacementModel(Strict):
    """Where replicas go."""

    strategy: Literal["spread", "binpack"] = "spread"
    spread: Annotated[list[LabelKey], Field(max_length=8)] = ["zone", "host"]
    max_per_host: Count = 0
    host_grace: Duration = 60.0
    drain_report: PositiveDuration = 600.0
    """What has not left a host that is to be emptied by then is reported as stuck."""
    platform: Annotated[str, Field(pattern=r"^[a-z0-9]+/[a-z0-9_.-]+$")] | None = None
    """Such as linux/arm64; default: any."""
    labels: Annotated[dict[LabelKey, LabelValues], Field(max_length=16)] = {}
    """What a host must have; of a list any."""
    tolerations: Annotated[
        list[Annotated[AsText[Text] | AsMapping[TolerationModel], BY_FORM]], Field(max_length=32)
    ] = []
    """As key, key=value, key=value:effect, or as a block."""
    affinity: Annotated[list[AffinityModel], Field(max_length=16)] = []
    not_beside: Annotated[list[Name], Field(max_length=64)] = []
    """Services on whose hosts none of these replicas goes."""
    shares: Annotated[dict[LabelKey, dict[Text, Percent]], Field(max_length=4)] = {}
    """label -> value -> share of the replicas."""
    weights: WeightsModel = WeightsModel()
    scorers: Annotated[list[ScorerModel], Field(max_length=16)] = []
    rebalance: bool = False
    """Whether replicas move, one at a time, to hosts that have two fewer of the service."""
