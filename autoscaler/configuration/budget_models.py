"""The `budgets:` block of the file and its settings: what services may have together."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field

from autoscaler.configuration.complaints import Complain
from autoscaler.configuration.fields import NAME_REMEDY, ByteSize, Cpu, Money, is_name
from autoscaler.configuration.strict import Strict
from autoscaler.configuration.vocabulary import Step, suggestion
from autoscaler.core.budgets import KINDS, Budget, Kind, Prices
from autoscaler.core.settings import ServiceSettings

BUDGETS_MAX = 1000
_PATTERN = re.compile(r"[a-z0-9*-]{1,63}")


Pattern = Annotated[str, Field(min_length=1, max_length=63)]


class PricesModel(Strict):
    """What is paid an hour, in a currency of your own."""

    replica: Money = 0
    cpu: Money = 0
    """A core that a replica reserves."""
    memory: Money = 0
    """A GiB that a replica reserves."""


class BudgetModel(Strict):
    """What services may have together; at least one limit."""

    services: Annotated[list[Pattern], Field(min_length=1, max_length=10_000)] = ["*"]
    """Names; * stands for any characters."""
    replicas: Annotated[int, Field(ge=0, le=100_000_000)] | None = None
    cpu: Cpu | None = None
    """By what their revisions reserve."""
    memory: ByteSize | None = None
    cost_per_hour: Money | None = None
    """By the services' cost_per_hour, else by the prices."""
    prices: PricesModel = PricesModel()


def build_budgets(
    models: Mapping[str, BudgetModel],
    settings: Mapping[str, ServiceSettings],
    declared: Collection[str],
    complain: Complain,
) -> dict[str, Budget]:
    """The budgets by name; ``declared`` names the services that are not valid too."""
    found: dict[str, Budget] = {}
    for name, model in models.items():
        at = ("budgets", name)
        if not is_name(name):
            complain(at, "not a usable name for a budget", NAME_REMEDY)
        limits = tuple((kind, getattr(model, kind)) for kind in KINDS if getattr(model, kind) is not None)
        if not limits:
            complain(at, "has no limit", f"Give at least one of {', '.join(KINDS)}.")
        services = _matched(model, declared, at, complain)
        prices = Prices(model.prices.replica, model.prices.cpu, model.prices.memory)
        budget = Budget(name, frozenset(services & settings.keys()), limits, prices)
        _check_cost(budget, settings, at, complain)
        found[name] = budget
    return found


def _matched(model: BudgetModel, declared: Collection[str], at: tuple[str, ...], complain: Complain) -> set[str]:
    services: set[str] = set()
    for index, pattern in enumerate(model.services):
        place: tuple[Step, ...] = (*at, "services", index)
        if not _PATTERN.fullmatch(pattern):
            complain(place, "neither a service nor a pattern", "Use the letters of names, and * for any of them.")
        elif "*" not in pattern and pattern not in declared:
            complain(place, "names no service of this configuration", suggestion(pattern, declared))
        elif matched := {pattern} if "*" not in pattern else {s for s in declared if fnmatchcase(s, pattern)}:
            services |= matched
        elif declared:
            complain(place, "matches no service of this configuration", "Change the pattern, or take it out.")
    return services


def _check_cost(
    budget: Budget, settings: Mapping[str, ServiceSettings], at: tuple[str, ...], complain: Complain
) -> None:
    """A limit of cost says nothing of a service that costs nothing."""
    limited: list[Kind] = [kind for kind, _ in budget.limits]
    free = [s for s in sorted(budget.services) if settings[s].cost_per_hour is None]
    if "cost_per_hour" in limited and budget.prices == Prices() and free:
        more = f" and {len(free) - 1} more" if len(free) > 1 else ""
        complain((*at, "prices"), f"is missing, and {free[0]}{more} has no cost_per_hour", "Give one of them.")
