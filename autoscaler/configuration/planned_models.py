"""The `overrides:` of a service, and their settings: windows in which the demand is fixed, or held within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from autoscaler.configuration.complaints import Complain, what_and_remedy
from autoscaler.configuration.fields import Count
from autoscaler.configuration.freeze_windows import parse_freeze
from autoscaler.configuration.strict import Strict
from autoscaler.configuration.vocabulary import Step
from autoscaler.core.settings import Bounds, FreezeWindow, Planned
from autoscaler.errors import EventRejected
from autoscaler.events.moments import read_time, write_time


def _moment(value: object) -> float:
    try:
        return read_time(value)
    except EventRejected:
        raise ValueError("not a moment; write it in quotes as 2026-11-27T08:00:00Z") from None


Moment = Annotated[float, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]


class PlannedModel(Strict):
    """One window: weekly (`during`) or once (`from`, `until`); `replicas`, or `min` and `max`."""

    during: Annotated[str, Field(max_length=200)] | None = None
    """Such as Fri 17:00-Mon 07:00 Europe/Berlin."""
    from_: Annotated[Moment | None, Field(alias="from")] = None
    until: Moment | None = None
    replicas: Count | None = None
    """Exactly so many."""
    min: Count | None = None
    max: Count | None = None
    reason: Annotated[str, Field(max_length=200)] = ""


def build_planned(models: Sequence[PlannedModel], bounds: Bounds, complain: Complain) -> tuple[Planned, ...]:
    """The windows in order, and what they say against themselves and the service's bounds."""
    found = []
    for index, model in enumerate(models):
        at: tuple[Step, ...] = ("overrides", index)
        window = _window(model, at, complain)
        _numbers(model, bounds, at, complain)
        said = [
            words
            for words, number in (
                (f"{model.replicas} replicas", model.replicas),
                (f"at least {model.min}", model.min),
                (f"at most {model.max}", model.max),
            )
            if number is not None
        ]
        when = window.text if window is not None else f"until {write_time(model.until or 0.0)[:19]}Z"
        text = f"overrides[{index}]: {', '.join(said)}, {when}"
        found.append(
            Planned(
                text=f"{text}: {model.reason}" if model.reason else text,
                window=window,
                begins_at=model.from_ or 0.0,
                ends_at=model.until or 0.0,
                exact=model.replicas,
                least=model.min,
                most=model.max,
                reason=model.reason,
            )
        )
    return tuple(found)


def _window(model: PlannedModel, at: tuple[Step, ...], complain: Complain) -> FreezeWindow | None:
    once = model.from_ is not None and model.until is not None
    if model.during is None:
        if not once:
            complain(at, "has no window", "Write during: Fri 17:00-Mon 07:00 Europe/Berlin, or from and until.")
        elif (model.until or 0.0) <= (model.from_ or 0.0):
            complain((*at, "until"), "is not after from", "Write a later moment.")
        return None
    if model.from_ is not None or model.until is not None:
        complain(at, "has during beside from or until", "Keep one of them.")
    try:
        return parse_freeze(model.during, "a window")
    except ValueError as error:
        complain((*at, "during"), *what_and_remedy(str(error)))
        return None


def _numbers(model: PlannedModel, bounds: Bounds, at: tuple[Step, ...], complain: Complain) -> None:
    if model.replicas is None and model.min is None and model.max is None:
        complain(at, "says no number", "Write replicas, min or max.")
    if model.replicas is not None and (model.min is not None or model.max is not None):
        complain((*at, "replicas"), "stands beside min or max", "Keep one of them.")
    if model.min is not None and model.max is not None and model.min > model.max:
        complain((*at, "max"), f"{model.max} is below min {model.min}", "Raise max or lower min.")
    for key, number in (("replicas", model.replicas), ("min", model.min), ("max", model.max)):
        if number is not None and not bounds.min <= number <= bounds.max:
            what = f"{number} is outside the service's {bounds.min}..{bounds.max}"
            complain((*at, key), what, "Choose within, or change replicas.min or .max.")
