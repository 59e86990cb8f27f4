"""The `signals:` block of a service and its settings: an age of its own, and what stands in for an unknown signal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from autoscaler.configuration.complaints import Complain
from autoscaler.configuration.fields import Count, PositiveDuration
from autoscaler.configuration.strict import BY_FORM, AsMapping, AsText, Strict
from autoscaler.core.settings import SignalRule

SignalName = Annotated[str, Field(min_length=1, max_length=256)]


class StandInModel(Strict):
    """What stands in for an unknown signal; exactly one of them. None of it ever lowers the demand."""

    decay: PositiveDuration | None = None
    """The last value, halved each so long."""
    floor: Count | None = None
    """So many replicas at least."""
    value: float | None = None
    """This value."""


def _hold_or_mapping(value: object) -> object:
    if isinstance(value, str | int | float | list) and value != "hold":
        raise ValueError("neither hold nor a mapping; write hold, {decay: 5m}, {floor: 3} or {value: 100}")
    return value


OnUnknown = Annotated[AsText[Literal["hold"]] | AsMapping[StandInModel], BY_FORM, BeforeValidator(_hold_or_mapping)]


class SignalModel(Strict):
    """One signal of a service."""

    max_age: PositiveDuration | None = None
    """How old its newest sample may be; default: scaling.max_age."""
    on_unknown: OnUnknown = "hold"
    """hold: the policies that look at it wish today's demand."""


Signals = Annotated[dict[SignalName, SignalModel], Field(max_length=64)]


def build_signals(
    models: Mapping[str, SignalModel], max_age_s: float, most: int, complain: Complain
) -> tuple[tuple[str, SignalRule], ...]:
    """The rules by name; ``most``: the replicas that the service may have."""
    found = []
    for name, model in sorted(models.items()):
        age_s = max_age_s if model.max_age is None else model.max_age
        given = model.on_unknown
        if not isinstance(given, StandInModel):
            found.append((name, SignalRule(age_s)))
            continue
        at = ("signals", name, "on_unknown")
        said = [key for key in ("decay", "floor", "value") if getattr(given, key) is not None]
        if len(said) != 1:
            what = f"has {' and '.join(said) or 'nothing'}, and one thing stands in for a signal"
            complain(at, what, "Keep one of decay, floor, value, or write hold.")
            continue
        if given.floor is not None and given.floor > most:
            complain((*at, "floor"), f"{given.floor} is above replicas.max {most}", "Lower it or raise max.")
        if given.decay is not None:
            found.append((name, SignalRule(age_s, "decay", given.decay)))
        elif given.floor is not None:
            found.append((name, SignalRule(age_s, "floor", float(given.floor))))
        else:
            found.append((name, SignalRule(age_s, "value", given.value or 0.0)))
    return tuple(found)
