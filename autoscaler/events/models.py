"""What `data` of our three input events may hold, as strict models; the schemas under ``events/`` are made of them.

Called by `autoscaler.events.arrivals` and, for what the hot path does not know, by `autoscaler.events.samples`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, PlainValidator, StringConstraints, Tag
from pydantic_core import PydanticCustomError

from autoscaler.core.quantities import parse_duration
from autoscaler.events.forms import METRIC_NAME, NO_CONTROL, SERVICE
from autoscaler.events.places import branch
from autoscaler.events.revision_model import STRICT, RevisionModel

SAMPLES_MAX = 512
"""Samples in one event; a page of a poll with one query a service never comes near."""

REPLICAS_MAX = 100_000
REVISION_NUMBER_MAX = 2**31 - 1

MetricName = Annotated[str, StringConstraints(pattern=METRIC_NAME, strict=True)]
# A dict outside a model has no configuration, so its values say for themselves that true and "0.7" are no numbers.
_Value = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_RevisionNumber = Annotated[int, Field(ge=1, le=REVISION_NUMBER_MAX)]
_Reason = Annotated[str, StringConstraints(pattern=NO_CONTROL, max_length=512)]


def _read_for(value: object) -> float:
    if not isinstance(value, str) or len(value) > 32:  # noqa: PLR2004 - as in the schema beside it
        raise ValueError("write it as 30m")
    seconds = parse_duration(value)
    if seconds <= 0:
        raise ValueError("must be longer than nothing; write it as 30m")
    return seconds


_For = Annotated[
    float,
    PlainValidator(
        _read_for,
        json_schema_input_type=Annotated[str, StringConstraints(pattern=r"^[0-9.]+(ms|s|m|h|d)", max_length=32)],
    ),
]


def _read_replicas(value: object) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int):
        raise PydanticCustomError("int_type", "must be a whole number or auto")
    if not 0 <= value <= REPLICAS_MAX:
        raise PydanticCustomError("replicas", "must lie between 0 and 100000")
    return value


_Replicas = Annotated[
    int | Literal["auto"],
    PlainValidator(
        _read_replicas,
        json_schema_input_type=Annotated[int, Field(ge=0, le=REPLICAS_MAX)] | Literal["auto"],
    ),
]


class SampleModel(BaseModel):
    """One sample; ``time`` defaults to the event's, ``revision`` says which revision's replicas it speaks of."""

    model_config = STRICT
    name: MetricName
    value: _Value
    time: Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})] | None = None
    revision: _RevisionNumber | None = None


class SamplesModel(BaseModel):
    """Metric data with samples that have times or revisions of their own."""

    model_config = STRICT
    samples: Annotated[list[SampleModel], Field(min_length=1, max_length=SAMPLES_MAX)]


FlatMetrics = Annotated[dict[MetricName, _Value], Field(min_length=1, max_length=SAMPLES_MAX)]


def _metric_branch(data: object) -> str:
    listed = isinstance(data, dict) and isinstance(data.get("samples"), list)
    return branch("samples") if listed else branch("flat")


MetricData = Annotated[
    Annotated[FlatMetrics, Tag(branch("flat"))] | Annotated[SamplesModel, Tag(branch("samples"))],
    Discriminator(_metric_branch),
]
"""A flat map of numbers, or a list of samples. Its schema cannot express an image or a command."""


class DeploymentData(BaseModel):
    """A new revision of a service: complete, or an image alone."""

    model_config = STRICT
    version: Annotated[str, StringConstraints(pattern=NO_CONTROL, max_length=128)] = ""
    revision: RevisionModel


class _Command(BaseModel):
    model_config = STRICT
    reason: _Reason = ""


class Scale(_Command):
    """Hold the demand at ``replicas`` until ``for`` ends, or hand it back with ``auto``; from ``at`` on where that is
    given. ``auto`` with ``scheduled`` takes back those that are not in force yet."""

    command: Literal["scale"]
    replicas: _Replicas
    for_s: Annotated[_For | None, Field(alias="for")] = None
    at: Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})] | None = None
    scheduled: bool = False


class Rollback(_Command):
    """Go back to revision ``to``, else to the last stable one before the present."""

    command: Literal["rollback"]
    to: _RevisionNumber | None = None


class Pause(_Command):
    """Hold the rollout in flight."""

    command: Literal["pause"]
    for_s: Annotated[_For | None, Field(alias="for")] = None


class Freeze(_Command):
    """Stop updates, or all changes of demand as well."""

    command: Literal["freeze"]
    scope: Literal["update", "all"] = "update"
    for_s: Annotated[_For | None, Field(alias="for")] = None


class Plain(_Command):
    """A command that takes nothing but a reason."""

    command: Literal["resume", "promote", "abort", "approve", "unfreeze", "retire"]


class HostCommand(_Command):
    """Empty a host, keep new replicas off it, or take that back, for the services of the subject's partition: the
    subject is any name that belongs there, and one event goes to each partition."""

    command: Literal["drain", "cordon", "uncordon"]
    host: Annotated[str, StringConstraints(pattern=SERVICE)]


_BRANCHES = {
    "scale": "scale",
    "rollback": "rollback",
    "pause": "pause",
    "freeze": "freeze",
    "drain": "host",
    "cordon": "host",
    "uncordon": "host",
}
COMMANDS = (*_BRANCHES, "resume", "promote", "abort", "approve", "unfreeze", "retire")
"""Every command of a control event."""


def _command_branch(data: Any) -> str | None:
    command = data.get("command") if isinstance(data, dict) else None
    if not isinstance(command, str):
        return None
    return branch(_BRANCHES.get(command, "plain"))


ControlData = Annotated[
    Annotated[Scale, Tag(branch("scale"))]
    | Annotated[Rollback, Tag(branch("rollback"))]
    | Annotated[Pause, Tag(branch("pause"))]
    | Annotated[Freeze, Tag(branch("freeze"))]
    | Annotated[HostCommand, Tag(branch("host"))]
    | Annotated[Plain, Tag(branch("plain"))],
    Discriminator(
        _command_branch,
        custom_error_type="command",
        custom_error_message=f"command must be one of {', '.join(COMMANDS)}",
    ),
]
"""An operator's command; each takes its own fields and no other."""
