"""Asks the plugin host what the plugins make of their `with:`. Called by `loading`, also for a cached configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from autoscaler.configuration.block import Block, locate
from autoscaler.configuration.complaints import problem_at, what_and_remedy
from autoscaler.configuration.service_build import frozen_options
from autoscaler.configuration.settings import Configuration
from autoscaler.configuration.vocabulary import Step
from autoscaler.core.settings import PolicyUse, ServiceSettings
from autoscaler.errors import Problem

Complaint = tuple[str | None, str]
"""Where in the ``with:`` (``limits.0.name``; empty: the whole; None: the use itself), and a text for
`what_and_remedy`."""
ValidateOptions = Callable[[str, Mapping[str, object], str], tuple[Mapping[str, object], Sequence[Complaint]]]
"""Of a plugin's ``use``, options and hook: the options as validated, and what is wrong with them."""


def check_options(
    configuration: Configuration, bodies: Mapping[str, Block], validate: ValidateOptions
) -> tuple[Configuration, list[Problem]]:
    """The configuration with validated options; services that shared their settings still do."""
    problems: list[Problem] = []
    checked: dict[int, ServiceSettings] = {}
    services: dict[str, ServiceSettings] = {}
    for name, settings in configuration.services.items():
        if id(settings) not in checked:
            checked[id(settings)] = _checked(settings, bodies[name], validate, problems)
        services[name] = checked[id(settings)]
    unique = list(dict.fromkeys(problems))
    return replace(configuration, services=MappingProxyType(services)), unique


def _checked(
    settings: ServiceSettings, body: Block, validate: ValidateOptions, problems: list[Problem]
) -> ServiceSettings:
    listed = _uses(settings.listed, body, ("policies",), validate, problems, "propose")
    policies, shadows = tuple(use for use in listed if not use.shadow), tuple(use for use in listed if use.shadow)
    plugins = _uses(settings.guards.plugins, body, ("guards", "plugins"), validate, problems, "guard")
    guards = replace(settings.guards, plugins=plugins)
    scorers, weights = (
        [use for use, _ in settings.placement.scorers],
        [weight for _, weight in settings.placement.scorers],
    )
    if not scorers:
        return replace(settings, policies=policies, guards=guards, shadows=shadows)
    scored = _uses(tuple(scorers), body, ("placement", "scorers"), validate, problems, "score_host")
    placement = replace(settings.placement, scorers=tuple(zip(scored, weights, strict=True)))
    return replace(settings, policies=policies, guards=guards, placement=placement, shadows=shadows)


def _uses(
    uses: tuple[PolicyUse, ...],
    body: Block,
    steps: tuple[Step, ...],
    validate: ValidateOptions,
    problems: list[Problem],
    hook: str,
) -> tuple[PolicyUse, ...]:
    found = []
    for index, use in enumerate(uses):
        options, complaints = validate(use.use, use.options, hook)
        for place, text in complaints:
            within = ("use",) if place is None else ("with", *_steps(place))
            origin = locate(body, (*steps, index, *within))
            problems.append(problem_at(origin, *what_and_remedy(text)))
        found.append(replace(use, options=frozen_options(options)))
    return tuple(found)


def _steps(place: str) -> tuple[Step, ...]:
    return tuple(int(step) if step.isdecimal() else step for step in place.split(".") if step)
